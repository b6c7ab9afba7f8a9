"""A source, its exported shards and a target in memory, in place of Google's and PostgreSQL.

Belongs here: what behaves as `BigQuerySource`, `GcsShards`, `PostgresTarget` and its session do,
writes every call into one `Journal`, and raises where the journal says. Does not: assertions.
Staged rows are read back out of the COPY BINARY bytes, so that what the encoder lost is lost here.
"""

import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as pa

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import job_id
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import LockedError
from bq2pg_assets.engine.leftovers import LeftExport
from bq2pg_assets.engine.model import (
    BadRow,
    Column,
    Cursor,
    CursorValue,
    DeadAttempt,
    Estimate,
    Export,
    Mode,
    Outcome,
    Probe,
    Resumed,
    RunId,
    Shard,
    SourceFacts,
    SourceField,
    StagedShard,
    SyncPlan,
    TargetColumn,
    TargetFacts,
    TargetName,
    Window,
    as_stored,
)
from bq2pg_assets.engine.results import Spent, SyncResult

Row = tuple[int, datetime | None]
FIELDS = (SourceField("id", "INT64", "REQUIRED"), SourceField("at", "TIMESTAMP"))
SCHEMA = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us"))])
TARGET = TargetName("public", "t")
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Journal:
    """Every call in order, and what else happens at one: an error, or an action of the test."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._does: dict[str, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def on(self, call: str, action: Callable[[], object]) -> None:
        self._does[call] = action

    def fail_at(self, call: str, error: BaseException) -> None:
        def action() -> None:
            raise error

        self.on(call, action)

    def forget(self) -> None:
        self.calls.clear()
        self._does.clear()

    def __call__(self, call: str) -> None:
        with self._lock:
            self.calls.append(call)
        self._does.get(call, lambda: None)()


@dataclass
class FakeSource:
    """A BigQuery table of `rows`. An export that fails has left its objects behind."""

    journal: Journal
    store: "FakeShards"
    rows: list[Row]
    streaming: bool = False
    num_rows: int | None = None
    miscounts: int = 0
    rows_per_shard: int = 2
    jobs: dict[str, Export] = field(default_factory=dict)

    def describe(self, table: TableConfig) -> SourceFacts:
        self.journal("source.describe")
        counted = len(self.rows) if self.num_rows is None else self.num_rows
        return SourceFacts(
            "`p`.`d`.`t`", "TABLE", FIELDS, "EU", num_rows=counted, streaming=self.streaming
        )

    def cancel(self, job_id: str, *, location: str) -> None:
        self.journal("source.cancel")

    def unchanged_rows(self, table: TableConfig, facts: SourceFacts) -> int | None:
        self.journal("source.unchanged_rows")
        return None

    def probe(
        self,
        facts: SourceFacts,
        cursor: Cursor,
        *,
        table: TableConfig,
        where: str | None,
        limit: int | None,
        every_partition_of: str | None,
        run: RunId,
        cancel: CancelToken,
    ) -> Probe:
        self.journal("source.probe")
        above = sorted(at for _, at in self._within(Window(cursor.value, None)) if at is not None)
        seen = above[:limit]
        return Probe(seen[-1] if seen else None, len(seen), EPOCH)

    def estimate(self, plan: SyncPlan) -> Estimate:
        self.journal("source.estimate")
        return Estimate(0, 0.0)

    def cost(self, bytes_billed: int) -> float:
        return bytes_billed / 100

    def export(self, plan: SyncPlan, *, prefix: str, run: RunId, cancel: CancelToken) -> Export:
        if plan.resumes is not None:
            self.journal("source.export")
            return plan.resumes.export
        rows = self._within(plan.window)
        step = self.rows_per_shard
        for number, start in enumerate(range(0, len(rows), step)):
            self.store.objects[f"{prefix}{number:012d}.parquet"] = rows[start : start + step]
        self.journal("source.export")
        done = Export(f"job_{run.slug}", prefix, len(rows) + self.miscounts, 10, 20)
        files = len(range(0, len(rows), step))
        self.jobs[job_id(plan.table, run, "export")] = replace(done, files=files)
        return done

    def finished_export(self, job_id: str, *, location: str, place: str) -> Export | None:
        self.journal("source.finished_export")
        done = self.jobs.get(job_id)
        return None if done is None else replace(done, bytes_processed=0, bytes_billed=0)

    def _within(self, window: Window | None) -> list[Row]:
        if window is None:
            return list(self.rows)
        low, high = (_utc(v) for v in (window.low, window.high))
        return [
            r
            for r in self.rows
            if r[1] is not None and (low is None or r[1] > low) and (high is None or r[1] <= high)
        ]


@dataclass
class FakeShards:
    """A bucket: `objects` by address."""

    journal: Journal
    objects: dict[str, list[Row]] = field(default_factory=dict)
    root: str = "gs://bucket/bq2pg/"
    ahead: int = 1

    def prefix(self, table: str, run: RunId) -> str:
        return f"{self.root}{table}/{run.slug}/"

    def list(self, prefix: str) -> tuple[Shard, ...]:
        self.journal("shards.list")
        return tuple(Shard(uri, 7, 1) for uri in sorted(self.objects) if uri.startswith(prefix))

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> "FakeParquet":
        return FakeParquet(shard, self.objects[shard.uri], self.journal)

    def delete(self, prefix: str) -> int:
        self.journal("shards.delete")
        gone = [uri for uri in self.objects if uri.startswith(prefix)]
        for uri in gone:
            del self.objects[uri]
        return len(gone)


class FakeParquet:
    """One shard, its only part, open or not."""

    schema = SCHEMA
    row_groups: tuple[int, ...] = ()

    def __init__(self, shard: Shard, content: Sequence[Row], journal: Journal) -> None:
        self.shard, self._content, self.journal = shard, content, journal

    def parts(self, wanted: int, *, staged: Sequence[int] = ()) -> list["FakeParquet"]:
        return [self]

    @contextmanager
    def open(self) -> Iterator["FakeParquet"]:
        self.journal("shards.open")
        yield self

    def close(self) -> None:
        """Nothing is kept."""

    @property
    def rows(self) -> int:
        return len(self._content)

    @property
    def size(self) -> int:
        return self.shard.size

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for id_, at in self._content:
            naive = at.replace(tzinfo=None) if at else None
            yield pa.RecordBatch.from_pydict({"id": [id_], "at": [naive]}, schema=SCHEMA)


@dataclass
class FakeTarget:
    """A PostgreSQL database that holds one target table. `live` None means it is missing."""

    journal: Journal
    live: list[Row] | None = None
    cursor: CursorValue | None = None
    owned: bool = False
    columns: tuple[Column, ...] = ()
    stages: dict[str, list[Row]] = field(default_factory=dict)
    left_exports: list[LeftExport] = field(default_factory=list)
    staged: dict[str, list[StagedShard]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    copying: int = 0
    held: bool = False

    @contextmanager
    def locked(
        self,
        target: TargetName,
        *,
        run: RunId,
        table: str,
        wait: int = 0,
        cancel: CancelToken | None = None,
    ) -> Iterator["FakeSession"]:
        self.journal("target.lock")
        if self.held:
            raise LockedError(str(target), met="held", expected="free", way_out="Wait.")
        self.held = True
        self.history.append({"outcome": Outcome.RUNNING, "error": None})
        try:
            yield FakeSession(self, run, target)
        finally:
            self.held = False
            self.journal("target.unlock")

    def dead_attempt(self, target: TargetName, *, within: int) -> DeadAttempt | None:
        self.journal("target.dead_attempt")
        return None

    def describe(self, target: TargetName) -> tuple[TargetFacts, CursorValue | None]:
        self.journal("target.describe")
        return self.facts(), self.cursor

    def facts(self) -> TargetFacts:
        if self.live is None:
            return TargetFacts(kind=None, owned=self.owned)
        columns = tuple(TargetColumn(c.name, c.pg_type, c.not_null, False) for c in self.columns)
        return TargetFacts("r", columns, bool(self.live), self.owned, (frozenset({"id"}),))


class FakeSession:
    """What one run may do while it holds the lock."""

    def __init__(self, database: FakeTarget, run: RunId, target: TargetName = TARGET) -> None:
        self.database, self.journal, self.target = database, database.journal, target
        self.stage = TargetName("bq2pg", f"stage_{run.slug}")
        self._attempt = database.history[-1]

    def dead_attempt(self, *, within: int, run_id: str | None = None) -> DeadAttempt | None:
        self.journal("session.dead_attempt")
        for attempt in reversed(self.database.history[:-1]):
            if attempt["outcome"] is Outcome.LOADED:
                return None
            if found := attempt.get("dead"):
                return cast(DeadAttempt, found)
        return None

    def drop_leftovers(self, *, cancel: CancelToken, but: Resumed | None = None) -> None:
        self.journal("session.drop_leftovers")
        for name in list(self.database.stages):
            if but is None or name != but.attempt.stage:
                del self.database.stages[name]

    def left_exports(self, *, but: Resumed | None = None) -> list[LeftExport]:
        self.journal("session.left_exports")
        kept = but.attempt.prefix if but else None
        return [e for e in self.database.left_exports if e.prefix != kept]

    def forget_prefix(self, prefix: str) -> None:
        self.journal("session.forget_prefix")
        self.database.left_exports = [e for e in self.database.left_exports if e.prefix != prefix]

    def describe(self) -> tuple[TargetFacts, CursorValue | None]:
        self.journal("session.describe")
        return self.database.facts(), self.database.cursor

    def record_plan(self, plan: SyncPlan) -> None:
        self.journal("session.record_plan")

    def record_export(
        self,
        plan: SyncPlan,
        *,
        job_id: str,
        prefix: str,
        fingerprint: str | None,
        source_modified_at: datetime | None,
    ) -> None:
        self.journal("session.record_export")
        self.database.left_exports.append(LeftExport(prefix, job_id, plan.location))
        if fingerprint is not None:
            self._attempt["dead"] = DeadAttempt(
                "run",
                fingerprint,
                prefix,
                job_id,
                self.stage.table,
                EPOCH,
                as_stored(plan.window.high) if plan.window else None,
                plan.expected_rows,
                plan.snapshot_at,
                source_modified_at,
            )

    def create_stage(self, plan: SyncPlan, shards: Sequence[Shard] = ()) -> tuple[StagedShard, ...]:
        old = plan.resumes.attempt.stage if plan.resumes else ""
        rows, staged = self.database.stages.pop(old, []), self.database.staged.pop(old, [])
        self.database.stages[self.stage.table] = rows
        self.database.staged[self.stage.table] = staged
        self.journal("session.create_stage")
        return tuple(staged)

    @contextmanager
    def copying(self, columns: Sequence[Column], *, cancel: CancelToken) -> Iterator["FakeSink"]:
        self.database.copying += 1
        try:
            self.journal("session.copying")
            stages, staged = self.database.stages, self.database.staged
            yield FakeSink(stages[self.stage.table], self.journal, staged[self.stage.table])
        finally:
            self.database.copying -= 1

    def count_shrink(
        self,
        plan: SyncPlan,
        *,
        staged: int,
        bad: Sequence[BadRow] = (),
        cancel: CancelToken,
    ) -> tuple[int, int]:
        self.journal("session.count_shrink")
        before = len(self.database.live or ())
        return before, max(0, before - len(self.database.stages[self.stage.table]))

    def build_indexes(self, plan: SyncPlan, *, cancel: CancelToken) -> None:
        self.journal("session.build_indexes")

    def publish(
        self,
        plan: SyncPlan,
        *,
        result: SyncResult,
        bad: Sequence[BadRow] = (),
        cancel: CancelToken,
    ) -> SyncResult:
        staged = list(self.database.stages[self.stage.table])
        self.journal("session.publish")
        cancel.check("publish")
        cursor = plan.cursor.value if plan.cursor else None
        if plan.cursor_after == "advance":
            cursor = max((at for _, at in staged if at is not None), default=cursor)
        old = [] if plan.publish is Mode.REPLACE else list(self.database.live or ())
        if plan.publish is Mode.MERGE:
            old = [r for r in old if r[0] not in {s[0] for s in staged}]
        self.database.live, self.database.columns = old + staged, plan.columns
        self.database.cursor = None if plan.cursor_after == "clear" else cursor
        self.database.owned = True
        self._attempt["outcome"] = Outcome.LOADED
        self.journal("committed")
        return replace(result, cursor_after=self.database.cursor, rows=len(staged))

    def finish(self, result: SyncResult) -> None:
        self.journal("session.finish")
        self._attempt["outcome"] = result.outcome

    def fail(self, error: str, *, outcome: Outcome, spent: Spent) -> None:
        self.journal("session.fail")
        if self._attempt["outcome"] is Outcome.RUNNING:
            self._attempt.update(outcome=outcome, error=error)

    def analyze(self, *, cancel: CancelToken) -> None:
        self.journal("session.analyze")

    def row_estimate(self) -> int | None:
        self.journal("session.row_estimate")
        return len(self.database.live or ())

    def drop_stage(self) -> None:
        self.journal("session.drop_stage")
        self.database.stages.pop(self.stage.table, None)
        for attempt in self.database.history:
            attempt.pop("dead", None)


class FakeSink:
    """One connection that takes COPY BINARY; rows are in the stage once the stream ended."""

    def __init__(
        self, stage: list[Row], journal: Journal, staged: list[StagedShard] | None = None
    ) -> None:
        self._stage, self._journal = stage, journal
        self._staged = [] if staged is None else staged

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def note(self, shard: StagedShard) -> None:
        self._staged.append(shard)

    def copy(self, pieces: Iterable[bytes]) -> int:
        received = b""
        for piece in pieces:
            self._journal("sink.piece")
            received += piece
        self._journal("sink.copied")
        rows = [_row(values) for values in tuples(received)]
        self._stage += rows
        return len(rows)


def tuples(stream: bytes) -> Iterator[list[bytes | None]]:
    """The rows of a COPY BINARY stream: PostgreSQL's page on COPY, Binary Format."""
    assert stream[:11] == b"PGCOPY\n\xff\r\n\0"
    assert stream[-2:] == b"\xff\xff"
    at, end = 19, len(stream) - 2
    while at < end:
        (count,) = struct.unpack_from(">h", stream, at)
        at += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", stream, at)
            at += 4
            values.append(None if size < 0 else stream[at : at + size])
            at += max(size, 0)
        yield values


def _row(values: list[bytes | None]) -> Row:
    id_, at = values
    assert id_ is not None
    moment = EPOCH + timedelta(microseconds=int.from_bytes(at, "big", signed=True)) if at else None
    return int.from_bytes(id_, "big", signed=True), moment


def _utc(value: CursorValue | None) -> datetime | None:
    if value is None:
        return None
    assert isinstance(value, datetime)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
