"""Promise: a run that nobody watches fills no log, and one that is watched tells enough."""

from bq2pg_assets.cli.progress import LINE_EVERY_SECONDS, PlainView, describe
from bq2pg_assets.engine.results import Progress


def test_what_is_not_known_is_left_out() -> None:
    assert describe(Progress("t", "plan")) == ""


def test_everything_that_is_known_is_told() -> None:
    progress = Progress(
        "t", "copy", 1200, 2048, shards_done=1, shards=3, expected_rows=5000, seconds=2.0
    )
    assert (
        describe(progress) == "1,200 of 5,000 rows, 600 rows/s, 1 of 3 shards, 2.0 KiB, 6.3 s left"
    )


def test_an_estimate_that_was_exceeded_is_not_shown() -> None:
    assert describe(Progress("t", "copy", 1200, expected_rows=1000)) == "1,200 rows"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_throttled_but_every_phase_is_told() -> None:
    clock, lines = Clock(), list[str]()
    view = PlainView(lines.append, clock=clock)
    view.report(Progress("t", "export"))
    view.report(Progress("t", "copy", 0))
    for second in range(1, 2 * int(LINE_EVERY_SECONDS)):
        clock.now = 100.0 + second
        view.report(Progress("t", "copy", second * 1000, seconds=second))
    view.report(Progress("t", "verify"))
    assert lines == [
        "t: export",
        "t: copy",
        "t: copy: 5,000 rows, 1,000 rows/s",
        "t: verify",
    ]


def test_the_same_phase_of_the_next_table_is_a_new_one() -> None:
    lines = list[str]()
    view = PlainView(lines.append, clock=Clock())
    for table in ("a", "b"):
        view.report(Progress(table, "plan"))
    assert lines == ["a: plan", "b: plan"]
