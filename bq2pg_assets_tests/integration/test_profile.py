"""What the time of a sync went into, as the result, `sync_history` and the metadata tell it.

Belongs here: a whole sync. Does not: the advice (unit/test_profile.py), the stopwatch
(unit/test_stopwatch.py).
"""

import pytest

from bq2pg_assets.defs.metadata import result_metadata
from bq2pg_assets.engine.model import RunOptions
from bq2pg_assets.engine.profile import PARTS, Profile
from bq2pg_assets.engine.results import SyncResult
from bq2pg_assets_tests.integration.helpers import World

SOURCE = (
    "SELECT x AS id, TO_HEX(SHA256(CAST(x AS STRING))) AS v "
    "FROM UNNEST(GENERATE_ARRAY(1, 60000)) AS x"
)


@pytest.mark.parametrize("has_bucket", [True, False], ids=["bucket", "read api"])
def test_the_time_of_the_workers_is_told_and_none_of_it_twice(
    world: World, has_bucket: bool
) -> None:
    world.make_source(SOURCE)
    result = world.sync(parallelism=2, has_bucket=has_bucket)
    profile = result.profile
    assert profile is not None
    assert 1 <= profile.workers <= profile.parallelism == 2
    assert set(profile.seconds) == set(PARTS)
    assert min(profile.seconds.values()) > 0
    # The phase is measured in whole milliseconds.
    assert sum(profile.seconds.values()) <= profile.workers * (result.phases["copy"] + 0.001)
    [row] = world.history()
    assert row["profile"] == profile.record
    assert row["advice"] == result.advice
    assert _metadata(result) == {
        "workers": profile.workers,
        **{f"worker_seconds/{part}": profile.record[part] for part in PARTS},
        **({"advice": result.advice} if result.advice else {}),
    }


def test_rows_refused_are_copied_again_and_the_time_of_it_counts(world: World) -> None:
    world.make_source(
        "SELECT x AS id, IF(x = 77, CODE_POINTS_TO_STRING([0]), 'v') AS v "
        "FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS x"
    )
    result = world.sync(bad_rows="quarantine")
    assert result.quarantined == 1
    assert result.profile is not None
    assert min(result.profile.seconds.values()) > 0


def test_a_run_that_finds_nothing_new_has_no_profile(world: World) -> None:
    world.make_source("SELECT 1 AS id, TIMESTAMP '2024-01-01' AS max_ingested_at")
    first, second = (world.sync(mode="append", parallelism=2) for _ in range(2))
    assert first.profile == Profile(1, 2, first.profile.seconds if first.profile else {})
    assert (second.profile, second.advice) == (None, None)
    assert [row["profile"] is None for row in world.history()] == [False, True]


def test_a_history_without_the_columns_is_read_and_gets_them(world: World) -> None:
    world.make_source("SELECT 1 AS id")
    world.sync()
    world.pg("ALTER TABLE bq2pg.sync_history DROP COLUMN profile, DROP COLUMN advice")
    [status] = world.target().status()
    assert status.advice is None
    result = world.sync()
    assert result.profile is not None
    assert [row["profile"] for row in world.history()] == [None, result.profile.record]


def _metadata(result: SyncResult) -> dict[str, object]:
    found = result_metadata(
        result, options=RunOptions(), source_key=None, project="p", uri="postgresql://x/y"
    )
    return {
        name: value.value
        for name, value in found.items()
        if name in ("workers", "advice") or name.startswith("worker_seconds/")
    }
