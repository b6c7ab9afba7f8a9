"""Promise: progress is told at most once a second, with a speed and an end that hold."""

import itertools

import pytest

from bq2pg_assets.engine.meter import Meter
from bq2pg_assets.engine.model import Shard, StagedShard
from bq2pg_assets.engine.results import Progress
from bq2pg_assets_tests.unit.plans import a_plan


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_however_fast_batches_come_it_is_told_at_most_once_a_second() -> None:
    clock, told = Clock(), list[tuple[float, int]]()
    meter = Meter(
        a_plan(), [Shard("x", 7, 1)], lambda p: told.append((clock.now, p.rows)), clock=clock
    )
    for _ in range(1000):
        clock.now += 0.01
        meter.add(rows=1)
    times = [at for at, _ in told]
    assert len(told) == 10
    assert all(after - before >= 1.0 for before, after in itertools.pairwise(times))
    assert meter.rows == 1000


def test_the_end_of_a_shard_is_told_at_once() -> None:
    clock, told = Clock(), list[Progress]()
    meter = Meter(a_plan(), [Shard("x", 7, 1), Shard("y", 7, 1)], told.append, clock=clock)
    meter.add(rows=1)
    meter.add(rows=1, done=1)
    assert [(p.rows, p.shards_done) for p in told] == [(1, 0), (2, 1)]


def test_what_an_earlier_attempt_staged_is_no_speed_of_this_one() -> None:
    clock, told = Clock(), list[Progress]()
    staged = StagedShard("x", 1, 900, 9000, {}, {})
    shards = [Shard("x", 9000, 1), Shard("y", 3000, 1)]
    plan = a_plan(expected_rows=1200)
    meter = Meter(plan, shards, told.append, staged=[staged], clock=clock)
    clock.now += 10
    meter.add(rows=100, size=1000)
    [progress] = told
    assert (progress.rows, progress.bytes) == (1000, 10_000)
    assert progress.rows_per_second == pytest.approx(10.0)
    assert progress.seconds_left == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("expected_rows", "expected_bytes", "left"),
    [
        (1500, 400, 10.0),
        (None, 120, 10.0),
        (400, 120, 10.0),  # more rows than were expected: bytes tell it
        (500, 120, 0.0),
        (None, None, None),
        (400, 30, None),
    ],
)
def test_the_end_is_told_by_rows_or_else_by_bytes(
    expected_rows: int | None, expected_bytes: int | None, left: float | None
) -> None:
    progress = Progress(
        "t",
        "copy",
        rows=500,
        bytes=40,
        seconds=5.0,
        expected_rows=expected_rows,
        expected_bytes=expected_bytes,
    )
    assert progress.rows_per_second == 100.0
    assert progress.seconds_left == left


@pytest.mark.parametrize(
    "progress",
    [
        Progress("t", "export"),
        Progress("t", "copy", rows=500, expected_rows=1000, seconds=0.2),
        Progress("t", "copy", rows=500, staged_rows=500, expected_rows=1000, seconds=9.0),
    ],
    ids=["another phase", "the first moments", "nothing of its own yet"],
)
def test_a_speed_that_cannot_be_told_is_not(progress: Progress) -> None:
    assert progress.rows_per_second is None
    assert progress.seconds_left is None
