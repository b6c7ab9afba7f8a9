"""Promise: `bq2pg sync` tries a table again when its error may pass, as a new attempt each time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bq2pg_assets.cli.progress import PlainView
from bq2pg_assets.cli.runner import Ended, Runner
from bq2pg_assets.engine.errors import Bq2pgError, LockedError, SourceError
from bq2pg_assets.engine.model import Export, Outcome, RunOptions
from bq2pg_assets_tests.fakes import FakeSource
from bq2pg_assets_tests.unit.world import NEW, OLD, World


def an_error(*, retryable: bool) -> SourceError:
    way_out = "Look at password=hunter2."
    return SourceError(
        "bq", met="503 password=hunter2", expected="200", way_out=way_out, retryable=retryable
    )


@dataclass
class FailingSource(FakeSource):
    """Its exports fail with these errors first, having written their objects."""

    errors: list[Bq2pgError] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)

    def export(self, *args: Any, prefix: str, **more: Any) -> Export:
        self.prefixes.append(prefix)
        done = super().export(*args, prefix=prefix, **more)
        if self.errors:
            raise self.errors.pop(0)
        return done


def synced(world: World, *errors: Bq2pgError) -> tuple[Ended, list[str], list[str]]:
    """How it ended, the prefixes of its attempts, and what was said."""
    said: list[str] = []
    source = FailingSource(world.journal, world.shards, world.source.rows, errors=list(errors))
    runner: Callable[..., Any] = Runner
    [ended] = runner(source, world.shards, world.target, PlainView(said.append)).run(
        [world.table], options=RunOptions()
    )
    return ended, source.prefixes, said


def test_each_attempt_has_a_prefix_a_row_of_history_and_a_line_of_its_own() -> None:
    world = World(retries=2)
    before = len(world.target.history)
    passing = [an_error(retryable=True), an_error(retryable=True)]
    ended, prefixes, said = synced(world, *passing)
    assert ended.error is None
    assert world.target.live == OLD + NEW
    assert [h["outcome"] for h in world.target.history[before:]] == [
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.LOADED,
    ]
    run = prefixes[0].removesuffix("-0/")
    assert prefixes == [f"{run}-{attempt}/" for attempt in range(3)]
    assert [line for line in said if "attempt" in line] == [
        "t: 503 password=***; attempt 2 of 3 in 0 s",
        "t: 503 password=***; attempt 3 of 3 in 0 s",
    ]
    world.assert_clean()


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_after_its_retries_the_last_error_stands(retries: int) -> None:
    world = World(retries=retries)
    ended, prefixes, _ = synced(world, *[an_error(retryable=True) for _ in range(9)])
    assert isinstance(ended.error, SourceError)
    assert len(prefixes) == retries + 1
    world.assert_untouched()
    world.assert_clean()


def test_a_final_error_is_not_tried_again() -> None:
    world = World(retries=5)
    ended, prefixes, _ = synced(world, an_error(retryable=False))
    assert isinstance(ended.error, SourceError)
    assert len(prefixes) == 1


def test_a_table_that_another_run_holds_is_not_tried_again() -> None:
    world = World(retries=5)
    world.target.held = True
    ended, _, _ = synced(world)
    assert isinstance(ended.error, LockedError)
    assert world.journal.calls.count("target.lock") == 1
