"""Brings staged rows into a target that stays the same table, or becomes it.

Belongs here: what happens to rows and cursor within the publishing transaction, in every mode, and
how many rows would go. Does not: the transaction itself (session.py), its statements
(publish_sql.py, postgres_sql.py), putting another table in the target's place (swap.py).
"""

import time
from collections import Counter
from datetime import datetime
from typing import Any

import psycopg

from bq2pg_assets.engine import postgres_sql, publish_sql
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import CursorValue, Mode, SyncPlan, TargetName
from bq2pg_assets.engine.results import Written


def new_cursor(
    conn: psycopg.Connection[Any], plan: SyncPlan, stage: TargetName
) -> tuple[CursorValue | None, Counter[str]]:
    """The cursor that is true once the staged rows are published, and how many rows have none."""
    name = postgres_sql.cursor_name(plan)
    if plan.cursor is None or name is None:
        return None, Counter()
    row = conn.execute(postgres_sql.newest(stage, name)).fetchone()
    assert row is not None
    newest: CursorValue | None = row[0]
    nulls = Counter(null_cursor=row[1] if plan.null_cursors is None else plan.null_cursors)
    if plan.cursor_after == "clear":
        return None, nulls
    if plan.cursor_after == "keep":
        return plan.cursor.value, nulls
    # A full load that brought no cursor value must not keep an older one: rows below it that
    # come later would never be read. An increment may bring lower ones alone (lookback).
    low = plan.cursor.value
    if plan.incremental and low is not None and (newest is None or newest < low):
        return low, nulls
    return newest, nulls


def count_shrink(
    conn: psycopg.Connection[Any], plan: SyncPlan, stage: TargetName
) -> tuple[int, int]:
    """The rows that hold in the target, and how many of them would go. Counted, not estimated:
    whoever reads and writes them all has the time.
    """
    by_key = plan.publish.by_steps
    if by_key and not plan.full_refresh and not plan.whole:
        return 0, 0  # only what is read as a whole shows what is gone
    conn.execute(postgres_sql.analyze(stage))
    count = publish_sql.count_gone if by_key else publish_sql.count_left
    row = conn.execute(count(plan, stage)).fetchone()
    assert row is not None
    before, other = row
    return before, other if by_key else max(0, before - other)


def write(
    conn: psycopg.Connection[Any],
    plan: SyncPlan,
    stage: TargetName,
    *,
    staged: int,
    times: tuple[datetime, datetime],
) -> Written:
    """The plan's changes, then the rows. Raises VerifyError when some are not written.

    `times` are when the attempt began, and its run.
    """
    replaces = plan.publish is Mode.REPLACE and not plan.creates_target
    asked_at = time.monotonic() if replaces else None
    for statement in postgres_sql.evolve_target(plan):
        conn.execute(statement)
    if plan.publish.by_steps:
        counts = _take_steps(conn, plan, stage, staged=staged, times=times)
        return Written(counts["inserted"] + counts["updated"], counts=counts)
    return Written(_write_rows(conn, plan, stage, staged=staged), asked_at=asked_at)


def _take_steps(
    conn: psycopg.Connection[Any],
    plan: SyncPlan,
    stage: TargetName,
    *,
    staged: int,
    times: tuple[datetime, datetime],
) -> Counter[str]:
    """Publish by the statements of publish_sql. Returns what became of the rows."""
    counts: Counter[str] = Counter()
    began, first = times
    for word, statement in publish_sql.steps(plan, stage, at=began, snapshot_at=first):
        done = conn.execute(statement).rowcount
        if word != publish_sql.UNCOUNTED:
            counts[word] += done
    if plan.creates_target:
        counts["inserted"] = staged - counts["duplicates"]
    if plan.publish is Mode.SNAPSHOT:
        _all_written(plan, counts["inserted"], staged=staged)
    return counts


def _write_rows(
    conn: psycopg.Connection[Any], plan: SyncPlan, stage: TargetName, *, staged: int
) -> int:
    if plan.publish is Mode.MERGE:
        return conn.execute(postgres_sql.merge(plan, stage)).rowcount
    if plan.publish is Mode.REPLACE and plan.key:
        staged -= conn.execute(postgres_sql.keep_newest(plan, stage)).rowcount
    if plan.creates_target:
        create = postgres_sql.become_target(stage, plan.target)
        for statement in [*create, *postgres_sql.finish_target(plan)]:
            conn.execute(statement)
        return staged
    if plan.publish is Mode.REPLACE:
        _empty(conn, plan.target)
    written = conn.execute(postgres_sql.insert(plan, stage)).rowcount
    _all_written(plan, written, staged=staged)
    return written


def _empty(conn: psycopg.Connection[Any], target: TargetName) -> None:
    """By TRUNCATE; by DELETE where a foreign key or a missing right forbids that."""
    try:
        with conn.transaction():
            conn.execute(postgres_sql.truncate(target))
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege):
        conn.execute(postgres_sql.delete_all(target))


def _all_written(plan: SyncPlan, written: int, *, staged: int) -> None:
    if written != staged:
        raise VerifyError(
            f"target {plan.target}",
            met=f"{written} rows written to the target",
            expected=f"the {staged} staged",
            way_out="A trigger or rule of the target keeps rows out: remove it, or choose "
            "another target; nothing was published.",
        )
