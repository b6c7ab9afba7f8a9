"""Step 6: shards into the staging table, several at once.

Belongs here: the workers, stopping all when one fails, copying a part in pieces when rows of it
are refused. Does not: who copies which part (feed.py), reading, encoding, COPY: `parquet` and
`read_api`, `encode` and `postgres`, put together here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import pyarrow as pa

from bq2pg_assets.engine.bad_rows import isolate, refusal_of
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy_sink import CopySink
from bq2pg_assets.engine.encode import Encoder
from bq2pg_assets.engine.errors import MappingError, TargetError, VerifyError
from bq2pg_assets.engine.feed import Feed, OpenShard, Part, Store
from bq2pg_assets.engine.meter import Copied, Meter
from bq2pg_assets.engine.model import (
    BadRow,
    Refusal,
    Shard,
    StagedShard,
    SyncPlan,
    as_stored,
)
from bq2pg_assets.engine.results import Progress
from bq2pg_assets.engine.row_json import row_text
from bq2pg_assets.engine.session import TargetSession
from bq2pg_assets.engine.stopwatch import Stopwatch, entered, running, timed


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
    pa.set_memory_pool(_frugal_pool())
    meter = Meter(plan, shards, report, staged=staged)
    whole = {shard.uri for shard in staged if not shard.row_groups}
    groups = defaultdict[str, list[int]](list)
    for shard in staged:
        groups[shard.uri] += shard.row_groups
    stop = CancelToken()  # of the workers: set when the run is cancelled, or when one fails
    with (
        Feed(
            [shard for shard in shards if shard.uri not in whole],
            store=store,
            workers=plan.parallelism,
            piece=plan.piece_bytes,
            cancel=stop,
            staged=groups,
        ) as feed,
        ThreadPoolExecutor(plan.parallelism, thread_name_prefix=f"copy-{plan.table}") as pool,
    ):
        try:
            with cancel.interrupting(stop.cancel):  # also when the cancel came before
                workers = [
                    pool.submit(_timed, plan, feed, session=session, cancel=stop, meter=meter)
                    for _ in range(plan.parallelism)
                ]
                done, _ = wait(workers, return_when=FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        except BaseException:
            stop.cancel()
            raise
    cancel.check(f"table {plan.table}")
    return Copied(
        meter.rows,
        meter.in_shards,
        meter.bytes,
        meter.done,
        dict(meter.nul_bytes),
        dict(meter.nulls),
        tuple(meter.bad),
        meter.profile,
    )


def _timed(
    plan: SyncPlan, feed: Feed, *, session: TargetSession, cancel: CancelToken, meter: Meter
) -> None:
    with running(Stopwatch()) as watch:
        if _worker(plan, feed, session=session, cancel=cancel, meter=meter):
            meter.worked(watch.read())


def _frugal_pool() -> pa.MemoryPool:
    """Arrow's default keeps 40 MB more of what was freed than jemalloc, which some builds lack."""
    if "jemalloc" in pa.supported_memory_backends():
        return pa.jemalloc_memory_pool()
    return pa.system_memory_pool()


def _worker(
    plan: SyncPlan, feed: Feed, *, session: TargetSession, cancel: CancelToken, meter: Meter
) -> bool:
    """Take parts until none is left. Returns whether there was any."""
    parts = timed("download", iter(feed.take, None))
    part = next(parts, None)
    if part is None:
        return False
    with entered("connect", session.copying(plan.columns, cancel=cancel)) as sink:
        while part is not None:
            cancel.check(part.shard.uri)
            with part.open() as opened:
                whole = _copy_one(plan, part, opened, sink=sink, cancel=cancel, meter=meter)
            if not whole:
                with part.open() as opened:
                    _copy_good_rows(plan, part, opened, sink=sink, cancel=cancel, meter=meter)
            if feed.done(part):
                meter.add(done=1)
            part = next(parts, None)
    return True


def _copy_one(
    plan: SyncPlan,
    part: Part,
    opened: OpenShard,
    *,
    sink: CopySink,
    cancel: CancelToken,
    meter: Meter,
) -> bool:
    """Copy a shard in one COPY. False when a row is refused and the table quarantines such rows."""
    encoder = _encoder(plan, opened)
    batches = timed("decode", opened.batches([c.source for c in plan.columns]))
    counted = Counter[str]()

    def pieces() -> Iterator[bytes]:
        for piece, rows in timed("encode", encoder.stream(batches)):
            cancel.check(opened.shard.uri)
            yield piece
            counted["rows"] += rows
            size = opened.size * counted["rows"] // max(opened.rows, 1) - counted["size"]
            meter.add(rows=rows, size=size)
            counted["size"] += size
        meter.add(size=opened.size - counted["size"])  # of a part without rows
        counted["size"] = opened.size

    try:
        with sink.transaction():  # a shard is staged and remembered, or neither
            copied = sink.copy(pieces())
            staged = _staged(part, opened, copied, nul_bytes=encoder.nul_bytes, nulls=encoder.nulls)
            sink.note(staged)
    except (TargetError, MappingError) as error:
        if plan.max_bad_rows is None or refusal_of(error) is None:
            raise
        meter.add(rows=-counted["rows"], size=-counted["size"])
        return False
    meter.staged(staged)
    meter.add(in_shards=opened.rows)
    return True


def _copy_good_rows(
    plan: SyncPlan,
    part: Part,
    opened: OpenShard,
    *,
    sink: CopySink,
    cancel: CancelToken,
    meter: Meter,
) -> None:
    """Copy a shard in pieces, each a COPY of its own, cut down to the single rows refused."""
    size = copied = 0
    bad: list[BadRow] = []
    nul_bytes, nulls = Counter[str](), Counter[str]()

    def take(piece: pa.RecordBatch) -> Refusal | None:
        nonlocal copied
        cancel.check(opened.shard.uri)
        encoder = _encoder(plan, opened)
        try:
            with sink.transaction():
                took = sink.copy(data for data, _ in timed("encode", encoder.stream(iter([piece]))))
        except (TargetError, MappingError) as error:
            if (refusal := refusal_of(error)) is None:
                raise
            return refusal
        copied += took
        nul_bytes.update(encoder.nul_bytes)
        nulls.update(encoder.nulls)
        meter.add(rows=took)
        return None

    _encoder(plan, opened)  # columns that do not fit are no fault of a row
    with sink.transaction():  # with the bad rows, for the run that may have to go on
        for batch in timed("decode", opened.batches([c.source for c in plan.columns])):
            for row, refusal in isolate(batch, take=take, halves=_halves):
                bad.append(_bad_row(plan, row, refusal))
                meter.refused(bad[-1])
            meter.add(size=opened.size - size)
            size = opened.size
        staged = _staged(part, opened, copied, nul_bytes=nul_bytes, nulls=nulls, bad=bad)
        sink.note(staged)
    meter.staged(staged)
    meter.add(in_shards=opened.rows)


def _encoder(plan: SyncPlan, opened: OpenShard) -> Encoder:
    where = f"table {plan.table}"
    return Encoder(plan.columns, opened.schema, where=where, policy=plan.nul_bytes, key=plan.key)


def _halves(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch] | None:
    """Each with nothing but its own rows in its buffers; None of a single row."""
    middle = batch.num_rows // 2
    if not middle:
        return None
    low, high = batch.slice(0, middle), batch.slice(middle)
    return (
        pa.ipc.read_record_batch(low.serialize(), batch.schema),
        pa.ipc.read_record_batch(high.serialize(), batch.schema),
    )


def _bad_row(plan: SyncPlan, row: pa.RecordBatch, refusal: Refusal) -> BadRow:
    cursor = row.column(plan.cursor.column)[0].as_py() if plan.cursor is not None else None
    return BadRow(
        row_text(plan.columns, row),
        refusal,
        cursor=as_stored(cursor),
        key=row_text([c for c in plan.columns if c.name in plan.key], row),
    )


def _staged(
    part: Part,
    opened: OpenShard,
    copied: int,
    *,
    nul_bytes: Mapping[str, int],
    nulls: Mapping[str, int],
    bad: Sequence[BadRow] = (),
) -> StagedShard:
    """What is to be remembered of the part. Raises VerifyError when rows of it are missing."""
    shard = opened.shard
    if copied + len(bad) != opened.rows:
        refused = f" and refused {len(bad)}" if bad else ""
        raise VerifyError(
            shard.uri,
            met=f"PostgreSQL took {copied} rows{refused}",
            expected=f"the {opened.rows} of the shard",
            way_out="Run again, or look at the target's BEFORE INSERT triggers, which a "
            "staging table to be swapped has as well; nothing was published.",
            retryable=True,
        )
    return StagedShard(
        shard.uri,
        shard.generation,
        copied,
        opened.size,
        dict(nul_bytes),
        dict(nulls),
        bad=tuple(bad),
        row_groups=part.row_groups,
    )
