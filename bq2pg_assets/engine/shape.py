"""What a column becomes on its way: the GoogleSQL of `columns:` in a table's YAML. Pure.

Belongs here: expression, cast and default as one value, masks over it, and the parameters that
carry the secret. Does not: asking BigQuery what type a value has (bigquery.py), the other clauses
(export_sql.py).

It happens in the SELECT that exports: no second pass, and what a mask hides never leaves BigQuery.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic import SecretStr

from bq2pg_assets.config.table import ColumnConfig, MaskName, TableConfig
from bq2pg_assets.engine import export_sql
from bq2pg_assets.engine.errors import ConfigError, MappingError
from bq2pg_assets.engine.model import SourceField
from bq2pg_assets.engine.typemap import left_out, quote, source_type, type_key

SECRET_MASKS = frozenset({"sha256", "hmac"})
BLOCK = 64  # bytes that SHA-256 reads at a time, to which HMAC pads its key; RFC 2104
# Kind, most digits after the point, most digits before it. Source: parameterized decimal types.
DECIMALS = {
    "NUMERIC": ("NUMERIC", 9, 29),
    "DECIMAL": ("NUMERIC", 9, 29),
    "BIGNUMERIC": ("BIGNUMERIC", 38, 38),
    "BIGDECIMAL": ("BIGNUMERIC", 38, 38),
}
DECIMAL = re.compile(r"\s*(\w+)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\s*", re.ASCII)
# How a value reads as text, or as bytes; the others by CAST.
TEXTS = {"STRING": "{}", "BYTES": "{}", "GEOGRAPHY": "ST_ASTEXT({})"}
# One look at the value: the first alternative is an address, the second anything else.
ADDRESS = r"(?s)^(?:([^@\s])[^@\s]*(@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)|.*)$"


@dataclass(frozen=True, slots=True)
class MaskRule:
    """How a mask is written.

    `select` takes the value as `{x}`, as text `{text}`, as bytes `{bytes}`. `types` are those of a
    single value that it fits, None for all, arrays as well. `gives` is its type, None the value's.
    """

    select: str
    types: tuple[str, ...] | None = None
    gives: str | None = "STRING"


MASKS: dict[MaskName, MaskRule] = {
    "sha256": MaskRule("TO_HEX(SHA256(CONCAT(@bq2pg_salt, {bytes})))"),
    # GoogleSQL has no HMAC: the two hashes that RFC 2104 makes of it, over the padded keys.
    "hmac": MaskRule("TO_HEX(SHA256(CONCAT(@bq2pg_outer, SHA256(CONCAT(@bq2pg_inner, {bytes})))))"),
    "redact": MaskRule("IF({x} IS NULL, NULL, 'REDACTED')"),
    "partial": MaskRule(
        "IF(LENGTH({text}) > 4, CONCAT(REPEAT('*', LENGTH({text}) - 4), RIGHT({text}, 4)), "
        "REPEAT('*', LENGTH({text})))",
        types=("STRING", "INT64", "NUMERIC", "BIGNUMERIC"),
    ),
    "email": MaskRule(f"REGEXP_REPLACE({{x}}, r'{ADDRESS}', r'\\1***\\2')", types=("STRING",)),
    "null": MaskRule("IF(TRUE, NULL, {x})", gives=None),
    "year": MaskRule(
        "EXTRACT(YEAR FROM {x})", types=("DATE", "DATETIME", "TIMESTAMP"), gives="INT64"
    ),
}


def values(table: TableConfig, fields: Iterable[SourceField]) -> dict[str, str]:
    """The GoogleSQL of each value that is more than a bare column: only BigQuery knows its type.

    New columns come last. Raises MappingError with every text that is not what it should be.
    """
    known = {field.name: field for field in fields}
    folded = {name.casefold(): name for name in known}
    found, problems = {}, []
    for name, column in table.columns.items():
        left = left_out(table, known[name]) if name in known else column.exclude
        # A name that neither the source nor an expression bears is reported by the type mapping.
        if left or not column.has_value or (name not in known and column.expression is None):
            continue
        if name not in known and name.casefold() in folded:
            problems.append(f"columns names {name}, did you mean {folded[name.casefold()]}?")
        try:
            found[name] = _value(name, column, bare=known.get(name))
        except ConfigError as error:
            problems.append(f"column {name}: {error.met} is not {error.expected}")
    _refuse(table, problems)
    return found


def type_query(sources: Mapping[str, str], source_sql: str, *, partition: str | None) -> str:
    """A query whose schema tells the types of `values`; for a dry run, which is free.

    `partition` is the column that BigQuery wants a filter on.
    """
    listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in sources.items())
    conditions = "".join(f" WHERE {c}" for c in export_sql.every_partition(partition))
    return f"SELECT {listed} FROM {source_sql}{conditions}"


def shaped_fields(
    table: TableConfig, fields: Iterable[SourceField], typed: Iterable[SourceField]
) -> tuple[SourceField, ...]:
    """The fields as they leave BigQuery, in the source's order, new ones last.

    `typed` are the `values`, each with its `sql` and the type that BigQuery says it has. Raises
    MappingError with every mask that does not fit its column.
    """
    bare = {field.name: field for field in fields}
    made = {f.name: _declared(f, table.columns[f.name], bare=bare.get(f.name)) for f in typed}
    shaped, problems = [], []
    for name, field in (bare | made).items():
        column = table.columns.get(name)
        if column is None or column.mask is None or left_out(table, field):
            shaped.append(field)
        elif problem := _unfit(field, column.mask):
            problems.append(problem)
        else:
            shaped.append(masked(field, column.mask))
    _refuse(table, problems)
    return tuple(shaped)


def masked(field: SourceField, mask: MaskName) -> SourceField:
    """The field as the mask leaves it: another value, and no description of the one it hides."""
    rule = MASKS[mask]
    value = field.sql or quote(field.name)
    document = field.mode == "REPEATED" or type_key(field) in ("STRUCT", "JSON")
    if document:
        # TO_JSON_STRING of NULL is a text.
        text = f"IF({value} IS NULL, NULL, TO_JSON_STRING({value}))"
    else:
        text = TEXTS.get(type_key(field), "CAST({} AS STRING)").format(value)
    encoded = not document and type_key(field) == "BYTES"
    sql = rule.select.format(
        x=value, text=text, bytes=text if encoded else f"CAST({text} AS BYTES)"
    )
    if rule.gives is None:
        bare = replace(field, mode="NULLABLE") if field.mode == "REQUIRED" else field
        return replace(bare, description=None, sql=sql, masked=True)
    hidden = SourceField(field.name, rule.gives, sql=sql, masked=True)
    return replace(hidden, mode="REQUIRED") if field.mode == "REQUIRED" else hidden


def hides(table: TableConfig) -> bool:
    """Whether a column is masked or left out: then no message may quote a value."""
    columns = table.columns.values()
    return table.include is not None or any(c.mask is not None or c.exclude for c in columns)


def fingerprint(table: TableConfig, secret: SecretStr | None) -> str:
    """Tells two ways of making the columns apart, '' where all are bare.

    It changes with the secret where a hash needs one, and does not tell it.
    """
    made = {
        name: [column.expression, column.cast, column.default, column.mask]
        for name, column in sorted(table.columns.items())
        if column.shaped and not column.exclude
    }
    if not made:
        return ""
    keyed = any(column.mask in SECRET_MASKS for column in table.columns.values())
    key = secret.get_secret_value().encode() if keyed and secret is not None else b""
    return hmac.new(key, json.dumps(made).encode(), hashlib.sha256).hexdigest()


def refuse_without_secret(table: TableConfig, secret: SecretStr | None) -> None:
    """Raise ConfigError when the table needs a secret and there is none."""
    hashed = [n for n, c in table.columns.items() if c.mask in SECRET_MASKS and not c.exclude]
    if hashed and not secret:
        raise ConfigError(
            f"table {table.name}",
            met=f"{', '.join(hashed)} masked by a hash, and no secret for it",
            expected="BQ2PG_MASK_SECRET",
            way_out="Set BQ2PG_MASK_SECRET to a long random text and keep it: another one gives "
            "other values.",
        )


def parameters(sql: str, secret: SecretStr | None) -> dict[str, bytes]:
    """The query parameters that `sql` names, by name; none of them may stand in a text."""
    salt = secret.get_secret_value().encode() if secret is not None else b""
    key = hashlib.sha256(salt).digest() if len(salt) > BLOCK else salt
    padded = key.ljust(BLOCK, b"\0")
    known = {
        "bq2pg_salt": salt,
        "bq2pg_inner": bytes(byte ^ 0x36 for byte in padded),
        "bq2pg_outer": bytes(byte ^ 0x5C for byte in padded),
    }
    return {name: value for name, value in known.items() if f"@{name}" in sql}


def _value(name: str, column: ColumnConfig, *, bare: SourceField | None) -> str:
    """Expression, cast and default as one GoogleSQL expression. Raises ConfigError."""
    sql = quote(name)
    if column.expression is not None:
        # The line ends keep a trailing comment from swallowing the bracket.
        sql = f"(\n{export_sql.checked_expression(column.expression)}\n)"
    if column.cast is not None:
        if (decimal := _decimal(column.cast)) is None:
            sql = f"CAST({sql} AS {export_sql.checked_type(column.cast)}\n)"
        else:
            # BigQuery takes no parameters in CAST: the scale is rounded to, as a column does it,
            # and PostgreSQL holds the precision. Source: parameterized data types.
            kind, _, scale = decimal
            sql = f"ROUND(CAST({sql} AS {kind}), {scale:d})"
    if column.default is not None:
        sql = f"IFNULL({sql}, {_default(column, column.default, bare=bare)})"
    return sql


def _decimal(cast: str) -> tuple[str, int, int] | None:
    """Kind, precision and scale of NUMERIC(p, s); None for another type. Raises ConfigError."""
    match = DECIMAL.fullmatch(cast)
    if match is None or match[1].upper() not in DECIMALS:
        return None
    kind, most_after, most_before = DECIMALS[match[1].upper()]
    precision, scale = int(match[2]), int(match[3] or 0)
    if scale > most_after or not max(1, scale) <= precision <= scale + most_before:
        raise ConfigError(
            "cast",
            met=repr(cast),
            expected=f"a {kind} that BigQuery has: at most {most_after} digits after the point "
            f"and {most_before} before it",
            way_out="Choose fewer digits.",
        )
    return kind, precision, scale


def _default(column: ColumnConfig, value: str | float | bool, *, bare: SourceField | None) -> str:
    """The literal that takes NULL's place. Raises ConfigError where a number does not fit.

    IFNULL of two types has the wider one: 0.5 would make doubles of a column of INT64.
    """
    literal = export_sql.text(value) if isinstance(value, str) else repr(value).upper()
    kind, digits = _number(column, bare)
    if kind is None:
        return literal
    number = isinstance(value, int | float) and not isinstance(value, bool)
    after = -int(Decimal(repr(value)).normalize().as_tuple().exponent) if number else 0
    if not number or after > digits:
        raise ConfigError(
            "default",
            met=f"default {value!r}",
            expected=f"a number with at most {digits} digits after the point, as the column has",
            way_out="Choose another one.",
        )
    return literal if kind == "INT64" else f"{kind} '{value!r}'"


def _number(column: ColumnConfig, bare: SourceField | None) -> tuple[str | None, int]:
    """The exact number that a column is known to be, and its digits after the point."""
    if column.cast is not None:
        if (decimal := _decimal(column.cast)) is not None:
            return decimal[0], decimal[2]
        kind, scale = column.cast.strip().upper(), None
    elif bare is not None and column.expression is None and bare.mode != "REPEATED":
        kind, scale = type_key(bare), bare.scale if bare.precision is None else bare.scale or 0
    else:
        return None, 0
    digits = {"INT64": 0, "NUMERIC": 9, "BIGNUMERIC": 38}.get(kind)
    return (None, 0) if digits is None else (kind, digits if scale is None else scale)


def _declared(field: SourceField, column: ColumnConfig, *, bare: SourceField | None) -> SourceField:
    """What BigQuery's schema of a query leaves out: the description and a decimal's digits."""
    if bare is not None:
        field = replace(field, description=bare.description)
        kept = column.expression is None and column.cast is None and type_key(field) == bare.type
        if kept and field.mode != "REPEATED":
            return replace(field, precision=bare.precision, scale=bare.scale)
    decimal = _decimal(column.cast) if column.cast else None
    if decimal is not None and type_key(field) == decimal[0]:
        return replace(field, precision=decimal[1], scale=decimal[2])
    return field


def _unfit(field: SourceField, mask: MaskName) -> str | None:
    types = MASKS[mask].types
    if types is None or (type_key(field) in types and field.mode != "REPEATED"):
        return None
    return f"column {field.name} is {source_type(field)}; mask {mask} is for {', '.join(types)}"


def _refuse(table: TableConfig, problems: Sequence[str]) -> None:
    if problems:
        raise MappingError(
            f"table {table.name}",
            problems,
            way_out="Correct columns in the table's YAML; docs/configuration.md has the masks.",
        )
