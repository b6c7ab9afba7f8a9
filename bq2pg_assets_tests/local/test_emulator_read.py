"""The stand-in's Storage Read API is as strict as the service's: what it refuses, what it sends."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import InvalidArgument, NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types

from bq2pg_assets.clients import read_client
from bq2pg_assets.settings import Settings


@pytest.fixture
def reader(stack_variables: dict[str, str]) -> Iterator[BigQueryReadClient]:
    address = stack_variables["BIGQUERY_STORAGE_EMULATOR_HOST"]
    client = read_client(Settings.model_construct(bigquery_storage_emulator_host=address))
    yield client
    client.transport.close()


def opened(
    reader: BigQueryReadClient, table: str, *, as_of: datetime | None = None, **options: Any
) -> types.ReadSession:
    wanted = types.ReadSession(
        table=table,
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(**options),
    )
    if as_of is not None:
        wanted.table_modifiers = types.ReadSession.TableModifiers(snapshot_time=as_of)
    return reader.create_read_session(parent="projects/p", read_session=wanted)


def rows(reader: BigQueryReadClient, session: types.ReadSession) -> int:
    return sum(m.row_count for s in session.streams for m in reader.read_rows(s.name))


def test_what_the_service_refuses_is_refused(
    reader: BigQueryReadClient, bigquery_client: bigquery.Client, dataset: str
) -> None:
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.t AS SELECT 1 AS x")
    bigquery_client.query_and_wait(f"CREATE VIEW {dataset}.v AS SELECT x FROM {dataset}.t")
    path = f"projects/{bigquery_client.project}/datasets/{dataset}/tables/"
    with pytest.raises(InvalidArgument, match="VIEW cannot be read"):
        opened(reader, f"{path}v")
    with pytest.raises(NotFound):
        opened(reader, f"{path}none")
    with pytest.raises(InvalidArgument, match="selected fields do not exist: y"):
        opened(reader, f"{path}t", selected_fields=["x", "y"])
    with pytest.raises(InvalidArgument, match="row restriction is a query"):
        opened(reader, f"{path}t", row_restriction="x IN (SELECT 1)")


def test_a_session_reads_as_of_its_beginning_or_the_moment_asked_for(
    reader: BigQueryReadClient, bigquery_client: bigquery.Client, dataset: str
) -> None:
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.t AS SELECT 1 AS x")
    table = f"projects/{bigquery_client.project}/datasets/{dataset}/tables/t"
    before, session = datetime.now(UTC), opened(reader, table)
    bigquery_client.query_and_wait(f"INSERT INTO {dataset}.t VALUES (2)")
    assert rows(reader, session) == 1
    assert rows(reader, opened(reader, table)) == 2
    assert rows(reader, opened(reader, table, as_of=before)) == 1


def test_the_arrow_types_are_the_services(
    reader: BigQueryReadClient, bigquery_client: bigquery.Client, dataset: str
) -> None:
    bigquery_client.query_and_wait(
        f"CREATE TABLE {dataset}.t AS SELECT [1] AS a, BIGNUMERIC '1.5' AS b, NUMERIC '1.5' AS n, "
        "TIMESTAMP '2024-01-01 00:00:00+00' AS ts, JSON '1' AS j, STRUCT(1 AS i) AS s"
    )
    table = f"projects/{bigquery_client.project}/datasets/{dataset}/tables/t"
    schema = pa.ipc.read_schema(pa.py_buffer(opened(reader, table).arrow_schema.serialized_schema))
    assert schema.field("a").type == pa.list_(pa.int64())
    assert schema.field("b").type == pa.decimal256(76, 38)
    assert schema.field("n").type == pa.decimal128(38, 9)
    assert schema.field("ts").type == pa.timestamp("us", tz="UTC")
    assert schema.field("j").type == pa.string()
    assert schema.field("s").type == pa.struct([("i", pa.int64())])
