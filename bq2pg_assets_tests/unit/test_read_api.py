"""Reading streams on a client in memory: what is asked for, what comes, what a break does.

Google's own reader is real; only the connection below it is a fake. Guards that memory stays
bounded by small batches, that a broken stream goes on at its row, and that no half of a stream is
taken for the whole.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from google.api_core import exceptions as api
from google.cloud.bigquery_storage_v1 import types
from google.cloud.bigquery_storage_v1.reader import ReadRowsStream

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, SourceError
from bq2pg_assets.engine.model import Cursor, Export, ExportWay, RunId, Shard, SyncPlan, Window
from bq2pg_assets.engine.read_api import BATCH_ROWS, ReadStreams
from bq2pg_assets_tests.fakes import FakeSource
from bq2pg_assets_tests.unit.plans import a_plan
from bq2pg_assets_tests.unit.world import NEW, OLD, World

SCHEMA = pa.schema([("id", pa.int64()), ("l", pa.list_(pa.string()))])
ROWS = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))])
TABLE = "projects/p/datasets/d/tables/t"
AT = datetime(2024, 1, 2, tzinfo=UTC)


def batch_of(start: int, rows: int) -> pa.RecordBatch:
    ids = range(start, start + rows)
    return pa.RecordBatch.from_pydict(
        {"id": list(ids), "l": [[str(n)] * (n % 3) for n in ids]}, schema=SCHEMA
    )


def message(batch: pa.RecordBatch, *, says: int | None = None) -> types.ReadRowsResponse:
    return types.ReadRowsResponse(
        row_count=batch.num_rows if says is None else says,
        arrow_record_batch={"serialized_record_batch": batch.serialize().to_pybytes()},
    )


class Transport:
    closed = False

    def close(self) -> None:
        self.closed = True


class FakeClient:
    """One stream. Each connection yields its list, in which an exception is raised."""

    def __init__(
        self, *connections: list[Any], streams: int = 1, schema: pa.Schema = SCHEMA
    ) -> None:
        self.connections, self.streams, self.schema = list(connections), streams, schema
        self.asked: dict[str, Any] = {}
        self.offsets: list[int] = []
        self.transport = Transport()

    def create_read_session(self, **asked: Any) -> types.ReadSession:
        self.asked = asked
        schema = types.ArrowSchema(serialized_schema=self.schema.serialize().to_pybytes())
        names = [types.ReadStream(name=f"s/{n}") for n in range(self.streams)]
        return types.ReadSession(name="s", arrow_schema=schema, streams=names)

    def read_rows(self, name: str, *, retry: Any) -> ReadRowsStream:
        return ReadRowsStream(Connections(self), name, 0, {})


class Connections:
    """What Google's reader connects with."""

    def __init__(self, client: FakeClient) -> None:
        self._client = client

    def read_rows(self, *, read_stream: str, offset: int) -> Iterator[Any]:
        self._client.offsets.append(offset)
        for item in self._client.connections.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item


def streams_of(client: FakeClient, plan: SyncPlan | None = None) -> ReadStreams:
    plan = plan or a_plan(way=ExportWay.READ_API, direct=True)
    return ReadStreams(lambda: client, plan, project="payer")  # type: ignore[arg-type,return-value]


def read(client: FakeClient, cancel: CancelToken | None = None) -> list[pa.RecordBatch]:
    streams = streams_of(client)
    [shard] = streams.list(TABLE)
    with streams.read(shard, cancel=cancel or CancelToken()) as opened:
        batches = list(opened.batches(["id", "l"]))
        assert opened.rows == sum(batch.num_rows for batch in batches)
    return batches


def test_a_direct_session_asks_for_the_plans_columns_and_rows_as_of_the_probe() -> None:
    client = FakeClient(streams=2)
    cursor = Cursor("at", "TIMESTAMP", AT)
    plan = a_plan(
        way=ExportWay.READ_API,
        direct=True,
        cursor=cursor,
        window=Window(AT, AT.replace(day=3)),
        where="id > 1 -- and no more",
        snapshot_at=AT.replace(day=4),
        parallelism=3,
    )
    assert streams_of(client, plan).list(TABLE) == (Shard("s/0", 0, 0), Shard("s/1", 0, 0))
    session = client.asked["read_session"]
    assert (client.asked["parent"], session.table) == ("projects/payer", TABLE)
    assert client.asked["max_stream_count"] == 12
    assert list(session.read_options.selected_fields) == ["id", "at"]
    assert session.read_options.row_restriction == (
        "`at` > TIMESTAMP '2024-01-02 00:00:00.000000+00' AND "
        "`at` <= TIMESTAMP '2024-01-03 00:00:00.000000+00' AND (\nid > 1 -- and no more\n)"
    )
    assert session.table_modifiers.snapshot_time == AT.replace(day=4)


def test_the_result_of_a_query_is_read_whole() -> None:
    client = FakeClient()
    plan = a_plan(way=ExportWay.READ_API, where="id > 1", limit=3, snapshot_at=AT)
    streams_of(client, plan).list(TABLE)
    session = client.asked["read_session"]
    assert not session.read_options.selected_fields
    assert not session.read_options.row_restriction
    assert "snapshot_time" not in session.table_modifiers


def test_an_empty_table_has_no_streams() -> None:
    assert streams_of(FakeClient(streams=0)).list(TABLE) == ()


def test_a_large_message_is_cut_into_small_batches_that_hold_their_own_rows_only() -> None:
    whole = batch_of(0, 2 * BATCH_ROWS + 5)
    batches = read(FakeClient([message(whole)]))
    assert [b.num_rows for b in batches] == [BATCH_ROWS, BATCH_ROWS, 5]
    assert pa.Table.from_batches(batches).to_pylist() == whole.to_pylist()
    assert [b.column("l").offsets[0].as_py() for b in batches] == [0, 0, 0]
    assert batches[-1].nbytes < whole.nbytes / 1000


@pytest.mark.parametrize(
    "error",
    [
        api.ServiceUnavailable("gone"),
        api.InternalServerError("Received RST_STREAM with error code 2"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_broken_stream_goes_on_at_the_row_it_had_come_to(error: Exception) -> None:
    client = FakeClient([message(batch_of(0, 3)), error], [message(batch_of(3, 2))])
    batches = read(client)
    assert client.offsets == [0, 3]
    assert pa.Table.from_batches(batches)["id"].to_pylist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("error", "reason", "way_out", "retryable"),
    [
        (
            api.FailedPrecondition("session expired at 2026-01-01T00:00:00Z"),
            "invalid",
            "six hours",
            True,
        ),
        (
            api.PermissionDenied("User lacks bigquery.readsessions.getData on project p"),
            "accessDenied",
            "roles/bigquery.readSessionUser",
            False,
        ),
        (
            api.PermissionDenied("BigQuery Storage API has not been used in project 1 before"),
            "accessDenied",
            "Enable the BigQuery Storage API",
            False,
        ),
        (api.DeadlineExceeded("too long"), "backendError", "run again", True),
    ],
)
def test_what_google_says_of_a_stream_becomes_our_error(
    error: Exception, reason: str, way_out: str, retryable: bool
) -> None:
    with pytest.raises(SourceError) as stopped:
        read(FakeClient([message(batch_of(0, 3)), error]))
    assert (stopped.value.reason, stopped.value.retryable) == (reason, retryable)
    assert way_out in stopped.value.way_out
    assert stopped.value.where == "s/0"


@pytest.mark.parametrize(
    ("torn", "met"),
    [
        (message(batch_of(0, 3), says=4), "a message of 3 rows that says 4"),
        (
            types.ReadRowsResponse(
                row_count=3, arrow_record_batch={"serialized_record_batch": b"torn"}
            ),
            "a message that is no Arrow batch of the session's columns",
        ),
    ],
    ids=["rows", "bytes"],
)
def test_a_message_that_does_not_hold_its_rows_is_refused(
    torn: types.ReadRowsResponse, met: str
) -> None:
    with pytest.raises(SourceError) as stopped:
        read(FakeClient([torn]))
    assert stopped.value.met == met
    assert stopped.value.retryable


def test_a_stream_that_a_cancel_hung_up_is_not_taken_for_a_whole_one() -> None:
    token = CancelToken()

    class Cancelling(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield message(batch_of(0, 3))
            token.cancel()
            yield message(batch_of(3, 3))

    with pytest.raises(CancelledError):
        read(FakeClient(Cancelling()), token)


def test_a_cancel_before_a_stream_opens_none() -> None:
    client, token = FakeClient([]), CancelToken()
    streams = streams_of(client)
    [shard] = streams.list(TABLE)
    token.cancel()
    with pytest.raises(CancelledError), streams.read(shard, cancel=token):
        pytest.fail("the stream was opened")
    assert client.offsets == []


def test_cleaning_closes_the_connection_and_deletes_nothing() -> None:
    client = FakeClient()
    streams = streams_of(client)
    prefix = streams.prefix("t", None)  # type: ignore[arg-type]
    assert streams.delete(prefix) == 0
    assert not client.transport.closed, "none was made yet"
    streams.list(TABLE)
    streams.delete(prefix)
    assert client.transport.closed


@pytest.mark.parametrize("way", ["auto", "extract", "export_data", "read_api"])
def test_the_configuration_knows_every_way(way: str) -> None:
    table = TableConfig.model_validate({"name": "t", "source": "d.t", "export": way})
    assert way == "auto" or ExportWay(table.export)


class StreamedSource(FakeSource):
    """A table that the Read API reads directly; its rows come in one stream."""

    client = SimpleNamespace(project="payer")

    def read_client(self) -> FakeClient:
        self.journal("read.connect")
        content = {"id": [id_ for id_, _ in self.rows], "at": [at for _, at in self.rows]}
        rows = pa.RecordBatch.from_pydict(content, schema=ROWS)
        return FakeClient([message(rows)], schema=ROWS)

    def export(self, plan: SyncPlan, *, prefix: str, run: RunId, cancel: CancelToken) -> Export:
        assert prefix == ""
        self.journal("source.export")
        return Export(None, TABLE, None, 0, 0)


def streamed_world() -> World:
    world = World(loaded=False, mode="replace", export="read_api")
    world.source = StreamedSource(world.journal, world.shards, OLD + NEW)
    return world


def test_the_steps_of_a_direct_read_touch_no_bucket_and_start_no_job() -> None:
    world = streamed_world()
    result = world.sync()
    assert (result.way, result.rows, result.job_id) == (ExportWay.READ_API, 6, None)
    assert (result.prefix, result.bytes_billed) == (None, 0)
    steps = [call for call in world.journal.calls if not call.startswith("sink.piece")]
    begin = steps.index("source.export")
    assert steps[begin : begin + 6] == [
        *["source.export", "read.connect", "session.create_stage", "session.copying"],
        *["sink.copied", "source.unchanged_rows"],
    ]
    assert not [call for call in steps if call.startswith("shards.")]
    assert world.target.live == OLD + NEW
    world.assert_clean()


@pytest.mark.parametrize("step", ["read.connect", "session.copying", "sink.copied"])
def test_a_failed_read_leaves_nothing_and_the_next_run_completes_it(step: str) -> None:
    world = streamed_world()
    world.journal.fail_at(step, RuntimeError("first"))
    with pytest.raises(RuntimeError, match="first"):
        world.sync()
    assert world.target.live is None
    world.assert_clean()
    world.journal.forget()
    assert world.sync().rows == 6
