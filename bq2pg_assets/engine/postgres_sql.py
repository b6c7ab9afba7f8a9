"""The SQL that bq2pg sends to PostgreSQL, composed, never sent here.

Belongs here: statements as `psycopg.sql` objects. Does not: connections, transactions
(postgres.py, state.py). Every name is an `Identifier`, every value a parameter or a `Literal`.
"""

import hashlib
from collections.abc import Sequence

from psycopg import sql

from bq2pg_assets.engine.model import Column, RunId, SyncPlan, TargetName

STATE = "sync_state"
HISTORY = "sync_history"


def stage_name(table: TargetName, *, schema: str, run: RunId) -> TargetName:
    """The staging table of one attempt: short, unique, telling which target it belongs to."""
    digest = hashlib.sha256(f"{table}\0{run.slug}".encode()).hexdigest()[:16]
    head = table.table.encode()[:40].decode(errors="ignore")
    return TargetName(schema, f"stage_{head}_{digest}")


def identifier(name: TargetName) -> sql.Identifier:
    """schema.table, quoted."""
    return sql.Identifier(name.schema, name.table)


def names(columns: Sequence[str]) -> sql.Composed:
    """Column names, quoted, with commas between."""
    return sql.SQL(", ").join(sql.Identifier(c) for c in columns)


def create_stage(plan: SyncPlan, stage: TargetName) -> list[sql.Composed]:
    """A staging table with the final columns.

    It is logged only where it will be renamed to become the target: an unlogged table spares the
    WAL, but making it logged afterwards costs more than that (2 M rows: 1.8 s against 3.1 s).
    """
    columns = sql.SQL(",\n  ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(c.name),
            sql.SQL(c.pg_type),  # from typemap's table and integers, never from outside
            sql.SQL(" NOT NULL" if c.not_null else ""),
        )
        for c in plan.columns
    )
    kind = "TABLE" if plan.creates_target else "UNLOGGED TABLE"
    return [
        sql.SQL(f"CREATE {kind} {{}} (\n  {{}}\n)").format(identifier(stage), columns),
        sql.SQL("COMMENT ON TABLE {} IS {}").format(
            identifier(stage), sql.Literal(f"bq2pg staging of {plan.target}")
        ),
    ]


def copy_in(stage: TargetName, columns: Sequence[Column]) -> sql.Composed:
    """COPY of binary rows into the staging table."""
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        identifier(stage), names([c.name for c in columns])
    )


def finish_target(plan: SyncPlan) -> list[sql.Composed]:
    """What a staging table that became the target still lacks: key and comments.

    PostgreSQL names the key's index: the usual name may be taken, by that of a table renamed away.
    """
    statements = []
    if plan.key:
        statements.append(
            sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(
                identifier(plan.target), names(plan.key)
            )
        )
    statements.append(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(
            identifier(plan.target), sql.Literal(f"Copied from BigQuery by bq2pg: {plan.table}")
        )
    )
    statements += [
        sql.SQL("COMMENT ON COLUMN {} IS {}").format(
            sql.Identifier(plan.target.schema, plan.target.table, c.name), sql.Literal(c.comment)
        )
        for c in plan.columns
        if c.comment
    ]
    return statements


def become_target(stage: TargetName, target: TargetName) -> list[sql.Composed]:
    """Move and rename the staging table to where no table is yet."""
    moved = TargetName(target.schema, stage.table)
    return [
        sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
            identifier(stage), sql.Identifier(target.schema)
        ),
        sql.SQL("ALTER TABLE {} RENAME TO {}").format(
            identifier(moved), sql.Identifier(target.table)
        ),
    ]


def delete_all(target: TargetName) -> sql.Composed:
    """Empty the target inside the transaction: readers go on seeing the old rows until commit."""
    return sql.SQL("DELETE FROM {}").format(identifier(target))


def insert(plan: SyncPlan, stage: TargetName) -> sql.Composed:
    """All staged rows into the target."""
    columns = names([c.name for c in plan.columns])
    return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
        identifier(plan.target), columns, columns, identifier(stage)
    )


def merge(plan: SyncPlan, stage: TargetName) -> sql.Composed:
    """Insert or update by key.

    Of rows that share a key the newest by cursor wins: ON CONFLICT refuses to touch a row twice
    in one statement (SQLSTATE 21000).
    """
    columns = names([c.name for c in plan.columns])
    newest = cursor_name(plan)
    rest = [c.name for c in plan.columns if c.name not in plan.key]
    action = (
        sql.SQL("UPDATE SET {}").format(
            sql.SQL(", ").join(
                sql.SQL("{} = EXCLUDED.{}").format(sql.Identifier(c), sql.Identifier(c))
                for c in rest
            )
        )
        if rest
        else sql.SQL("NOTHING")
    )
    order = (
        sql.SQL(", {} DESC NULLS LAST").format(sql.Identifier(newest)) if newest else sql.SQL("")
    )
    return sql.SQL(
        "INSERT INTO {} ({}) SELECT DISTINCT ON ({}) {} FROM {} ORDER BY {}{} "
        "ON CONFLICT ({}) DO {}"
    ).format(
        identifier(plan.target),
        columns,
        names(plan.key),
        columns,
        identifier(stage),
        names(plan.key),
        order,
        names(plan.key),
        action,
    )


def keep_newest(plan: SyncPlan, stage: TargetName) -> sql.Composed:
    """Delete all but the newest staged row of each key, before the key becomes unique."""
    newest = cursor_name(plan)
    order = sql.SQL("{} DESC NULLS LAST").format(sql.Identifier(newest)) if newest else None
    return sql.SQL(
        "DELETE FROM {} AS s USING (SELECT ctid, row_number() OVER (PARTITION BY {}{}) AS n "
        "FROM {}) AS d WHERE s.ctid = d.ctid AND d.n > 1"
    ).format(
        identifier(stage),
        names(plan.key),
        sql.SQL(" ORDER BY {}").format(order) if order else sql.SQL(""),
        identifier(stage),
    )


def count_nulls(stage: TargetName, columns: Sequence[str]) -> sql.Composed:
    """The number of rows, then the number of NULLs in each column."""
    counts = [
        sql.SQL("count(*) FILTER (WHERE {} IS NULL)").format(sql.Identifier(c)) for c in columns
    ]
    return sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join([sql.SQL("count(*)"), *counts]), identifier(stage)
    )


def newest(stage: TargetName, column: str) -> sql.Composed:
    """The highest cursor value among the staged rows, as the naive UTC timestamp we store."""
    return sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(column), identifier(stage))


def cursor_name(plan: SyncPlan) -> str | None:
    """The cursor column's name in PostgreSQL."""
    if plan.cursor is None:
        return None
    return next(c.name for c in plan.columns if c.source == plan.cursor.column)


def drop(stage: TargetName) -> sql.Composed:
    """Remove a staging table, if it is there."""
    return sql.SQL("DROP TABLE IF EXISTS {}").format(identifier(stage))


def analyze(target: TargetName) -> sql.Composed:
    """Fresh planner statistics."""
    return sql.SQL("ANALYZE {}").format(identifier(target))
