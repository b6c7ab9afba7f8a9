"""The nightly cleaning: when there is one, when it ticks, and that it can be run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from google.cloud import bigquery, storage

from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.defs.fakes import a_table, definitions

SCHEDULE = "bq2pg_clean_nightly"


class Bucket:
    """The resource `gcs` with a real bucket behind it."""

    def __init__(self, shards: GcsShards) -> None:
        self._shards = shards

    @contextmanager
    def shards(self) -> Iterator[GcsShards]:
        yield self._shards


class Source:
    """The resource `bigquery` on the emulator."""

    def __init__(self, source: BigQuerySource) -> None:
        self._source = source

    @contextmanager
    def source(self) -> Iterator[BigQuerySource]:
        yield self._source


class Database:
    """The resource `postgres` on a real server."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def target(self) -> PostgresTarget:
        return PostgresTarget(self._dsn)


def test_there_is_none_where_there_is_no_table() -> None:
    assert not definitions().get_repository_def().schedule_defs


@pytest.mark.parametrize("running", [True, False])
def test_it_ticks_every_night_where_schedules_do(*, running: bool) -> None:
    schedule = definitions(a_table("a"), running=running).resolve_schedule_def(SCHEDULE)
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.cron_schedule, schedule.job_name) == ("30 3 * * *", "bq2pg_clean")
    assert (schedule.default_status is dg.DefaultScheduleStatus.RUNNING) is running


def test_a_table_may_be_called_clean() -> None:
    defs = definitions(a_table("clean", schedule="@daily"), a_table("remove_leftovers"))
    names = {s.name for s in defs.get_repository_def().schedule_defs}
    assert names == {"clean_schedule", SCHEDULE}


@pytest.mark.parametrize(("config", "left"), [({}, 1), ({"older_than": "0"}, 0)], ids=str)
def test_it_removes_what_its_config_says(
    config: dict[str, Any],
    left: int,
    ephemeral: dg.DagsterInstance,
    bigquery_client: bigquery.Client,
    storage_client: storage.Client,
    bucket: storage.Bucket,
    postgres_dsn: str,
) -> None:
    bucket.blob("bq2pg/a/unknown-0/000.parquet").upload_from_string(b"old")
    source = BigQuerySource(bigquery_client, read_client=lambda: pytest.fail("no stream is read"))
    defs = definitions(
        a_table("a"),
        bigquery=Source(source),
        gcs=Bucket(GcsShards(storage_client, bucket=bucket.name)),
        postgres=Database(postgres_dsn),
    )
    result = defs.resolve_job_def("bq2pg_clean").execute_in_process(
        instance=ephemeral,
        run_config={"ops": {"bq2pg_remove_leftovers": {"config": config}}},
    )
    assert result.success
    assert len(list(bucket.list_blobs())) == left
