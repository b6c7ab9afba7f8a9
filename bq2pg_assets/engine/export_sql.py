"""The GoogleSQL that bq2pg sends to BigQuery, as text.

Belongs here: building statements from a plan. Does not: sending them (bigquery.py).

Names go through `quote`, values through `literal`; the one text taken as it is, a user's
condition, must parse as a single condition first.
"""

from datetime import UTC, datetime, timedelta

import sqlglot
from sqlglot import exp

from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import Cursor, CursorValue, SyncPlan, Window
from bq2pg_assets.engine.typemap import quote

# What the text of each option has to be.
ONE_OF = {
    "where": "one GoogleSQL condition",
    "query": "one GoogleSQL SELECT",
    "expression": "one GoogleSQL expression",
    "cast": "one GoogleSQL type; only NUMERIC and BIGNUMERIC may have digits",
}


def export_data(plan: SyncPlan, uri: str) -> str:
    """EXPORT DATA of the plan's rows to `uri`, which holds one `*`.

    SNAPPY, because the option table of EXPORT DATA names GZIP, DEFLATE and SNAPPY only.
    """
    return (
        f"EXPORT DATA OPTIONS (uri = {text(uri)}, format = 'PARQUET', compression = 'SNAPPY', "
        f"overwrite = false) AS\n{select(plan)}"
    )


def select(plan: SyncPlan) -> str:
    """The plan's rows and columns, each column under its BigQuery name."""
    columns = ",\n  ".join(
        c.select if c.select == quote(c.source) else f"{c.select} AS {quote(c.source)}"
        for c in plan.columns
    )
    sql = f"SELECT\n  {columns}\nFROM {from_clause(plan.source_sql, plan.snapshot_at)}"
    conditions = [
        *window_conditions(plan.cursor, plan.window),
        *every_partition(plan.every_partition_of),
        *_grouped(plan.where),
    ]
    if conditions:
        sql += "\nWHERE " + "\n  AND ".join(conditions)
    if plan.limit is not None and plan.window is None:
        sql += f"\nLIMIT {plan.limit:d}"
    return sql


def row_restriction(plan: SyncPlan) -> str:
    """The plan's rows as a filter of the Storage Read API, which takes no parameters; or ''."""
    return " AND ".join([*window_conditions(plan.cursor, plan.window), *_grouped(plan.where)])


def holds_subquery(where: str) -> bool:
    """Whether a condition reads another table or an array, which only a query can."""
    tree = _parse(f"SELECT 1 FROM t WHERE (\n{where}\n)", "where", where)
    return len(list(tree.find_all(exp.Query))) > 1


def probe(
    source_sql: str,
    cursor: Cursor,
    *,
    where: str | None = None,
    limit: int | None = None,
    every_partition_of: str | None = None,
    lag: timedelta | None = None,
) -> str:
    """The highest cursor value above `cursor.value`, how many rows have one, how many have none,
    and the time. With `lag` values younger than that are not looked at.

    With `limit` only that many rows are looked at, lowest first: rows that share the highest
    value are loaded together, so a window never splits them. Those without a value are left out.
    """
    column = quote(cursor.column)
    above = Window(cursor.value, None) if cursor.value is not None else None
    window = window_conditions(cursor, above)
    if lag is not None:
        window.append(f"{column} <= {ago(lag, cursor.type)}")
    if limit is not None:
        window.append(f"{column} IS NOT NULL")
    elif window:
        window = [f"({' AND '.join(window)} OR {column} IS NULL)"]
    conditions = [*window, *every_partition(every_partition_of), *_grouped(where)]
    rows = f"SELECT {column} AS c FROM {source_sql}"
    if conditions:
        rows += f" WHERE {' AND '.join(conditions)}"
    if limit is not None:
        rows += f" ORDER BY {column} LIMIT {limit:d}"
    looked = (
        "MAX(c) AS high, COUNT(c) AS rows_above, COUNTIF(c IS NULL) AS nulls, "
        "CURRENT_TIMESTAMP() AS at"
    )
    return f"SELECT {looked} FROM ({rows})"


def ago(lag: timedelta, kind: str) -> str:
    """The highest cursor value of type `kind` that is `lag` old by BigQuery's clock.

    A DATE is that old when its day ended before then.
    """
    moment = f"TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {lag.total_seconds():.0f} SECOND)"
    if kind == "DATE":
        return f"DATE_SUB(DATE({moment}), INTERVAL 1 DAY)"
    return f"DATETIME({moment})" if kind == "DATETIME" else moment


def from_clause(source_sql: str, snapshot_at: datetime | None) -> str:
    """The source, as it was at `snapshot_at` (plain tables only)."""
    if snapshot_at is None:
        return source_sql
    return f"{source_sql} FOR SYSTEM_TIME AS OF {literal(snapshot_at, 'TIMESTAMP')}"


def table_sql(project: str, dataset: str, table: str) -> str:
    """A table's full path, quoted."""
    return ".".join(quote(part) for part in (project, dataset, table))


def query_sql(query: str) -> str:
    """A query as a table expression. Raises ConfigError unless it is one SELECT."""
    text_ = query.strip().rstrip(";").rstrip()
    tree = _parse(f"SELECT * FROM (\n{text_}\n) AS q", "query", query)
    clause = tree.args.get("from_") if isinstance(tree, exp.Select) else None
    source = clause.this if clause is not None else None
    if not isinstance(source, exp.Subquery) or source.alias != "q" or _clauses(tree):
        raise _not_one("query", query)
    # A bare table name is refused by BigQuery; parameters are bq2pg's own and hold its secret.
    if not isinstance(source.this, exp.Query) or _parameters(tree):
        raise _not_one("query", query)
    return f"(\n{text_}\n) AS q"


def checked_condition(where: str) -> str:
    """`where`, when it is one condition and nothing else. Raises ConfigError."""
    tree = _parse(f"SELECT 1 FROM t WHERE (\n{where}\n)", "where", where)
    condition = tree.args.get("where") if isinstance(tree, exp.Select) else None
    inside = isinstance(condition, exp.Where) and isinstance(condition.this, exp.Paren)
    if not inside or _clauses(tree) != ["where"] or _parameters(tree):
        raise _not_one("where", where)
    return where


def checked_expression(expression: str) -> str:
    """`expression`, when it is one expression and nothing else. Raises ConfigError."""
    tree = _parse(f"SELECT (\n{expression}\n) FROM t", "expression", expression)
    one = isinstance(tree, exp.Select) and not _clauses(tree) and len(tree.expressions) == 1
    bracket = tree.expressions[0] if one else None
    inside = bracket.this if isinstance(bracket, exp.Paren | exp.Subquery) else None
    # A query needs brackets of its own: the ones added here would make an expression of it.
    wrong = inside is None or isinstance(inside, exp.Alias | exp.Select | exp.SetOperation)
    if wrong or _parameters(tree):
        raise _not_one("expression", expression)
    return expression


def checked_type(name: str) -> str:
    """`name`, when it is a GoogleSQL type without parameters. Raises ConfigError.

    BigQuery takes parameterized types for columns and script variables only. Source: parameterized
    data types.
    """
    tree = _parse(f"SELECT CAST(NULL AS {name}\n) FROM t", "cast", name)
    one = isinstance(tree, exp.Select) and not _clauses(tree) and len(tree.expressions) == 1
    cast = tree.expressions[0] if one else None
    if type(cast) is not exp.Cast or cast.args.get("format") or cast.find(exp.DataTypeParam):
        raise _not_one("cast", name)
    return name


def columns_read(expression: str) -> tuple[str, ...]:
    """The columns that a checked expression reads, sorted; none when a query in it has its own."""
    tree = _parse(f"SELECT {expression}", "expression", expression)
    if any(query is not tree for query in tree.find_all(exp.Query)):
        return ()
    # Of `address.city` the first part is the column.
    return tuple(sorted({column.parts[0].name for column in tree.find_all(exp.Column)}))


def window_conditions(cursor: Cursor | None, window: Window | None) -> list[str]:
    """`low < cursor` and `cursor <= high`, on the bare column so that partitions are pruned.

    A window without bounds holds every row that has a cursor value.
    """
    if cursor is None or window is None:
        return []
    column, conditions = quote(cursor.column), []
    if window.low is not None:
        conditions.append(f"{column} > {literal(window.low, cursor.type)}")
    if window.high is not None:
        conditions.append(f"{column} <= {literal(window.high, cursor.type)}")
    if window.nulls:
        return [f"({' AND '.join(conditions)} OR {column} IS NULL)"] if conditions else []
    return conditions or [f"{column} IS NOT NULL"]


def every_partition(column: str | None) -> list[str]:
    """A filter on a partition column that every row meets, for tables that require some filter.

    BigQuery takes it for one, although it leaves no partition out; a NULL test of the bare column
    is enough. Source: dbt-bigquery, which sends it in every MERGE into such a table
    (dbt-labs/dbt-bigquery#986; limits in dbt-labs/dbt-adapters#1902). Documentation asks only for
    "a filter that can be used for partition elimination", and the emulator for none.
    """
    if column is None:
        return []
    name = quote(column)
    return [f"({name} IS NULL OR {name} IS NOT NULL)"]


def literal(value: CursorValue, kind: str) -> str:
    """A cursor value as a GoogleSQL literal of type `kind`. Naive datetimes are UTC."""
    if kind == "DATE":
        day = value.date() if isinstance(value, datetime) else value
        return f"DATE '{day.isoformat()}'"
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if kind == "DATETIME":
        return (
            f"DATETIME '{value.replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}'"
        )
    moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    stamp = moment.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return f"TIMESTAMP '{stamp}+00'"


def text(value: str) -> str:
    """A GoogleSQL string literal. Source: lexical structure, escape sequences."""
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\x00"}
    return "'" + "".join(escapes.get(c, c) for c in value) + "'"


def _grouped(where: str | None) -> list[str]:
    # The line ends keep a trailing comment from swallowing the bracket.
    return [f"(\n{checked_condition(where)}\n)"] if where else []


def _parse(sql: str, option: str, given: str) -> exp.Expr:
    try:
        trees = sqlglot.parse(sql, dialect="bigquery")
    except sqlglot.errors.SqlglotError as error:
        raise _not_one(option, given) from error
    if len(trees) != 1 or trees[0] is None:
        raise _not_one(option, given)
    return trees[0]


def _clauses(tree: exp.Expr) -> list[str]:
    """Clauses beyond SELECT … FROM that a text broke out of its brackets to add."""
    return [k for k, v in tree.args.items() if v and k not in ("from_", "expressions", "kind")]


def _parameters(tree: exp.Expr) -> bool:
    """Whether a text names query parameters: the only ones there are carry the masks' secret."""
    return tree.find(exp.Parameter, exp.Placeholder) is not None


def _not_one(option: str, given: str) -> ConfigError:
    what = ONE_OF[option]
    return ConfigError(
        option,
        met=f"{given!r}",
        expected=what,
        way_out="Try the text in the BigQuery console first; brackets must be balanced and "
        "semicolons have no place here.",
    )
