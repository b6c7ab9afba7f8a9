"""BigQuery's Storage Read API: rows as Arrow streams, without a bucket in between.

Belongs here: a read session, its streams, their batches. Does not: deciding for it (plan.py), the
query whose result is read (bigquery.py), encoding.

Google's library for it is an extra, so nothing of it is imported before a session is opened.
Sources: bigquery-facts section 4; the docstrings of google-cloud-bigquery-storage 2.43.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type

from bq2pg_assets.engine import export_sql
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import SourceError
from bq2pg_assets.engine.google_errors import bigquery_errors, without_values
from bq2pg_assets.engine.model import RunId, Shard, SyncPlan
from bq2pg_assets.engine.stopwatch import spent_on

if TYPE_CHECKING:
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

BATCH_ROWS = 8_192  # as the batches of a Parquet shard
STREAMS_PER_WORKER = 4  # so that workers end together although streams are uneven
REQUEST_SECONDS = 60.0
# The library's own patience is ten minutes for a session and a day for a stream.
RETRY = Retry(
    predicate=if_exception_type(DeadlineExceeded, ServiceUnavailable),
    initial=0.1,
    maximum=5.0,
    timeout=120.0,
)


class ReadStreams:
    """The streams of one plan's read session, opened over the client that `connect` makes.

    `project` pays for the session. It ends by itself after six hours and cannot be deleted.
    """

    ahead = 0

    def __init__(
        self, connect: Callable[[], "BigQueryReadClient"], plan: SyncPlan, *, project: str
    ) -> None:
        self._connect, self._plan, self._project = connect, plan, project
        self._client: BigQueryReadClient | None = None
        self._schema = pa.schema([])

    def prefix(self, table: str, run: RunId) -> str:
        """None: nothing is written anywhere."""
        return ""

    def list(self, table: str) -> tuple[Shard, ...]:
        """Open a session on the table of path `table`; none of an empty table.

        The sizes are not known before the streams are read. Raises SourceError or ConfigError.
        """
        from google.cloud.bigquery_storage_v1 import types

        self._client = self._connect()
        wanted = types.ReadSession(
            table=table, data_format=types.DataFormat.ARROW, read_options=_options(self._plan)
        )
        if self._plan.direct and self._plan.snapshot_at is not None:
            wanted.table_modifiers = types.ReadSession.TableModifiers(
                snapshot_time=self._plan.snapshot_at
            )
        session = without_values(lambda: self._session(wanted), hides=self._plan.hides)
        self._schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        return tuple(Shard(stream.name, 0, 0) for stream in session.streams)

    def _session(self, wanted: Any) -> Any:
        assert self._client is not None
        with bigquery_errors(f"table {self._plan.table}, read session"):
            return self._client.create_read_session(
                parent=f"projects/{self._project}",
                read_session=wanted,
                max_stream_count=self._plan.parallelism * STREAMS_PER_WORKER,
                retry=RETRY,
                timeout=REQUEST_SECONDS,
            )

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> "Stream":
        """Nothing yet: a stream is read when a worker asks for it. BigQuery cuts the pieces."""
        cancel.check(shard.uri)
        return Stream(self, shard, cancel)

    @contextmanager
    def read(self, shard: Shard, *, cancel: CancelToken) -> Iterator["StreamShard"]:
        """Begin to read a stream; hang up when the block ends, or `cancel` comes.

        Google's reader goes on at the row it had come to when a connection breaks. Raises
        SourceError, also while the batches are read.
        """
        assert self._client is not None
        cancel.check(shard.uri)
        with bigquery_errors(shard.uri):
            stream = self._client.read_rows(shard.uri, retry=RETRY)
        try:
            with cancel.interrupting(stream.cancel):
                yield StreamShard(
                    shard, stream, schema=self._schema, cancel=cancel, hides=self._plan.hides
                )
        finally:
            stream.cancel()

    def delete(self, prefix: str) -> int:
        """Close the connection. There is nothing to delete: a query's result expires."""
        if self._client is not None:
            self._client.transport.close()
        return 0


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of the session, its only part."""

    streams: ReadStreams
    shard: Shard
    cancel: CancelToken
    row_groups: tuple[int, ...] = ()

    def parts(self, wanted: int, *, staged: Sequence[int] = ()) -> "list[Stream]":
        """Itself: a stream cannot be cut."""
        return [self]

    def open(self) -> AbstractContextManager["StreamShard"]:
        """Read it from its beginning."""
        return self.streams.read(self.shard, cancel=self.cancel)

    def close(self) -> None:
        """Nothing is kept."""


class StreamShard:
    """One stream that is being read. `rows` and `size` (bytes) count what has come so far."""

    def __init__(
        self, shard: Shard, stream: Any, *, schema: pa.Schema, cancel: CancelToken, hides: bool
    ):
        self.shard, self.schema = shard, schema
        self.rows = self.size = 0
        self._messages, self._cancel, self._hides = iter(stream), cancel, hides

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows in small batches; all of the session's columns, which are the plan's.

        Raises CancelledError: a stream that was hung up ends as if it were at its end.
        """
        while (message := without_values(self._next, hides=self._hides)) is not None:
            sent = message.arrow_record_batch.serialized_record_batch
            batch = _decoded(sent, self.schema, shard=self.shard, rows=message.row_count)
            self.rows += batch.num_rows
            self.size += len(sent)
            yield from _cut(batch)
        self._cancel.check(self.shard.uri)

    def _next(self) -> Any:
        with bigquery_errors(self.shard.uri), spent_on("download"):
            return next(self._messages, None)


def _options(plan: SyncPlan) -> Any:
    """What of the table is sent. A query's result is the selection already.

    LZ4 inside the Arrow batches, as google-cloud-bigquery asks for its own downloads.
    """
    from google.cloud.bigquery_storage_v1 import types

    lz4 = types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
    options = types.ReadSession.TableReadOptions(
        arrow_serialization_options=types.ArrowSerializationOptions(buffer_compression=lz4)
    )
    if plan.direct:
        options.selected_fields = [c.source for c in plan.columns]
        options.row_restriction = export_sql.row_restriction(plan)
    return options


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Pieces of at most BATCH_ROWS rows, each with nothing but its own rows in its buffers."""
    if batch.num_rows <= BATCH_ROWS:
        yield batch
        return
    for start in range(0, batch.num_rows, BATCH_ROWS):
        piece = batch.slice(start, BATCH_ROWS)
        yield pa.ipc.read_record_batch(piece.serialize(), batch.schema)


def _decoded(sent: bytes, schema: pa.Schema, *, shard: Shard, rows: int) -> pa.RecordBatch:
    """The message's batch. Raises SourceError when it does not hold the rows that it says."""
    try:
        batch = pa.ipc.read_record_batch(pa.py_buffer(sent), schema)
        met = f"a message of {batch.num_rows} rows that says {rows}"
    except (pa.ArrowInvalid, OSError):
        batch, met = None, "a message that is no Arrow batch of the session's columns"
    if batch is None or batch.num_rows != rows:
        raise SourceError(
            shard.uri,
            met=met,
            expected="Arrow as BigQuery sends it",
            way_out="Run again; nothing was published.",
            retryable=True,
        )
    return batch
