"""What PostgreSQL says of a target, and whether it still says so.

Belongs here: reading the facts that plan.py judges, on the *caller's* connection. Does not: what
hangs on a table (catalog.py), the texts of the queries (postgres_sql.py).
"""

from typing import Any

import psycopg
from psycopg import sql

from bq2pg_assets.engine import catalog, postgres_sql, state
from bq2pg_assets.engine.errors import TargetError
from bq2pg_assets.engine.model import (
    CursorValue,
    SyncPlan,
    TargetColumn,
    TargetFacts,
    TargetName,
)


def describe(
    conn: psycopg.Connection[Any], target: TargetName, *, own_schema: str
) -> tuple[TargetFacts, CursorValue | None]:
    """What is there now, and how far it is loaded. Takes no lock."""
    stored = state.read_cursor(conn, target)
    found = conn.execute(postgres_sql.FACTS, [target.schema, target.table]).fetchone()
    if found is None:
        version = conn.info.server_version
        facts = TargetFacts(kind=None, owned=stored.known, server_version=version)
        return facts, stored.last_synced_at
    oid, kind = found
    keys = tuple(frozenset(row[0]) for row in conn.execute(postgres_sql.UNIQUE_KEYS, [oid]))
    facts = TargetFacts(
        kind=kind,
        columns=_columns(conn, oid),
        has_rows=kind in ("r", "p") and _has_rows(conn, target),
        owned=stored.known,
        origin=state.read_origin(conn, own_schema, target),
        unique_keys=keys,
        null_keys=tuple(frozenset(row[0]) for row in conn.execute(postgres_sql.NULL_KEYS, [oid])),
        server_version=conn.info.server_version,
        swap_obstacles=catalog.obstacles(conn, oid) if kind in ("r", "p") else (),
    )
    return facts, stored.last_synced_at


def refuse_changed(conn: psycopg.Connection[Any], plan: SyncPlan, *, where: str) -> None:
    """The plan judged the target's columns: from here on nobody can change them any more.

    Raises TargetError when they are others already. Runs in the caller's transaction.
    """
    if plan.creates_target:
        return
    conn.execute(postgres_sql.keep_as_it_is(plan.target))
    if _columns(conn, catalog.find(conn, plan.target)) != plan.target_columns:
        raise TargetError(
            where,
            met="other columns than when the run began",
            expected="the columns that the plan was made for",
            way_out="Run again; nothing was published.",
            retryable=True,
        )


def _columns(conn: psycopg.Connection[Any], oid: int) -> tuple[TargetColumn, ...]:
    return tuple(TargetColumn(*row) for row in conn.execute(postgres_sql.COLUMNS, [oid]))


def _has_rows(conn: psycopg.Connection[Any], target: TargetName) -> bool:
    row = conn.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(postgres_sql.identifier(target))
    ).fetchone()
    return bool(row and row[0])
