"""BigQuery's types as PostgreSQL's: one table of data and one function over it.

Belongs here: what a field becomes, how the export SELECT writes it, how the encoder carries it.
Does not: SQL statements (export_sql.py, postgres_sql.py), bytes (encode.py).

PostgreSQL's names are spelled as its `format_type` spells them, so that they can be compared
with what the catalog says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import Column, SourceField

LEGACY_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
MAX_COLUMNS = 1600  # PostgreSQL's limit; error 54011 beyond it


@dataclass(frozen=True, slots=True)
class TypeRule:
    """How one scalar type travels.

    `select` writes the value `{}` in GoogleSQL; the bare `{}` means that Parquet carries it as it
    is. `wire` names the encoder's form (encode.py); `array` is False where an array of it becomes
    one jsonb document.
    """

    pg_type: str
    select: str = "{}"
    wire: str = "native"
    array: bool = True


RULES = {
    "INT64": TypeRule("bigint"),
    "FLOAT64": TypeRule("double precision"),
    "NUMERIC": TypeRule("numeric(38,9)"),
    "BIGNUMERIC": TypeRule("numeric", wire="numeric"),
    "BOOL": TypeRule("boolean"),
    "STRING": TypeRule("text"),
    "BYTES": TypeRule("bytea"),
    "DATE": TypeRule("date"),
    "TIME": TypeRule("time without time zone"),
    "DATETIME": TypeRule("timestamp without time zone"),
    "TIMESTAMP": TypeRule("timestamp with time zone", wire="timestamptz"),
    "JSON": TypeRule("jsonb", "TO_JSON_STRING({})", "jsonb", array=False),
    "STRUCT": TypeRule("jsonb", "TO_JSON_STRING({})", "jsonb", array=False),
    "GEOGRAPHY": TypeRule("text", "ST_ASTEXT({})"),
    "INTERVAL": TypeRule("interval", "CAST({} AS STRING)", "interval"),
    "RANGE<DATE>": TypeRule("daterange", "CAST({} AS STRING)", "daterange"),
    "RANGE<DATETIME>": TypeRule("tsrange", "CAST({} AS STRING)", "tsrange"),
    "RANGE<TIMESTAMP>": TypeRule("tstzrange", "CAST({} AS STRING)", "tstzrange"),
}


def map_columns(table: TableConfig, fields: Iterable[SourceField]) -> tuple[Column, ...]:
    """The columns of `table`, in the source's order. Raises MappingError with every problem."""
    fields = tuple(fields)
    problems = list(_unknown_names(table, [f.name for f in fields]))
    columns = []
    for source in fields:
        override = table.columns.get(source.name)
        if override is not None and override.exclude:
            continue
        name = (override.name if override else None) or source.name
        problems += _name_problems(name)
        column = _column(source, name)
        if column is None:
            problems.append(
                f"column {source.name} is {source_type(source)}, which has no counterpart here"
            )
        else:
            columns.append(column)
    problems += _collisions(columns)
    if not columns:
        problems.append("no column is left")
    if len(columns) > MAX_COLUMNS:
        problems.append(f"{len(columns)} columns are more than PostgreSQL's {MAX_COLUMNS}")
    if problems:
        raise MappingError(
            f"table {table.name}",
            problems,
            way_out=(
                "Rename a column with columns: {its name: {name: new_name}} in the table's YAML, "
                "or leave it out with columns: {its name: {exclude: true}}."
            ),
        )
    return tuple(columns)


def source_type(source: SourceField) -> str:
    """The field's type as GoogleSQL writes it: ARRAY<NUMERIC(10, 2)>, RANGE<DATE>, STRUCT."""
    kind = type_key(source)
    if source.precision is not None:
        kind += f"({source.precision}, {source.scale or 0})"
    return f"ARRAY<{kind}>" if source.mode == "REPEATED" else kind


def type_key(source: SourceField) -> str:
    """The row of RULES that a field's element type belongs to."""
    kind = LEGACY_NAMES.get(source.type, source.type)
    return f"RANGE<{source.range_element}>" if kind == "RANGE" else kind


def quote(name: str) -> str:
    """A BigQuery identifier in backticks. Source: lexical structure, quoted identifiers."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _column(source: SourceField, name: str) -> Column | None:
    rule = RULES.get(type_key(source))
    if rule is None:
        return None
    repeated = source.mode == "REPEATED"
    pg_type, wire = rule.pg_type, rule.wire
    if source.precision is not None and type_key(source) in ("NUMERIC", "BIGNUMERIC"):
        pg_type = f"numeric({source.precision},{source.scale or 0})"
    if repeated and rule.array:
        pg_type += "[]"
        wire = wire if wire == "native" else f"{wire}[]"
    return Column(
        name=name,
        source=source.name,
        source_type=source_type(source),
        pg_type=pg_type,
        not_null=source.mode == "REQUIRED",
        select=_select(quote(source.name), rule, repeated),
        plain=rule.select == "{}",
        wire=wire,
        comment=source.description or None,
    )


def _select(column: str, rule: TypeRule, repeated: bool) -> str:
    if rule.select == "{}":
        return column
    if repeated and rule.array:
        element = rule.select.format("e")
        return f"ARRAY(SELECT {element} FROM UNNEST({column}) AS e WITH OFFSET AS o ORDER BY o)"
    # TO_JSON_STRING of SQL NULL is the text null: say NULL ourselves.
    return f"IF({column} IS NULL, NULL, {rule.select.format(column)})"


def _name_problems(name: str) -> Iterable[str]:
    size = len(name.encode())
    if size > 63:
        yield f"column {name} is {size} bytes long, PostgreSQL keeps 63"
    if name.lower() in SYSTEM_COLUMNS:
        yield f"column {name} has the name of a PostgreSQL system column"
    if "\0" in name or not name:
        yield f"column {name!r} is not a name PostgreSQL can hold"


def _collisions(columns: Iterable[Column]) -> Iterable[str]:
    seen: dict[str, str] = {}
    for column in columns:
        if column.name in seen:
            yield f"columns {seen[column.name]} and {column.source} both become {column.name}"
        seen[column.name] = column.source


def _unknown_names(table: TableConfig, known: list[str]) -> Iterable[str]:
    asked = {"columns": list(table.columns), "key": table.key, "not_null": table.not_null}
    for option, names in asked.items():
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f", did you mean {near[0]}?" if near else ""
                yield f"{option} names {name}, which the source does not have{hint}"
