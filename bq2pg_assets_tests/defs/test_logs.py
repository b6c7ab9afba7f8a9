"""Progress as log lines, and the engine's records in the right step's log."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bq2pg_assets.defs.logs import ProgressLog, logged_to, progress_line
from bq2pg_assets.engine.results import Progress

ENGINE = logging.getLogger("bq2pg_assets.engine.sync")


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress("t", "export"), "export"),
        (
            Progress("t", "copy", rows=1200, bytes=81_400_000, shards_done=4, shards=10),
            "copy: 1,200 rows, 81 MB, 4 of 10 shards",
        ),
        (Progress("t", "copy", rows=12, expected_rows=3000), "copy: 12 of 3,000 rows"),
        (
            Progress("t", "copy", rows=5000, expected_rows=9000, seconds=2.0),
            "copy: 5,000 of 9,000 rows, 2,500 rows/s, 2 s left",
        ),
    ],
)
def test_a_line_says_how_far_it_is(progress: Progress, line: str) -> None:
    assert progress_line(progress) == line


def test_an_hour_of_progress_is_a_line_every_ten_seconds() -> None:
    """Each line is a row in Dagster's database."""
    now, lines = [0.0], []
    log = ProgressLog(lines.append, clock=lambda: now[0])
    log.speak()
    for second in range(3600):
        now[0] = float(second)
        log(Progress("t", "copy", rows=second))
    assert 355 < len(lines) < 370


def test_a_short_load_is_told_more_often() -> None:
    now, told = [0.0], list[float]()
    log = ProgressLog(lambda _: told.append(now[0]), clock=lambda: now[0])
    log.speak()
    for second in range(40):
        now[0] = float(second)
        log(Progress("t", "copy", rows=second))
    assert told == [0, 1, 3, 7, 15, 25, 35]


def test_a_new_phase_is_told_at_once() -> None:
    lines: list[str] = []
    log = ProgressLog(lines.append, clock=lambda: 0.0)
    log.speak()
    for phase in ("plan", "export", "export", "copy"):
        log(Progress("t", phase))
    assert lines == ["plan", "export", "copy"]


def test_a_load_of_a_moment_says_nothing_and_a_longer_one_says_where_it_is() -> None:
    """Each line is an event in Dagster's database: six for each of a thousand small tables."""
    lines: list[str] = []
    log = ProgressLog(lines.append, clock=lambda: 0.0)
    for phase in ("plan", "export"):
        log(Progress("t", phase))
    assert lines == []
    log.speak()
    log(Progress("t", "copy"))
    assert lines == ["export", "copy"]


def test_a_phase_that_reports_nothing_is_told_all_the_same() -> None:
    """An export may take minutes, and nobody hears of it in between."""
    told = threading.Event()
    with ProgressLog(lambda _: told.set()).speaking_soon() as log:
        log(Progress("t", "export"))
        assert told.wait(timeout=30)


class _Kept(logging.Logger):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.records: list[tuple[int, str, bool]] = []

    def log(self, level: int, msg: object, *_: object, **more: object) -> None:
        self.records.append((level, str(msg), bool(more.get("exc_info"))))


def test_what_the_engine_logs_goes_to_the_step_with_its_traceback() -> None:
    step = _Kept("step")
    with logged_to(step):
        ENGINE.info("cleaned %s", "prefix")
        ENGINE.debug("not worth a row")
        try:
            raise OSError("gone")
        except OSError:
            ENGINE.warning("could not clean", exc_info=True)
    ENGINE.warning("after the step")
    assert step.records == [
        (logging.INFO, "cleaned prefix", False),
        (logging.WARNING, "could not clean", True),
    ]


def test_two_steps_at_once_keep_their_lines_apart() -> None:
    one, two = _Kept("one"), _Kept("two")
    with ThreadPoolExecutor(1) as pool, logged_to(one):

        def other() -> None:
            with logged_to(two):
                ENGINE.info("of two")

        pool.submit(other).result()
        ENGINE.info("of one")
    assert [message for _, message, _ in one.records] == ["of one"]
    assert [message for _, message, _ in two.records] == ["of two"]
