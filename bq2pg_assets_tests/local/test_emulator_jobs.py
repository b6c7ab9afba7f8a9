"""The BigQuery stand-in is as strict as the service in how jobs run, end and are found.

Belongs here: job ids, locations, cancellation, cost limits. Does not belong here: the content of
exports (`test_emulator_exports.py`).
"""

import contextlib
import time
import uuid

import pytest
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets.local.stack import StackState
from bq2pg_assets_tests.conftest import bigquery_client_of


@pytest.fixture
def european(bigquery_client: bigquery.Client, dataset: str) -> str:
    """A table in a dataset of location EU."""
    name = f"{bigquery_client.project}.{dataset}_eu"
    wanted = bigquery.Dataset(name)
    wanted.location = "EU"
    bigquery_client.create_dataset(wanted)
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}_eu.t AS SELECT 1 AS x")
    return f"{dataset}_eu.t"


def test_a_job_in_another_location_does_not_find_the_dataset(
    bigquery_client: bigquery.Client, bucket: storage.Bucket, european: str
) -> None:
    assert bigquery_client.get_table(european).location == "EU"
    with pytest.raises(NotFound) as refused:
        bigquery_client.query(f"SELECT * FROM {european}", location="US", job_retry=None).result()
    assert "was not found in location US" in str(refused.value)
    config = bigquery.ExtractJobConfig(destination_format="PARQUET")
    uri = f"gs://{bucket.name}/x-*.parquet"
    with pytest.raises(NotFound) as refused:
        bigquery_client.extract_table(european, uri, location="US", job_config=config).result()
    assert "was not found in location US" in str(refused.value)


def test_a_job_without_a_location_runs_where_the_data_is(
    bigquery_client: bigquery.Client, european: str
) -> None:
    job = bigquery_client.query(f"SELECT * FROM {european}")
    assert [row.x for row in job.result()] == [1]
    assert job.location == "EU"
    with pytest.raises(NotFound):
        bigquery_client.get_job(job.job_id, location="US")


def test_a_job_id_can_be_used_once(bigquery_client: bigquery.Client) -> None:
    job_id = f"once-{uuid.uuid4().hex}"
    bigquery_client.query("SELECT 1 AS x", job_id=job_id, job_retry=None).result()
    with pytest.raises(Conflict):
        bigquery_client.query("SELECT 1 AS x", job_id=job_id, job_retry=None)
    assert bigquery_client.get_job(job_id).state == "DONE"


def test_the_limit_of_bytes_billed_is_kept(bigquery_client: bigquery.Client, dataset: str) -> None:
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.t AS SELECT 1 AS x")
    dry = bigquery.QueryJobConfig(dry_run=True)
    sql = f"SELECT * FROM {dataset}.t"
    assert bigquery_client.query(sql, job_config=dry).total_bytes_processed > 1
    capped = bigquery.QueryJobConfig(maximum_bytes_billed=1)
    with pytest.raises(GoogleAPICallError) as refused:
        bigquery_client.query(sql, job_config=capped, job_retry=None).result()
    assert "bytesBilledLimitExceeded" in str(refused.value)


def test_rows_and_modification_time_of_a_table_follow_every_change(
    bigquery_client: bigquery.Client, dataset: str
) -> None:
    bigquery_client.query_and_wait(f"CREATE TABLE {dataset}.t AS SELECT 1 AS x")
    before = bigquery_client.get_table(f"{dataset}.t")
    bigquery_client.query_and_wait(f"INSERT INTO {dataset}.t VALUES (2), (3)")
    bigquery_client.query_and_wait(f"DELETE FROM {dataset}.t WHERE x = 1")
    after = bigquery_client.get_table(f"{dataset}.t")
    assert (before.num_rows, after.num_rows) == (1, 2)
    assert after.modified > before.modified


@pytest.mark.parametrize("way", ["extract", "export data"])
def test_an_export_runs_on_after_the_insert_and_can_be_cancelled(
    slow_stack: StackState, way: str
) -> None:
    client = bigquery_client_of(local_stack.environment(slow_stack))
    started = time.monotonic()
    name = f"d_{uuid.uuid4().hex[:8]}"
    client.create_dataset(name)
    client.query_and_wait(f"CREATE TABLE {name}.t AS SELECT 1 AS x")
    # An export checks its bucket before it waits, so a missing one would end it at once.
    storage_url = local_stack.environment(slow_stack)["STORAGE_EMULATOR_HOST"]
    objects = storage.Client(
        project=client.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": storage_url},
    )
    with contextlib.closing(objects), contextlib.closing(client):
        bucket = objects.create_bucket(f"slow-{uuid.uuid4().hex[:8]}")
        uri = f"gs://{bucket.name}/x-*.parquet"
        if way == "extract":
            config = bigquery.ExtractJobConfig(destination_format="PARQUET")
            job = client.extract_table(f"{name}.t", uri, job_config=config)
        else:
            job = client.query(
                f"EXPORT DATA OPTIONS(uri='{uri}', format='PARQUET') AS SELECT * FROM {name}.t",
                job_retry=None,
            )
        assert job.state in ("PENDING", "RUNNING")
        job.cancel()
        while not job.done():
            assert time.monotonic() - started < 30
        assert job.error_result["reason"] == "stopped"
        assert list(bucket.list_blobs()) == []
