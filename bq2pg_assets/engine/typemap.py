"""BigQuery's types as PostgreSQL's: one table of data and one function over it.

Belongs here: what a field becomes, how the export SELECT writes it, how the encoder carries it.
Does not: SQL statements (export_sql.py, postgres_sql.py), bytes (encode.py).

PostgreSQL's names are spelled as its `format_type` spells them, so that they can be compared
with what the catalog says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import Column, SourceField

LEGACY_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
MICROSECONDS = 6  # digits of a second
MAX_COLUMNS = 1600  # PostgreSQL's limit; error 54011 beyond it


@dataclass(frozen=True, slots=True)
class TypeRule:
    """How one scalar type travels.

    `select` writes the value `{}` in GoogleSQL; the bare `{}` means that Parquet carries it as it
    is, and so it does a STRUCT of such values. `wire` names the encoder's form (encode.py);
    `array` is False where an array of it becomes one jsonb document.
    """

    pg_type: str
    select: str = "{}"
    wire: str = "native"
    array: bool = True


# As CAST(… AS STRING) writes a range, made of documented functions.
RANGE = (
    "CONCAT('[', IFNULL(CAST(RANGE_START({0}) AS STRING), 'UNBOUNDED'), ', ', "
    "IFNULL(CAST(RANGE_END({0}) AS STRING), 'UNBOUNDED'), ')')"
)

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
    "RANGE<DATE>": TypeRule("daterange", RANGE, "daterange"),
    "RANGE<DATETIME>": TypeRule("tsrange", RANGE, "tsrange"),
    "RANGE<TIMESTAMP>": TypeRule("tstzrange", RANGE, "tstzrange"),
}


def map_columns(
    table: TableConfig,
    fields: Iterable[SourceField],
    *,
    rules: Mapping[str, TypeRule] = RULES,
) -> tuple[Column, ...]:
    """The columns of `table`, in the source's order. Raises MappingError with every problem."""
    fields = tuple(fields)
    problems = list(_unknown_names(table, [f.name for f in fields]))
    columns = []
    for source in fields:
        if left_out(table, source):
            continue
        override = table.columns.get(source.name)
        name = (override.name if override else None) or source.name
        problems += _name_problems(name)
        problems += _lossy(source, source.name)
        column = _column(source, name, rules)
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


def left_out(table: TableConfig, source: SourceField) -> bool:
    """Whether the table's YAML keeps a column in BigQuery.

    `include` names columns of the source: one that only an expression makes is not its matter.
    """
    column = table.columns.get(source.name)
    if column is not None and column.exclude:
        return True
    return table.include is not None and source.name not in table.include and source.sql is None


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


def _column(source: SourceField, name: str, rules: Mapping[str, TypeRule]) -> Column | None:
    rule = rules.get(type_key(source))
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
        select=_select(source.sql or quote(source.name), rule, repeated),
        plain=source.sql is None and _plain(source, rules),
        wire=wire,
        comment=source.description or None,
        field=source,
        masked=source.masked,
    )


def _plain(source: SourceField, rules: Mapping[str, TypeRule]) -> bool:
    if type_key(source) == "STRUCT":
        return all(_plain(inner, rules) for inner in source.fields)
    return rules[type_key(source)].select == "{}"


def _select(column: str, rule: TypeRule, repeated: bool) -> str:
    if rule.select == "{}":
        return column
    if repeated and rule.array:
        element = rule.select.format("element")
        return (
            f"ARRAY(SELECT {element} FROM UNNEST({column}) AS element WITH OFFSET AS o ORDER BY o)"
        )
    # TO_JSON_STRING of SQL NULL is the text null: say NULL ourselves.
    return f"IF({column} IS NULL, NULL, {rule.select.format(column)})"


def _lossy(source: SourceField, path: str) -> Iterable[str]:
    """What a field may hold that PostgreSQL would bend without a word."""
    if type_key(source) == "TIMESTAMP" and (source.precision or 0) > MICROSECONDS:
        yield (
            f"column {path} holds picoseconds, PostgreSQL keeps microseconds: say "
            f"columns: {{{path}: {{expression: TIMESTAMP_TRUNC({path}, MICROSECOND)}}}}"
        )
    names = [inner.name for inner in source.fields]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"column {path} has two fields {name or 'without a name'}: jsonb keeps the last only"
    for inner in source.fields:
        yield from _lossy(inner, f"{path}.{inner.name}")


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
    asked = {
        "columns": list(table.columns),
        "include": table.include or (),
        "key": table.key,
        "not_null": table.not_null,
    }
    for option, names in asked.items():
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f", did you mean {near[0]}?" if near else ""
                yield f"{option} names {name}, which the source does not have{hint}"
