"""Copying on fakes: several workers, one of which fails or all of which are cancelled.

Guards the promise of `copy_shards`: the first failure is raised, the other workers are stopped
and waited for, and nothing writes to the staging table after it returned. The threads are real;
they meet at events, never by waiting for a while.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy import copy_shards
from bq2pg_assets.engine.errors import CancelledError, MappingError, TargetError, VerifyError
from bq2pg_assets.engine.meter import Copied
from bq2pg_assets.engine.model import Column, RunId
from bq2pg_assets.engine.results import Progress
from bq2pg_assets.engine.typemap import map_columns
from bq2pg_assets_tests.fakes import (
    FIELDS,
    FakeSession,
    FakeShards,
    FakeSink,
    FakeTarget,
    Journal,
    Row,
)
from bq2pg_assets_tests.unit.plans import a_plan

AT = datetime(2024, 1, 1, tzinfo=UTC)
TABLE = TableConfig.model_validate({"name": "t", "source": "d.t"})
COLUMNS = map_columns(TABLE, FIELDS)
PATIENCE = 30.0  # a meeting that takes longer is a failure, not a slow machine


class BlockingSession(FakeSession):
    """Its sinks block, as COPY on a busy server does, until the token interrupts them."""

    def __init__(self, database: FakeTarget, run: RunId) -> None:
        super().__init__(database, run)
        self.blocked = threading.Event()
        self.interrupted: list[bool] = []  # of each sink that blocked, whether it was

    @contextmanager
    def copying(self, columns: tuple[Column, ...], *, cancel: CancelToken) -> Iterator[FakeSink]:
        interrupted = threading.Event()
        with (
            super().copying(columns, cancel=cancel) as sink,
            cancel.interrupting(interrupted.set),
        ):
            yield BlockingSink(sink, self, interrupted)


class BlockingSink(FakeSink):
    def __init__(
        self, sink: FakeSink, session: BlockingSession, interrupted: threading.Event
    ) -> None:
        super().__init__(sink._stage, sink._journal)
        self._session, self._interrupted = session, interrupted

    def copy(self, pieces: Iterator[bytes]) -> int:
        self._session.blocked.set()
        self._session.interrupted.append(self._interrupted.wait(PATIENCE))
        return super().copy(pieces)


@dataclass
class Copying:
    """Ten shards of three rows, and what came of them."""

    parallelism: int = 2
    shards: int = 10
    journal: Journal = field(default_factory=Journal)
    reported: list[Progress] = field(default_factory=list)
    cancel: CancelToken = field(default_factory=CancelToken)

    def __post_init__(self) -> None:
        self.target = FakeTarget(self.journal, history=[{}])
        self.store = FakeShards(self.journal)
        for number in range(self.shards):
            rows: list[Row] = [(number * 3 + i, AT) for i in range(3)]
            self.store.objects[f"gs://b/bq2pg/t/r/{number}"] = rows
        self.session = FakeSession(self.target, RunId("r"))

    @property
    def staged(self) -> list[Row]:
        return self.target.stages[self.session.stage.table]

    def __call__(self, session: FakeSession | None = None) -> Copied:
        plan = a_plan(columns=COLUMNS, parallelism=self.parallelism, expected_rows=30)
        self.session = session or self.session
        self.session.create_stage(plan)
        return copy_shards(
            plan,
            self.store.list("gs://b/bq2pg/t/r/"),
            store=self.store,  # type: ignore[arg-type]
            session=self.session,  # type: ignore[arg-type]
            cancel=self.cancel,
            report=self.reported.append,
        )


@pytest.mark.parametrize(("parallelism", "shards"), [(1, 1), (1, 3), (2, 10), (4, 2), (3, 0)])
def test_every_shard_is_copied_once(parallelism: int, shards: int) -> None:
    copying = Copying(parallelism, shards)
    copied = copying()
    assert replace(copied, profile=None) == Copied(
        rows=3 * shards, in_shards=3 * shards, bytes=7 * shards, shards=shards
    )
    assert copied.profile is not None
    assert copied.profile.parallelism == parallelism
    assert bool(shards) <= copied.profile.workers <= min(parallelism, shards)
    assert sorted(copying.staged) == [(n, AT) for n in range(3 * shards)]
    assert copying.journal.calls.count("session.copying") <= min(parallelism, shards)


def test_progress_is_told_at_every_shard_and_ends_with_all_of_them() -> None:
    copying = Copying()
    copying()
    last = max(copying.reported, key=lambda p: p.shards_done)
    assert (last.phase, last.rows, last.bytes) == ("copy", 30, 70)
    assert (last.shards_done, last.shards, last.expected_rows) == (10, 10, 30)
    assert {p.shards_done for p in copying.reported} >= set(range(1, 11))


@pytest.mark.parametrize(
    "error",
    [
        TargetError("x", met="a", expected="b", way_out="c"),
        RuntimeError("nobody thought of this"),
        KeyboardInterrupt(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_failing_worker_interrupts_and_stops_the_others(error: BaseException) -> None:
    copying = Copying()
    session = BlockingSession(copying.target, RunId("r"))
    opened = iter(range(10))

    def second_fails_once_the_first_blocks() -> None:
        if next(opened) == 1:
            assert session.blocked.wait(PATIENCE)
            raise error

    copying.journal.on("shards.open", second_fails_once_the_first_blocks)
    with pytest.raises(type(error)) as caught:
        copying(session)
    assert caught.value is error
    assert session.interrupted == [True]
    assert copying.target.copying == 0
    assert copying.staged == []
    assert copying.journal.calls.count("shards.open") == 2


@pytest.mark.parametrize("parallelism", [1, 2, 4])
def test_a_cancel_interrupts_every_worker(parallelism: int) -> None:
    copying = Copying(parallelism)
    session = BlockingSession(copying.target, RunId("r"))

    def cancel_once_a_worker_blocks() -> None:
        if session.blocked.wait(PATIENCE):
            copying.cancel.cancel()

    canceller = threading.Thread(target=cancel_once_a_worker_blocks)
    canceller.start()
    with pytest.raises(CancelledError):
        copying(session)
    canceller.join()
    assert session.interrupted
    assert all(session.interrupted)
    assert copying.target.copying == 0
    assert copying.staged == []


def test_a_cancel_before_the_first_shard_copies_nothing() -> None:
    copying = Copying()
    copying.cancel.cancel()
    with pytest.raises(CancelledError):
        copying()
    assert copying.staged == []


def test_a_cancel_after_the_last_shard_is_still_a_cancel() -> None:
    copying = Copying(parallelism=1, shards=1)
    copying.journal.on("sink.copied", copying.cancel.cancel)
    with pytest.raises(CancelledError):
        copying()


def _loses_a_row(sink: FakeSink) -> Callable[[Iterator[bytes]], int]:
    return lambda pieces: FakeSink.copy(sink, pieces) - 1


def test_a_row_that_postgresql_did_not_take_is_noticed() -> None:
    class Losing(FakeSession):
        @contextmanager
        def copying(
            self, columns: tuple[Column, ...], *, cancel: CancelToken
        ) -> Iterator[FakeSink]:
            with super().copying(columns, cancel=cancel) as sink:
                sink.copy = _loses_a_row(sink)  # type: ignore[method-assign,assignment]
                yield sink

    copying = Copying()
    with pytest.raises(VerifyError, match="PostgreSQL took 2 rows; expected the 3") as caught:
        copying(Losing(copying.target, RunId("r")))
    assert caught.value.retryable


def test_a_shard_that_lacks_a_column_is_refused_before_any_of_its_rows() -> None:
    copying = Copying()
    plan = a_plan(columns=map_columns(TABLE, [*FIELDS, FIELDS[0].__class__("more", "INT64")]))
    copying.session.create_stage(plan)
    with pytest.raises(MappingError, match="column more is missing in the shard"):
        copy_shards(
            plan,
            copying.store.list("gs://b/bq2pg/t/r/"),
            store=copying.store,  # type: ignore[arg-type]
            session=copying.session,  # type: ignore[arg-type]
            cancel=copying.cancel,
            report=copying.reported.append,
        )
    assert copying.staged == []
