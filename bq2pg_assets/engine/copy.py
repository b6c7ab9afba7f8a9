"""Step 6: shards into the staging table, several at once.

Belongs here: the workers, their progress, stopping all when one fails. Does not: downloading,
encoding, COPY: those are `shards`, `encode` and `postgres`, put together here.
"""

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.encode import Encoder
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import Progress, Shard, SyncPlan
from bq2pg_assets.engine.postgres import CopySink, TargetSession
from bq2pg_assets.engine.shards import GcsShards, ParquetShard

REPORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by the server's count, and `in_shards` by the shards' footers."""

    rows: int
    in_shards: int
    bytes: int
    shards: int


class Meter:
    """Adds up what the workers did and reports it, at most once a second."""

    def __init__(
        self, plan: SyncPlan, shards: Sequence[Shard], report: Callable[[Progress], None]
    ) -> None:
        self._plan, self._shards, self._report = plan, len(shards), report
        self._lock, self._last = Lock(), 0.0
        self.rows = self.bytes = self.done = self.in_shards = 0

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
    store: GcsShards,
    session: TargetSession,
    cancel: CancelToken,
    report: Callable[[Progress], None],
) -> Copied:
    """Copy every shard over at most `plan.parallelism` connections. Raises the first failure.

    When a worker fails, or the caller is interrupted, the others are stopped and waited for:
    nothing writes to the staging table after this returned.
    """
    meter = Meter(plan, shards, report)
    work: queue.SimpleQueue[Shard] = queue.SimpleQueue()
    for shard in shards:
        work.put(shard)
    stop = CancelToken()  # of the workers: set when the run is cancelled, or when one fails
    with ThreadPoolExecutor(plan.parallelism, thread_name_prefix=f"copy-{plan.table}") as pool:
        try:
            with cancel.interrupting(stop.cancel):  # also when the cancel came before
                workers = [
                    pool.submit(
                        _worker, plan, work, store=store, session=session, cancel=stop, meter=meter
                    )
                    for _ in range(min(plan.parallelism, len(shards)))
                ]
                done, _ = wait(workers, return_when=FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        except BaseException:
            stop.cancel()
            raise
    cancel.check(f"table {plan.table}")
    return Copied(meter.rows, meter.in_shards, meter.bytes, meter.done)


def _worker(
    plan: SyncPlan,
    work: "queue.SimpleQueue[Shard]",
    *,
    store: GcsShards,
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
            with store.open(shard, cancel=cancel) as parquet:
                _copy_one(plan, parquet, sink=sink, cancel=cancel, meter=meter)


def _copy_one(
    plan: SyncPlan, parquet: ParquetShard, *, sink: CopySink, cancel: CancelToken, meter: Meter
) -> None:
    encoder = Encoder(plan.columns, parquet.schema, where=f"table {plan.table}")
    batches = parquet.batches([c.source for c in plan.columns])

    def pieces() -> Iterator[bytes]:
        for piece, rows in encoder.stream(batches):
            cancel.check(parquet.shard.uri)
            yield piece
            meter.add(rows=rows)

    copied = sink.copy(pieces())
    if copied != parquet.rows:
        raise VerifyError(
            parquet.shard.uri,
            met=f"PostgreSQL took {copied} rows",
            expected=f"the {parquet.rows} of the shard",
            way_out="Run again; nothing was published.",
            retryable=True,
        )
    meter.add(size=parquet.shard.size, done=1, in_shards=parquet.rows)
