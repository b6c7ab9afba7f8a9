"""sync_quarantine: the rows that a target refused, and bringing them in later.

Belongs here: keeping, listing and replaying bad rows, on the *caller's* connection, so that they
commit with what they belong to. Does not: finding them among the staged ones (staged_rows.py), SQL
texts (quarantine_sql.py), opening connections and locks (postgres.py).
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from psycopg import Connection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from bq2pg_assets.engine import quarantine_sql as statements
from bq2pg_assets.engine.bad_rows import in_ascii, refusal_of
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.model import BadRow, Mode, Refusal, RunId, SyncPlan, TargetName
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.postgres_sql import QUARANTINE
from bq2pg_assets.engine.publish_sql import Times
from bq2pg_assets.engine.quarantine_sql import OPEN, Shape
from bq2pg_assets.engine.results import QuarantinedRow, Replayed
from bq2pg_assets.engine.staged_rows import check_at_once

KEPT_OUT = Refusal("a trigger or rule of the target keeps the row out", None)


def ensure(conn: Connection[Any], own_schema: str) -> None:
    """Create the table where it is missing. Runs in the caller's transaction; the schema is there.

    One at a time: IF NOT EXISTS does not keep two sessions from creating the same table at once.
    """
    if not _exists(conn, own_schema):
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('bq2pg:ensure', 0))")
        conn.execute(sql.SQL(statements.CREATE).format(sql.Identifier(own_schema, QUARANTINE)))


def keep(
    conn: Connection[Any],
    own_schema: str,
    *,
    plan: SyncPlan,
    times: Times,
    run: RunId,
    bad: Sequence[BadRow],
) -> None:
    """Store bad rows in the transaction that publishes the good ones.

    Earlier ones that this load makes obsolete do not wait any longer.
    """
    quarantine = _table(own_schema)
    # A database that is not in UTF-8 may lack a character; JSON can spell each by its number.
    unicode = conn.info.parameter_status("server_encoding") == "UTF8"
    rows = [one.row if unicode else in_ascii(one.row) for one in bad]
    obsolete, values = _obsolete(plan, run=run, rows=rows)
    conn.execute(
        sql.SQL(
            "UPDATE {} SET superseded_at = clock_timestamp() "
            f"WHERE target = %s AND {OPEN} AND {obsolete}"
        ).format(quarantine),
        [str(plan.target), *values],
    )
    shape = Jsonb(asdict(Shape.of(plan, times=times)))
    with conn.cursor() as cursor:
        cursor.executemany(
            sql.SQL(
                "INSERT INTO {} (run_id, table_name, target, row, shape, error, sqlstate) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)"
            ).format(quarantine),
            [
                (
                    *(run.id, plan.table, str(plan.target), row, shape),
                    *(_storable(one.refusal.error), one.refusal.sqlstate),
                )
                for row, one in zip(rows, bad, strict=True)
            ],
        )


def _obsolete(plan: SyncPlan, *, run: RunId, rows: Sequence[str]) -> tuple[str, list[Any]]:
    """A condition for the target's earlier bad rows, with its values."""
    if plan.creates_target or plan.publish is Mode.REPLACE:
        return "true", []
    if plan.publish is Mode.SNAPSHOT:  # every read is kept; an attempt takes its run's place
        return "run_id = %s", [run.id]
    if plan.whole:
        return "true", []
    # Read again, as lookback does. Without a key two rows may well be the same.
    return "row = ANY (%s)", [list(rows) if plan.key else []]


def listed(
    conn: Connection[Any], own_schema: str, *, table: str | None, everything: bool
) -> list[QuarantinedRow]:
    """Quarantined rows, oldest first: those that wait, or `everything`."""
    if not _exists(conn, own_schema):
        return []
    query = sql.SQL(
        "SELECT id, run_id, table_name AS table, target, row, error, sqlstate, at, replayed_at, "
        "replay_run_id, superseded_at FROM {} "
        f"WHERE (%s::text IS NULL OR table_name = %s) {'' if everything else f'AND {OPEN}'} "
        "ORDER BY id"
    ).format(_table(own_schema))
    with conn.cursor(row_factory=class_row(QuarantinedRow)) as cursor:
        return cursor.execute(query, [table, table]).fetchall()


def replay(
    conn: Connection[Any], own_schema: str, *, target: TargetName, ids: Sequence[int], run_id: str
) -> list[Replayed]:
    """Write rows of one target into it and mark them, in the caller's transaction.

    One that was replayed meanwhile is passed over; one that is refused again stays, with its new
    error. Only called under the target's lock.
    """
    quarantine = _table(own_schema)
    check_at_once(conn, target)
    found = conn.execute(
        sql.SQL(
            f"SELECT id, table_name, row, shape FROM {{}} WHERE id = ANY (%s) AND {OPEN} "
            "ORDER BY id FOR UPDATE"
        ).format(quarantine),
        [list(ids)],
    ).fetchall()
    done = []
    for number, table, row, shape in found:
        refusal, written = _write_one(conn, target, Shape.read(shape), row)
        if refusal is not None:
            change, values = (
                "error = %s, sqlstate = %s",
                [_storable(refusal.error), refusal.sqlstate],
            )
        elif written:
            change, values = "replayed_at = clock_timestamp(), replay_run_id = %s", [run_id]
        else:
            change, values = "superseded_at = clock_timestamp()", []
        conn.execute(
            sql.SQL(f"UPDATE {{}} SET {change} WHERE id = %s").format(quarantine), [*values, number]
        )
        outcome: Literal["replayed", "superseded", "refused"] = (
            "refused" if refusal else "replayed" if written else "superseded"
        )
        done.append(
            Replayed(number, table, str(target), outcome, refusal.error if refusal else None)
        )
    return done


def _write_one(
    conn: Connection[Any], target: TargetName, shape: Shape, row: str
) -> tuple[Refusal | None, int]:
    """Why the row is refused, if it is; else the number of rows written, 0 under a newer one."""
    try:
        with postgres_errors(f"target {target}"), conn.transaction():
            for statement in statements.replay(target, shape, row):
                written = conn.execute(statement).rowcount
    except Bq2pgError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        return refusal, 0
    return (KEPT_OUT if not written and not shape.key else None), written


def _exists(conn: Connection[Any], own_schema: str) -> bool:
    name = sql.Identifier(own_schema, QUARANTINE).as_string()
    row = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
    return row is not None and row[0] is not None


def _table(own_schema: str) -> sql.SQL:
    """For statements with parameters, where psycopg takes a % for a placeholder."""
    return sql.SQL(sql.Identifier(own_schema, QUARANTINE).as_string().replace("%", "%%"))


def _storable(text: str) -> str:
    return text.replace("\0", "\\0")
