"""The SQL that bq2pg sends to PostgreSQL, composed, never sent here.

Belongs here: statements as `psycopg.sql` objects. Does not: connections, transactions
(session.py, state.py). Every name is an `Identifier`, every value a parameter or a `Literal`.
"""

import hashlib
from collections.abc import Iterable, Sequence

from psycopg import sql

from bq2pg_assets.engine.model import Column, RunId, SyncPlan, TargetName

STATE = "sync_state"
HISTORY = "sync_history"
SHARDS = "staged_shards"
QUARANTINE = "sync_quarantine"

FACTS = """
SELECT c.oid, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s"""
COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull,
  atthasdef OR attidentity <> '' OR attgenerated <> '',
  attidentity <> '' OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = attrelid
    AND (i.indisprimary OR i.indisreplident) AND attnum = ANY (i.indkey))
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
UNIQUE_KEYS = """
SELECT array_agg(a.attname::text) FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts
GROUP BY i.indexrelid"""
# The column is of PostgreSQL 15; read as JSON it is merely missing before.
NULL_KEYS = UNIQUE_KEYS.replace(
    "GROUP BY", "AND (to_jsonb(i) ->> 'indnullsnotdistinct')::boolean\nGROUP BY"
)
LEFTOVERS = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND left(c.relname, 6) = 'stage_'
  AND obj_description(c.oid, 'pg_class') = %s AND pg_has_role(c.relowner, 'USAGE')"""


def stage_name(table: TargetName, *, schema: str, run: RunId) -> TargetName:
    """The staging table of one attempt: short, unique, telling which target it belongs to."""
    digest = hashlib.sha256(f"{table}\0{run.slug}".encode()).hexdigest()[:16]
    head = table.table.encode()[:40].decode(errors="ignore")
    return TargetName(schema, f"stage_{head}_{digest}")


def stage_comment(target: TargetName) -> str:
    """What says of a staging table whose it is: its name holds only a part of the target's."""
    return f"bq2pg staging of {target}"


def identifier(name: TargetName) -> sql.Identifier:
    """schema.table, quoted."""
    return sql.Identifier(name.schema, name.table)


def names(columns: Sequence[str]) -> sql.Composed:
    """Column names, quoted, with commas between."""
    return sql.SQL(", ").join(sql.Identifier(c) for c in columns)


def at_once(statements: Iterable[sql.Composed]) -> sql.Composed:
    """All of them in one round trip; none may have parameters."""
    return sql.SQL(";\n").join(statements)


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
            identifier(stage), sql.Literal(stage_comment(plan.target))
        ),
    ]


def copy_in(stage: TargetName, columns: Sequence[Column]) -> sql.Composed:
    """COPY of binary rows into the staging table."""
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        identifier(stage), names([c.name for c in columns])
    )


def finish_target(plan: SyncPlan, *, key: Sequence[str] | None = None) -> list[sql.Composed]:
    """What a staging table that became the target still lacks: key and comments.

    PostgreSQL names the key's index: the usual name may be taken, by that of a table renamed away.
    """
    unique = plan.key if key is None else key
    statements = [add_key(plan.target, unique, null_keys=plan.null_keys)] if unique else []
    statements.append(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(
            identifier(plan.target),
            sql.Literal(plan.comment or f"Copied from BigQuery by bq2pg: {plan.table}"),
        )
    )
    return statements + column_comments(plan.target, plan.columns)


def add_key(target: TargetName, key: Sequence[str], *, null_keys: str) -> sql.Composed:
    """What keeps two rows from sharing a key; with null_keys: match NULLs are equal there."""
    kind = "UNIQUE NULLS NOT DISTINCT" if null_keys == "match" else "PRIMARY KEY"
    return sql.SQL("ALTER TABLE {} ADD {} ({})").format(
        identifier(target), sql.SQL(kind), names(key)
    )


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


def alter_table(target: TargetName, actions: Sequence[sql.Composed]) -> sql.Composed:
    """One ALTER TABLE, so that there is one lock and at most one rewrite."""
    return sql.SQL("ALTER TABLE {} {}").format(identifier(target), sql.SQL(", ").join(actions))


def add_column(name: str, kind: str) -> sql.Composed:
    """An action of ALTER TABLE. `kind` is a type from typemap's table, or one with NOT NULL."""
    return sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(name), sql.SQL(kind))


def drop_column(name: str) -> sql.Composed:
    """An action of ALTER TABLE; bq2pg shows it to people and never runs it."""
    return sql.SQL("DROP COLUMN {}").format(sql.Identifier(name))


def set_type(name: str, kind: str, *, using: bool = False) -> sql.Composed:
    """An action of ALTER TABLE. `using` casts explicitly: it may round, cut or fail."""
    column = sql.Identifier(name)
    cast = sql.SQL(" USING {}::{}").format(column, sql.SQL(kind)) if using else sql.SQL("")
    return sql.SQL("ALTER COLUMN {} TYPE {}{}").format(column, sql.SQL(kind), cast)


def drop_not_null(name: str) -> sql.Composed:
    """An action of ALTER TABLE."""
    return sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name))


def evolve_target(plan: SyncPlan, *, on: TargetName | None = None) -> list[sql.Composed]:
    """The plan's changes: one ALTER TABLE, and the comments of the columns it adds.

    `on` is the table that is changed, by default the target.
    """
    table = on or plan.target
    actions = []
    for change in plan.changes:
        if change.kind == "added" and change.after:
            actions.append(add_column(change.column, change.after))
        elif change.kind == "widened" and change.after:
            actions.append(set_type(change.column, change.after))
        elif change.kind == "nullable":
            actions.append(drop_not_null(change.column))
    added = {c.column for c in plan.changes if c.kind == "added"}
    comments = column_comments(table, [c for c in plan.columns if c.name in added])
    return ([alter_table(table, actions)] if actions else []) + comments


def column_comments(target: TargetName, columns: Sequence[Column]) -> list[sql.Composed]:
    """BigQuery's descriptions, on the columns that have one."""
    return [
        sql.SQL("COMMENT ON COLUMN {} IS {}").format(
            sql.Identifier(target.schema, target.table, c.name), sql.Literal(c.comment)
        )
        for c in columns
        if c.comment
    ]


def keep_as_it_is(target: TargetName) -> sql.Composed:
    """The lock that writing takes anyway: readers and writers go on, ALTER TABLE waits."""
    return sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(identifier(target))


def truncate(target: TargetName) -> sql.Composed:
    """Empty the target at once; nobody reads it until commit."""
    return sql.SQL("TRUNCATE {}").format(identifier(target))


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


def newest(stage: TargetName, column: str) -> sql.Composed:
    """The highest cursor value among the staged rows, and how many have none."""
    name = sql.Identifier(column)
    return sql.SQL("SELECT max({}), count(*) - count({}) FROM {}").format(
        name, name, identifier(stage)
    )


def cursor_name(plan: SyncPlan) -> str | None:
    """The cursor column's name in PostgreSQL."""
    if plan.cursor is None:
        return None
    return next(c.name for c in plan.columns if c.source == plan.cursor.column)


def drop(stage: TargetName) -> sql.Composed:
    """Remove a staging table, if it is there."""
    return sql.SQL("DROP TABLE IF EXISTS {}").format(identifier(stage))


def forget_cursor(target: TargetName) -> sql.Composed:
    """What a person runs so that the next sync of `target` replaces its content."""
    return sql.SQL(
        "INSERT INTO {} VALUES ({}, NULL) ON CONFLICT (table_name) DO UPDATE SET "
        "last_synced_at = NULL"
    ).format(sql.Identifier(target.schema, STATE), sql.Literal(str(target)))


def analyze(target: TargetName) -> sql.Composed:
    """Fresh planner statistics."""
    return sql.SQL("ANALYZE {}").format(identifier(target))
