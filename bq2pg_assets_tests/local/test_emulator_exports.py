"""The BigQuery stand-in is as strict as the service in what it exports.

Belongs here: the layout of Parquet files and what is refused. Does not belong here: how jobs run
(`test_emulator_jobs.py`).
"""

import io
import uuid
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery, storage

# As printed for `classifiers` of a genuine export of bigquery-public-data.pypi.
GENUINE_LIST = """\
  required group field_id=-1 classifiers (List) {
    repeated group field_id=-1 list {
      required binary field_id=-1 element (String);
    }
  }
"""
NAIVE = "Timestamp(isAdjustedToUTC=false, timeUnit=microseconds"
VALUES = """
    SELECT 1 AS id, TIMESTAMP '2024-01-02 03:04:05.678901+00' AS ts,
      DATETIME '2024-01-02 03:04:05.678901' AS dt, TIME '03:04:05.678901' AS ti,
      ['a', 'b'] AS classifiers, [TIMESTAMP '2024-01-02 00:00:00+00'] AS ts_list,
      STRUCT(TIMESTAMP '2024-01-02 00:00:00+00' AS ts, [1, 2] AS numbers) AS nested,
      NUMERIC '1.5' AS n, BIGNUMERIC '1.000000000000000001' AS bn, b'\\x00\\xff' AS raw
"""


def export(
    client: bigquery.Client, bucket: storage.Bucket, select: str, *, options: str = ""
) -> list[pq.ParquetFile]:
    """Run EXPORT DATA under a fresh prefix and open what it wrote."""
    prefix = uuid.uuid4().hex
    client.query_and_wait(
        f"EXPORT DATA OPTIONS(uri='gs://{bucket.name}/{prefix}/x-*.parquet', format='PARQUET'"
        f"{options}) AS {select}"
    )
    return opened(bucket, prefix)


def opened(bucket: storage.Bucket, prefix: str) -> list[pq.ParquetFile]:
    return [
        pq.ParquetFile(io.BytesIO(blob.download_as_bytes()))
        for blob in bucket.list_blobs(prefix=prefix)
    ]


def extract(client: bigquery.Client, bucket: storage.Bucket, table: str) -> list[pq.ParquetFile]:
    prefix = uuid.uuid4().hex
    config = bigquery.ExtractJobConfig(destination_format="PARQUET", compression="ZSTD")
    uri = f"gs://{bucket.name}/{prefix}/x-*.parquet"
    client.extract_table(table, uri, job_config=config).result()
    return opened(bucket, prefix)


@pytest.fixture
def table(bigquery_client: bigquery.Client, dataset: str) -> str:
    """A table with a row of VALUES and a row of NULLs."""
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.t AS {VALUES}")
    bigquery_client.query_and_wait(f"INSERT INTO {dataset}.t (id) VALUES (2)")
    return f"{dataset}.t"


@pytest.mark.parametrize("way", ["extract", "export data"])
def test_timestamp_and_datetime_look_the_same_at_every_depth(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, table: str, way: str
) -> None:
    if way == "extract":
        [file] = extract(bigquery_client, bucket, table)
    else:
        [file] = export(bigquery_client, bucket, f"SELECT * FROM {table}")
    lines = str(file.schema).splitlines()
    for name in ("ts", "dt"):
        assert any(f" {name} ({NAIVE}" in line for line in lines)
    elements = [line for line in lines if f" element ({NAIVE}" in line]
    assert len(elements) == 1
    assert sum(f" ts ({NAIVE}" in line for line in lines) == 2
    assert " ti (Time(isAdjustedToUTC=true, timeUnit=microseconds" in str(file.schema)
    first = min(file.read().to_pylist(), key=lambda row: row["id"])
    assert first["ts"].isoformat() == "2024-01-02T03:04:05.678901"
    assert first["nested"]["numbers"] == [1, 2]


def test_lists_are_laid_out_as_in_a_genuine_export(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, table: str
) -> None:
    [file] = extract(bigquery_client, bucket, table)
    assert GENUINE_LIST in str(file.schema)
    assert file.metadata.format_version == "1.0"
    assert file.metadata.metadata is None  # no Arrow schema, as in the genuine file


def test_a_null_array_comes_back_empty_and_a_null_struct_stays_null(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, table: str
) -> None:
    [file] = export(bigquery_client, bucket, f"SELECT * FROM {table} WHERE id = 2")
    [row] = file.read().to_pylist()
    assert row["classifiers"] == []
    assert row["nested"] is None
    assert row["ts"] is None


def test_decimals_keep_every_digit(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, dataset: str, table: str
) -> None:
    [file] = export(bigquery_client, bucket, f"SELECT n, bn FROM {table} WHERE id = 1")
    assert [str(field.type) for field in file.schema_arrow] == [
        "decimal128(38, 9)",
        "decimal256(76, 38)",
    ]
    assert file.read().to_pylist()[0]["bn"] == Decimal("1.000000000000000001")
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.p (n NUMERIC(10, 2))")
    [declared] = extract(bigquery_client, bucket, f"{dataset}.p")
    assert str(declared.schema_arrow.field("n").type) == "decimal128(10, 2)"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("JSON '1'", "JSON"),
        ("[JSON '1']", "JSON"),
        ("STRUCT(JSON '1' AS j)", "JSON"),
        ("INTERVAL 1 DAY", "INTERVAL"),
        ("RANGE(DATE '2020-01-01', DATE '2020-01-02')", "RANGE"),
    ],
)
def test_types_that_parquet_exports_refuse(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, value: str, named: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        export(bigquery_client, bucket, f"SELECT {value} AS x")
    assert f"Type {named} is not currently supported for parquet exports." in str(refused.value)
    assert list(bucket.list_blobs()) == []


def test_an_extract_job_refuses_a_json_column_too(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, dataset: str
) -> None:
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.j (x JSON)")
    with pytest.raises(BadRequest) as refused:
        extract(bigquery_client, bucket, f"{dataset}.j")
    assert "Type JSON is not currently supported for parquet exports." in str(refused.value)


def test_export_data_refuses_a_destination_that_is_not_empty(
    bigquery_client: bigquery.Client, bucket: storage.Bucket
) -> None:
    statement = (
        f"EXPORT DATA OPTIONS(uri='gs://{bucket.name}/p/x-*.parquet', format='PARQUET'%s) "
        f"AS SELECT 1 AS x"
    )
    bigquery_client.query_and_wait(statement % "")
    with pytest.raises(BadRequest) as refused:
        bigquery_client.query_and_wait(statement % "")
    assert "not empty" in str(refused.value)
    bigquery_client.query_and_wait(statement % ", overwrite=true")
    assert len(list(bucket.list_blobs())) == 1


def test_extract_of_a_view_is_refused_in_the_service_words(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, dataset: str
) -> None:
    bigquery_client.query_and_wait(f"CREATE VIEW {dataset}.v AS SELECT 1 AS x")
    with pytest.raises(BadRequest) as refused:
        extract(bigquery_client, bucket, f"{dataset}.v")
    assert "is currently a VIEW" in str(refused.value)


def test_a_missing_bucket_is_not_found(bigquery_client: bigquery.Client) -> None:
    with pytest.raises(NotFound) as refused:
        bigquery_client.query_and_wait(
            "EXPORT DATA OPTIONS(uri='gs://no-such-bucket/x-*', format='PARQUET') AS SELECT 1 AS x"
        )
    assert "Not found: Bucket no-such-bucket" in str(refused.value)
