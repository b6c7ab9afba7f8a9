"""Brings staged rows into a target that stays the same table, or becomes it.

Belongs here: what happens to rows and cursor within the publishing transaction, in every mode, and
how many rows would go. Does not: the transaction itself (session.py), its statements
(publish_sql.py, postgres_sql.py), putting another table in the target's place (swap.py).
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg

from bq2pg_assets.engine import postgres_sql, publish_sql, staged_rows
from bq2pg_assets.engine.bad_rows import refuse_none_left
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import (
    BadRow,
    CursorValue,
    Mode,
    SyncPlan,
    TargetName,
    as_stored,
)
from bq2pg_assets.engine.plan import typed
from bq2pg_assets.engine.publish_sql import Times
from bq2pg_assets.engine.results import Written


def new_cursor(
    conn: psycopg.Connection[Any], plan: SyncPlan, stage: TargetName, *, bad: Sequence[BadRow]
) -> tuple[CursorValue | None, Counter[str]]:
    """The cursor that is true once the staged rows are published, and how many rows have none."""
    name = postgres_sql.cursor_name(plan)
    if plan.cursor is None or name is None:
        return None, Counter()
    row = conn.execute(postgres_sql.newest(stage, name)).fetchone()
    assert row is not None
    newest: CursorValue | None = row[0]
    # Bad rows are kept: a cursor that stays below them would bring them again.
    if passed := [one.cursor for one in bad if one.cursor is not None]:
        newest = typed(max([*passed, as_stored(newest) or passed[0]]), plan.cursor.type)
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
    conn: psycopg.Connection[Any],
    plan: SyncPlan,
    stage: TargetName,
    *,
    staged: int,
    bad: Sequence[BadRow],
) -> tuple[int, int]:
    """The rows that hold in the target, and how many of them would go. Counted, not estimated:
    whoever reads and writes them all has the time. `bad` rows are not gone from the source.
    """
    by_key = plan.publish.by_steps
    if by_key and not plan.full_refresh and not plan.whole:
        return 0, 0  # only what is read as a whole shows what is gone
    if plan.key:  # rows are looked up in it
        conn.execute(postgres_sql.analyze(stage))
    if by_key:
        statement = publish_sql.count_gone(plan, staged_rows.present(conn, plan, stage, bad=bad))
    else:
        statement = publish_sql.count_left(plan, stage, staged=staged)
    row = conn.execute(statement).fetchone()
    assert row is not None
    before, other = row
    return before, other if by_key else max(0, before - other)


def write(
    conn: psycopg.Connection[Any],
    plan: SyncPlan,
    stage: TargetName,
    *,
    staged: int,
    times: Times,
    bad: Sequence[BadRow],
    cancel: CancelToken,
    isolating: bool,
) -> Written:
    """The plan's changes, then the rows. Raises VerifyError when some are not written.

    `bad` were refused before they were staged. `isolating` says to look among the staged ones for
    those that the target refuses, and to write the others.
    """
    replaces = plan.publish is Mode.REPLACE and not plan.creates_target
    asked_at = time.monotonic() if replaces else None
    for statement in postgres_sql.evolve_target(plan):
        conn.execute(statement)
    if isolating:
        good = _good_rows(conn, plan, stage, staged=staged, times=times, bad=bad, cancel=cancel)
        return replace(good, asked_at=asked_at)
    if plan.publish.by_steps:
        counts = _take_steps(conn, plan, stage, staged=staged, times=times, bad=bad)
        return Written(counts["inserted"] + counts["updated"], counts=counts)
    return Written(_write_rows(conn, plan, stage, staged=staged), asked_at=asked_at)


def _good_rows(
    conn: psycopg.Connection[Any],
    plan: SyncPlan,
    stage: TargetName,
    *,
    staged: int,
    times: Times,
    bad: Sequence[BadRow],
    cancel: CancelToken,
) -> Written:
    """Publish in pieces all but the rows that are refused."""
    rows = staged_rows.StagedRows(
        conn, plan, stage=stage, times=times, where=f"target {plan.target}", cancel=cancel
    )
    rows.write(bad_before=bad)
    if not plan.publish.by_key:
        left = staged - rows.counts["duplicates"] - len(rows.bad)
        _all_written(plan, rows.written, staged=left)
    refuse_none_left(plan, written=rows.written, bad=len(bad) + len(rows.bad))
    counts = rows.counts if plan.publish.by_steps else {}
    return Written(rows.written, counts=counts, bad=tuple(rows.bad))


def _take_steps(
    conn: psycopg.Connection[Any],
    plan: SyncPlan,
    stage: TargetName,
    *,
    staged: int,
    times: Times,
    bad: Sequence[BadRow],
) -> Counter[str]:
    """Publish by the statements of publish_sql. Returns what became of the rows."""
    counts: Counter[str] = Counter()
    present = staged_rows.present(conn, plan, stage, bad=bad)
    for word, statement in publish_sql.steps(plan, stage, times=times, present=present):
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
