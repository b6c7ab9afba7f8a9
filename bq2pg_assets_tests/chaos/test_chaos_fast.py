"""Killed anywhere and run again, the target equals what an undisturbed run would have made.

Belongs here: the part of the matrix that every test run tries: each mode killed at two of three
places (within the copy, before the commit, while cleaning), and faults of each kind once, with a
mode that changes from fault to fault. Does not: the whole (`make chaos`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets.local.stack import StackState
from bq2pg_assets_tests.chaos import matrix
from bq2pg_assets_tests.chaos.faults import FAULTS, KILLS
from bq2pg_assets_tests.chaos.faults.fault import Fault, Where, at, last
from bq2pg_assets_tests.chaos.faults.postgres import COPYING, PUBLISHING
from bq2pg_assets_tests.chaos.ground import Ground
from bq2pg_assets_tests.chaos.matrix import Trial
from bq2pg_assets_tests.chaos.modes import WAYS, Way

# What takes long (down, the lock) or is one of many alike (an HTTP code, a reason) is the whole's.
QUICK = (
    *("restarted (fast)", "restarted (immediate)", "connection cut, the answer is lost"),
    *("disk full while copying", "object with one bit flipped", "object truncated"),
    *("HTTP 503 once", "connection reset within an object, every time"),
    *("the export ends with backendError", "the export ends with accessDenied"),
)
CLEANING = last(at("gcs", "^DELETE"))
STEPS: dict[str, Where] = {"copy": COPYING, "commit": PUBLISHING, "clean": CLEANING}
KILLED = [
    (way, step)
    for number, way in enumerate(WAYS)
    for left_out, step in enumerate(STEPS)
    if left_out != number % len(STEPS)
]


@pytest.fixture(scope="module")
def ground(stack: StackState, emulators: Path) -> Iterator[Ground]:
    """A PostgreSQL of its own beside the emulators of the stack, all behind proxies."""
    variables = local_stack.environment(stack)
    made = Ground(
        bigquery_url=variables["BIGQUERY_EMULATOR_HOST"],
        storage_url=variables["STORAGE_EMULATOR_HOST"],
        emulators=emulators,
    )
    yield made
    made.close()


@pytest.mark.parametrize(
    ("way", "step"), KILLED, ids=[f"{way.name} in {step}" for way, step in KILLED]
)
def test_a_killed_run_is_made_good_by_the_next(ground: Ground, way: Way, step: str) -> None:
    start = ground.start(way, loaded=True)
    (place,) = STEPS[step](start.places)
    verdict = matrix.judge(ground, Trial(KILLS[0], way, loaded=True, place=place))
    assert verdict.reached
    assert verdict.good, str(verdict)


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        (fault, WAYS[number % len(WAYS)])
        for number, fault in enumerate(f for f in FAULTS if f.what in QUICK)
    ],
    ids=lambda one: getattr(one, "name", None) or f"{one.group} {one.what}",
)
def test_a_run_that_met_a_fault_is_made_good_by_the_next(
    ground: Ground, fault: Fault, way: Way
) -> None:
    trials = matrix.places(fault, ground.start(way, loaded=True))
    verdict = matrix.judge(ground, trials[-1])
    assert verdict.reached
    assert verdict.good, str(verdict)


def test_every_fault_has_a_place_in_every_mode(ground: Ground) -> None:
    """A statement that was reworded would leave a fault untried."""
    start = ground.start(WAYS[0], loaded=True)
    tried = [f for f in FAULTS if WAYS[0].name in f.ways]
    assert [f.what for f in tried if not matrix.places(f, start)] == []
