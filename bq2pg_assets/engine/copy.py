"""Step 6: shards into the staging table, several at once.

Belongs here: the workers, their progress, stopping all when one fails. Does not: reading shards,
encoding, COPY: those are `shards` and `read_api`, `encode` and `postgres`, put together here.
"""

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

import pyarrow as pa

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy_sink import CopySink
from bq2pg_assets.engine.encode import Encoder
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import RunId, Shard, StagedShard, SyncPlan
from bq2pg_assets.engine.results import Progress
from bq2pg_assets.engine.session import TargetSession

REPORT_SECONDS = 1.0


class OpenShard(Protocol):
    """A shard that is being read. Of a stream, `rows` and `size` (bytes) are known at its end."""

    shard: Shard

    @property
    def schema(self) -> pa.Schema:
        """The shard's columns."""

    @property
    def rows(self) -> int:
        """How many it holds; less while it is read."""

    @property
    def size(self) -> int:
        """How many bytes were read."""

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The named columns in small batches."""


class Store(Protocol):
    """Where the rows wait between BigQuery and PostgreSQL: a bucket, or streams to be read."""

    def prefix(self, table: str, run: RunId) -> str:
        """Where an export writes to."""

    def list(self, place: str, /) -> tuple[Shard, ...]:
        """What can be read there."""

    def open(self, shard: Shard, *, cancel: CancelToken) -> AbstractContextManager[OpenShard]:
        """Read one of them."""

    def delete(self, prefix: str, /) -> int:
        """Leave nothing behind."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by the server's count, and `in_shards` by the shards' own.

    `nul_bytes` counts, by column, the values from which U+0000 was taken.
    """

    rows: int
    in_shards: int
    bytes: int
    shards: int
    nul_bytes: Mapping[str, int] = field(default_factory=dict)


class Meter:
    """Adds up what the workers did and reports it, at most once a second."""

    def __init__(
        self,
        plan: SyncPlan,
        shards: Sequence[Shard],
        report: Callable[[Progress], None],
        *,
        staged: Sequence[StagedShard] = (),
    ) -> None:
        self._plan, self._shards, self._report = plan, len(shards), report
        self._lock, self._last = Lock(), 0.0
        self.rows = self.in_shards = sum(shard.rows for shard in staged)
        self.bytes, self.done = sum(shard.bytes for shard in staged), len(staged)
        self.nul_bytes: Counter[str] = Counter()
        for shard in staged:
            self.nul_bytes.update(shard.nul_bytes)

    def changed(self, nul_bytes: Mapping[str, int]) -> None:
        """Count the values of a shard that were changed."""
        with self._lock:
            self.nul_bytes.update(nul_bytes)

    def add(self, *, rows: int = 0, size: int = 0, done: int = 0, in_shards: int = 0) -> None:
        """Count, and tell when a second has passed or a shard is done."""
        with self._lock:
            self.rows += rows
            self.bytes += size
            self.done += done
            self.in_shards += in_shards
            now = time.monotonic()
            if not done and now - self._last < REPORT_SECONDS:
                return
            self._last = now
            progress = Progress(
                table=self._plan.table,
                phase="copy",
                rows=self.rows,
                bytes=self.bytes,
                shards_done=self.done,
                shards=self._shards,
                expected_rows=self._plan.expected_rows,
            )
        self._report(progress)


def copy_shards(
    plan: SyncPlan,
    shards: Sequence[Shard],
    *,
    store: Store,
    session: TargetSession,
    cancel: CancelToken,
    report: Callable[[Progress], None],
    staged: Sequence[StagedShard] = (),
) -> Copied:
    """Copy every shard over at most `plan.parallelism` connections. Raises the first failure.

    Those `staged` already are counted, not copied.
    When a worker fails, or the caller is interrupted, the others are stopped and waited for:
    nothing writes to the staging table after this returned.
    """
    meter = Meter(plan, shards, report, staged=staged)
    work: queue.SimpleQueue[Shard] = queue.SimpleQueue()
    there = {shard.uri for shard in staged}
    left = [shard for shard in shards if shard.uri not in there]
    for shard in left:
        work.put(shard)
    stop = CancelToken()  # of the workers: set when the run is cancelled, or when one fails
    with ThreadPoolExecutor(plan.parallelism, thread_name_prefix=f"copy-{plan.table}") as pool:
        try:
            with cancel.interrupting(stop.cancel):  # also when the cancel came before
                workers = [
                    pool.submit(
                        _worker, plan, work, store=store, session=session, cancel=stop, meter=meter
                    )
                    for _ in range(min(plan.parallelism, len(left)))
                ]
                done, _ = wait(workers, return_when=FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        except BaseException:
            stop.cancel()
            raise
    cancel.check(f"table {plan.table}")
    return Copied(meter.rows, meter.in_shards, meter.bytes, meter.done, dict(meter.nul_bytes))


def _worker(
    plan: SyncPlan,
    work: "queue.SimpleQueue[Shard]",
    *,
    store: Store,
    session: TargetSession,
    cancel: CancelToken,
    meter: Meter,
) -> None:
    """Take shards until none is left."""
    with session.copying(plan.columns, cancel=cancel) as sink:
        while True:
            try:
                shard = work.get_nowait()
            except queue.Empty:
                return
            cancel.check(shard.uri)
            with store.open(shard, cancel=cancel) as opened:
                _copy_one(plan, opened, sink=sink, cancel=cancel, meter=meter)


def _copy_one(
    plan: SyncPlan, opened: OpenShard, *, sink: CopySink, cancel: CancelToken, meter: Meter
) -> None:
    encoder = Encoder(
        plan.columns,
        opened.schema,
        where=f"table {plan.table}",
        policy=plan.nul_bytes,
        key=plan.key,
    )
    batches = opened.batches([c.source for c in plan.columns])

    def pieces() -> Iterator[bytes]:
        counted = 0
        for piece, rows in encoder.stream(batches):
            cancel.check(opened.shard.uri)
            yield piece
            meter.add(rows=rows, size=opened.size - counted)
            counted = opened.size

    shard = opened.shard
    with sink.transaction():  # a shard is staged and remembered, or neither
        copied = sink.copy(pieces())
        if copied != opened.rows:
            raise VerifyError(
                shard.uri,
                met=f"PostgreSQL took {copied} rows",
                expected=f"the {opened.rows} of the shard",
                way_out="Run again, or look at the target's BEFORE INSERT triggers, which a "
                "staging table to be swapped has as well; nothing was published.",
                retryable=True,
            )
        sink.note(
            StagedShard(shard.uri, shard.generation, copied, opened.size, dict(encoder.nul_bytes))
        )
    meter.changed(encoder.nul_bytes)
    meter.add(done=1, in_shards=opened.rows)
