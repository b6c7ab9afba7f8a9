"""Runs at the same time: of one table never, of many tables always, of many shards within one.

Belongs here: threads and their races. Does not belong here: what sync_history tells of a refused
run (test_history.py).
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from bq2pg_assets.engine.errors import LockedError, MappingError
from bq2pg_assets.engine.model import Outcome, RunId, TargetName
from bq2pg_assets.engine.results import Progress
from bq2pg_assets_tests.integration.helpers import Gate, World, background

QUERY = "SELECT 1 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
WIDE = "REPEAT('0123456789', 140)"  # the stand-in begins a new object after 50,000 such rows


@pytest.mark.parametrize("phase", ["plan", "after"])
def test_a_second_run_of_a_target_is_refused_at_once_and_the_first_ends_well(
    world: World, phase: str
) -> None:
    gate = Gate(phase)
    with background(lambda: world.sync(query=QUERY, mode="append", report=gate)) as first:
        gate.wait()
        # Another table of the configuration with the same target is locked out as well.
        with pytest.raises(LockedError) as refused:
            world.sync(query=QUERY, mode="append", name="other", target="public.t")
        assert refused.value.retryable
        assert "Wait for the other run" in refused.value.way_out
        gate.open()
    assert first.result().outcome is Outcome.LOADED
    assert [row[0] for row in world.rows("t")] == [1]
    world.no_leftovers()
    assert world.sync(query=QUERY, mode="append").outcome is Outcome.NOTHING_NEW


def test_the_next_run_of_a_target_may_begin_the_moment_one_has_ended(world: World) -> None:
    database, target = world.target(), TargetName("public", "t")
    for number in range(100):
        with database.locked(target, run=RunId(f"run-{number}"), table="t"):
            pass
        with database.if_free(target) as free:
            assert free


def test_a_run_of_one_target_does_not_wait_for_a_run_of_another(world: World) -> None:
    gate = Gate("publish")
    with background(lambda: world.sync(query=QUERY, report=gate)) as first:
        gate.wait()
        assert world.sync(query=QUERY, name="u").rows == 1
        assert not first.done()
        gate.open()
    assert first.result().rows == 1


def test_many_tables_at_once_make_schemas_and_state_in_a_fresh_database(world: World) -> None:
    # One run of several tables, as Dagster starts it; two names differ in case only.
    names = ["flights", "Flights", *[f"table_{number}" for number in range(6)]]
    run = RunId("one-run-for-all")
    with ThreadPoolExecutor(len(names)) as pool:
        runs = {
            name: pool.submit(
                world.sync,
                query=f"SELECT '{name}' AS name, 1 AS id",
                name=name,
                run=run,
                target=f"s{len(name)}.{name}",
                mode="merge",
                cursor=None,
                key=["id"],
            )
            for name in names
        }
    assert {name: done.result().outcome for name, done in runs.items()} == dict.fromkeys(
        names, Outcome.LOADED
    )
    for name in names:
        assert world.rows(f's{len(name)}."{name}"') == [(name, 1)]
    assert len({done.result().job_id for done in runs.values()}) == len(names)
    assert sorted(h["table_name"] for h in world.history()) == sorted(names)
    world.no_leftovers()


def test_several_shards_over_several_connections_bring_every_row_once(world: World) -> None:
    rows = 150_000
    world.make_source(
        f"SELECT x AS id, CONCAT(CAST(x AS STRING), {WIDE}) AS v "
        f"FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS x"
    )
    told: list[Progress] = []
    result = world.sync(parallelism=4, report=told.append)
    assert result.shards == 3
    assert result.rows == rows
    [found] = world.pg(
        "SELECT count(*), count(DISTINCT id), min(id), max(id), "
        f"count(*) FILTER (WHERE v = id || {WIDE}) FROM t"
    )
    assert found == (rows, rows, 1, rows, rows)
    copying = [progress for progress in told if progress.phase == "copy" and progress.shards]
    assert (copying[-1].rows, copying[-1].shards_done) == (rows, result.shards)
    assert [p.rows for p in copying] == sorted(p.rows for p in copying)
    assert copying[-1].expected_rows == rows
    world.no_leftovers()


def test_one_bad_row_among_many_shards_stops_all_of_them(world: World) -> None:
    world.make_source(
        f"SELECT x AS id, IF(x = 99999, CODE_POINTS_TO_STRING([0]), {WIDE}) AS v "
        "FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS x"
    )
    with pytest.raises(MappingError, match=r"column v: U\+0000"):
        world.sync(parallelism=2)
    assert not world.exists("t")
    world.no_leftovers()
