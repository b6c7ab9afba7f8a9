"""Rows that come late, with an old, an equal or no cursor value, and rows too young to be read.

Belongs here: lookback, lag and null_cursor. Does not: increments in order (test_modes.py).
"""

from typing import Any

import pytest

from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import Outcome
from bq2pg_assets_tests.integration.helpers import World, refused

FIRST = "SELECT 1 AS id, TIMESTAMP '2024-01-01 10:00:00+00' AS max_ingested_at"
LATE = (
    "INSERT INTO {d}.source VALUES (2, TIMESTAMP '2024-01-01 10:00:00+00'), "
    "(3, TIMESTAMP '2024-01-01 09:31:00+00'), (4, TIMESTAMP '2024-01-01 08:00:00+00')"
)
KEYED: dict[str, Any] = {"mode": "merge", "key": ["id"]}
SCD2: dict[str, Any] = {"mode": "scd2", "key": ["id"]}
NULLED = "INSERT INTO {d}.source VALUES (9, NULL)"


def ids(world: World) -> list[int]:
    return [row[0] for row in world.pg("SELECT id FROM t ORDER BY id")]


def test_an_append_misses_a_later_row_with_an_equal_cursor(world: World) -> None:
    world.make_source(FIRST)
    world.sync(mode="append")
    world.bq(LATE)
    assert world.sync(mode="append").outcome is Outcome.NOTHING_NEW
    assert ids(world) == [1]


@pytest.mark.parametrize("mode", [KEYED, SCD2], ids=["merge", "scd2"])
def test_a_lookback_gets_late_and_equal_rows_down_to_its_depth(
    world: World, mode: dict[str, Any]
) -> None:
    world.make_source(FIRST)
    world.sync(**mode, lookback="30m")
    world.bq(LATE)
    world.sync(**mode, lookback="30m")
    assert ids(world) == [1, 2, 3]
    cursor = world.cursor()
    world.bq("DELETE FROM {d}.source WHERE id < 3")
    world.sync(**mode, lookback="30m")
    assert world.cursor() == cursor, "a lower newest row does not take the cursor back"


@pytest.mark.parametrize("kind", ["TIMESTAMP", "DATETIME", "DATE"])
def test_a_lag_leaves_young_rows_for_later_at_the_first_load_too(world: World, kind: str) -> None:
    now = {
        "TIMESTAMP": "CURRENT_TIMESTAMP()",
        "DATETIME": "DATETIME(CURRENT_TIMESTAMP())",
        "DATE": "DATE(CURRENT_TIMESTAMP())",
    }[kind]
    old = "DATE '2024-01-01'" if kind == "DATE" else f"{kind} '2024-01-01 00:00:00'"
    world.make_source(f"SELECT 1 AS id, {old} AS max_ingested_at UNION ALL SELECT 2, {now}")
    for _ in range(2):
        world.sync(mode="append", lag="2h")
        assert ids(world) == [1]
    assert world.history()[-1]["outcome"] == "nothing_new"
    world.sync(mode="append", lag="2h", target="other")
    world.sync(mode="append", target="other")
    assert [r[0] for r in world.rows("other")] == [1, 2]


@pytest.mark.parametrize(("mode", "later"), [({"mode": "append"}, [1, 9]), (KEYED, [1, 8, 9])])
def test_rows_without_a_cursor_are_included_as_far_as_a_window_can(
    world: World, mode: dict[str, Any], later: list[int]
) -> None:
    world.make_source(FIRST)
    world.bq(NULLED)
    first = world.sync(**mode)
    assert (ids(world), first.row_counts["null_cursor"]) == ([1, 9], 1)
    world.bq("INSERT INTO {d}.source VALUES (8, NULL)")
    second = world.sync(**mode)
    assert (ids(world), second.row_counts["null_cursor"]) == (later, 2)


@pytest.mark.parametrize("mode", [{"mode": "append"}, KEYED, SCD2])
def test_rows_without_a_cursor_are_skipped_and_counted(world: World, mode: dict[str, Any]) -> None:
    world.make_source(FIRST)
    world.bq(NULLED)
    for _ in range(2):
        result = world.sync(**mode, null_cursor="skip")
        assert (ids(world), result.row_counts["null_cursor"]) == ([1], 1)


def test_rows_without_a_cursor_stop_a_run_that_wants_none(world: World) -> None:
    world.make_source(FIRST)
    world.sync(mode="append", null_cursor="fail")
    world.bq(NULLED)
    for says in ("1 rows with NULL in the cursor column", "1 NULL in max_ingested_at"):
        refused(
            world,
            VerifyError,
            says=says,
            way_out="null_cursor",
            retryable=False,
            mode="append",
            null_cursor="fail",
        )
        world.pg("UPDATE sync_state SET last_synced_at = NULL")
