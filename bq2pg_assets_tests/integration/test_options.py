"""What --full-refresh, --limit and --where change, and that no row is lost by them in the end.

Belongs here: RunOptions on real runs. Does not belong here: parsing them, refusing bad conditions
(unit tests and test_injection.py).
"""

from dataclasses import replace

import pytest

from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import Mode, Outcome, RunOptions
from bq2pg_assets_tests.integration.helpers import Snapshot, World, moment, refused

STAMP = "TIMESTAMP '2024-01-0{} 00:00:00+00'"
FIRST = [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3)]  # id, day
LATER = [(6, 4), (7, 4), (8, 5)]


def query(rows: list[tuple[int, int]]) -> str:
    return " UNION ALL ".join(
        f"SELECT {number} AS id, {STAMP.format(day)} AS max_ingested_at" for number, day in rows
    )


def ids(world: World) -> list[int]:
    return [row[0] for row in world.rows("t")]


def test_full_refresh_replaces_the_content_and_sets_the_cursor_anew(world: World) -> None:
    world.sync(query=query(FIRST + LATER), mode="append")
    result = world.sync(query=query(FIRST), mode="append", options=RunOptions(full_refresh=True))
    assert (result.publish, result.rows) == (Mode.REPLACE, 5)
    assert ids(world) == [1, 2, 3, 4, 5]
    assert world.cursor() == moment("2024-01-03")
    world.no_leftovers()


@pytest.mark.parametrize(
    "options", [RunOptions(limit=2), RunOptions(where="id < 3")], ids=["limit", "where"]
)
def test_a_partial_full_load_stores_no_cursor_so_the_next_run_loads_everything(
    world: World, options: RunOptions
) -> None:
    partial = world.sync(query=query(FIRST), mode="append", options=options)
    assert partial.rows == 2
    assert world.cursor() is None
    whole = world.sync(query=query(FIRST), mode="append")
    assert (whole.publish, ids(world)) == (Mode.REPLACE, [1, 2, 3, 4, 5])


def test_a_partial_full_refresh_takes_back_the_cursor_that_was_there(world: World) -> None:
    world.sync(query=query(FIRST), mode="append")
    options = RunOptions(full_refresh=True, limit=1)
    world.sync(query=query(FIRST), mode="append", options=options)
    assert (len(ids(world)), world.cursor()) == (1, None)
    world.sync(query=query(FIRST), mode="append")
    assert ids(world) == [1, 2, 3, 4, 5]


def test_a_limited_window_never_splits_equal_timestamps_and_loses_nothing_in_the_end(
    world: World,
) -> None:
    world.sync(query=query(FIRST[:1]), mode="append")
    steps = []
    for _ in range(5):
        result = world.sync(query=query(FIRST + LATER), mode="append", options=RunOptions(limit=2))
        steps.append(result.rows)
        if result.outcome is Outcome.NOTHING_NEW:
            break
    # Three rows of day 2 although two were asked for; then 5 with both of day 4; then 8.
    assert steps == [3, 3, 1, 0]
    assert ids(world) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("options", "given"),
    [(RunOptions(limit=2), "limit 2"), (RunOptions(where="id < 3"), "where")],
    ids=["limit", "where"],
)
@pytest.mark.parametrize("mode", ["replace", "append", "merge"])
def test_a_partial_full_load_over_rows_is_refused_unless_full_refresh_says_so(
    world: World, mode: str, options: RunOptions, given: str
) -> None:
    table = {"query": query(FIRST), "mode": mode, "key": ["id"]}
    world.sync(**table)
    world.pg("UPDATE sync_state SET last_synced_at = NULL")
    refused(
        world,
        ConfigError,
        says=f"{given} on a full load would leave only these rows in public.t",
        way_out="--full-refresh",
        retryable=False,
        options=options,
        **table,
    )
    assert world.sync(options=replace(options, full_refresh=True), **table).rows == 2
    assert (len(ids(world)), world.cursor()) == (2, None)
    assert world.sync(**table).rows == 5


def test_where_narrows_a_replace(world: World) -> None:
    world.sync(query=query(FIRST), options=RunOptions(where="id IN (2, 4) -- even ones"))
    assert ids(world) == [2, 4]


def test_where_on_an_incremental_append_is_refused_because_it_would_lose_rows(
    world: World,
) -> None:
    world.sync(query=query(FIRST), mode="append")
    before = Snapshot.of(world)
    with pytest.raises(ConfigError) as stopped:
        world.sync(query=query(FIRST + LATER), mode="append", options=RunOptions(where="id = 8"))
    assert "full_refresh" in stopped.value.way_out
    assert Snapshot.of(world) == before
    world.no_leftovers()


def test_where_on_an_incremental_merge_loads_these_rows_and_leaves_the_cursor(
    world: World,
) -> None:
    world.sync(query=query(FIRST), mode="merge", key=["id"])
    cursor = world.cursor()
    some = world.sync(
        query=query(FIRST + LATER), mode="merge", key=["id"], options=RunOptions(where="id = 8")
    )
    assert (some.publish, some.rows, ids(world)) == (Mode.MERGE, 1, [1, 2, 3, 4, 5, 8])
    assert world.cursor() == cursor
    rest = world.sync(query=query(FIRST + LATER), mode="merge", key=["id"])
    assert (rest.rows, ids(world)) == (3, [1, 2, 3, 4, 5, 6, 7, 8])


def test_a_limit_on_a_plain_table_reads_no_more_rows_than_that(world: World) -> None:
    world.make_source("SELECT x AS id FROM UNNEST(GENERATE_ARRAY(1, 100)) AS x")
    result = world.sync(options=RunOptions(limit=7))
    assert (result.rows, len(set(ids(world)))) == (7, 7)
