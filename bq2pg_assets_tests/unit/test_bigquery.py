"""BigQuerySource on a client in memory: what a job carries, and what becomes of a lost answer.

Guards that no job is started twice or left running. What BigQuery itself does is tested against
the emulator.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions as api
from google.cloud import bigquery

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, SourceError
from bq2pg_assets.engine.model import Cursor, ExportWay, RunId
from bq2pg_assets_tests.unit.planned import FACTS, LOW
from bq2pg_assets_tests.unit.plans import a_plan

RUN = RunId("Ab-1.2", attempt=1)
TABLE = TableConfig(name="t", source="d.t", mode="append", cursor="at")
FOUND = {"high": LOW, "rows_above": 3, "nulls": 0, "at": datetime(2024, 3, 1, tzinfo=UTC)}


@dataclass
class FakeJob:
    """A job as the client returns it."""

    job_id: str
    error_result: dict[str, str] | None = None
    running: bool = False
    total_bytes_billed: int = 7
    total_bytes_processed: int = 7
    destination_uri_file_counts: tuple[int, ...] = (1,)
    _properties: dict[str, Any] = field(default_factory=dict)

    def done(self, *, timeout: float) -> bool:
        return not self.running

    def result(self, *, timeout: float) -> list[dict[str, Any]]:
        return [FOUND]


@dataclass
class FakeClient:
    """BigQuery for one job: `answer` is raised in place of the insert's own."""

    answer: Exception | None = None
    job_error: dict[str, str] | None = None
    running: bool = False
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    def query(self, sql: str, *, job_id: str, job_config: Any, **_: Any) -> FakeJob:
        return self._insert(job_id, job_config)

    def extract_table(
        self, source: Any, uri: str, *, job_id: str, job_config: Any, **_: Any
    ) -> Any:
        return self._insert(job_id, job_config)

    def get_job(self, job_id: str, **_: Any) -> FakeJob:
        return self.jobs[job_id]

    def cancel_job(self, job_id: str, **_: Any) -> FakeJob:
        self.cancelled.append(job_id)
        self.jobs[job_id].running = False
        return self.jobs[job_id]

    def _insert(self, job_id: str, config: Any) -> FakeJob:
        self.labels = dict(config.labels)
        self.jobs[job_id] = FakeJob(job_id, self.job_error, self.running)
        if self.answer is not None:
            raise self.answer
        return self.jobs[job_id]


def probe(client: FakeClient, cancel: CancelToken) -> Any:
    return source_on(client).probe(
        FACTS,
        Cursor("at", "TIMESTAMP", LOW),
        table=TABLE,
        where=None,
        limit=None,
        every_partition_of=None,
        run=RUN,
        cancel=cancel,
    )


def extract(client: FakeClient, cancel: CancelToken) -> Any:
    return source_on(client).export(a_plan(), prefix="gs://b/p/", run=RUN, cancel=cancel)


def export_data(client: FakeClient, cancel: CancelToken) -> Any:
    plan = a_plan(way=ExportWay.EXPORT_DATA)
    return source_on(client).export(plan, prefix="gs://b/p/", run=RUN, cancel=cancel)


def source_on(client: Any) -> BigQuerySource:
    return BigQuerySource(client, read_client=lambda: pytest.fail("no session is wanted"))


Start = Callable[[FakeClient, CancelToken], Any]
each_job = pytest.mark.parametrize(
    ("start", "own_id"),
    [
        (probe, "bq2pg_t_Ab_1_2_1_probe"),
        (extract, "bq2pg_t_Ab_1_2_1_export"),
        (export_data, "bq2pg_t_Ab_1_2_1_export"),
    ],
    ids=["probe", "extract", "export data"],
)


@each_job
def test_a_job_carries_its_own_id_and_says_whose_it_is(start: Start, own_id: str) -> None:
    client = FakeClient()
    start(client, CancelToken())
    assert list(client.jobs) == [own_id]
    assert client.labels == {"bq2pg_table": "t", "bq2pg_run": "ab-1_2"}
    assert client.cancelled == []


@each_job
def test_a_job_that_was_started_although_no_answer_came_is_taken_up(
    start: Start, own_id: str
) -> None:
    client = FakeClient(answer=api.Conflict("Already Exists: Job"))
    start(client, CancelToken())
    assert client.cancelled == []


@each_job
@pytest.mark.parametrize("answer", [ConnectionError("gone"), api.ServiceUnavailable("later")])
def test_a_job_whose_insert_has_no_answer_is_cancelled(
    start: Start, own_id: str, answer: Exception
) -> None:
    client = FakeClient(answer=answer, running=True)
    with pytest.raises(SourceError) as caught:
        start(client, CancelToken())
    assert caught.value.retryable
    assert client.cancelled == [own_id]


@each_job
def test_a_cancel_of_the_run_cancels_the_job(start: Start, own_id: str) -> None:
    client, cancel = FakeClient(running=True), CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        start(client, cancel)
    assert client.cancelled == [own_id]


@each_job
def test_a_job_that_fails_is_told_by_its_id(start: Start, own_id: str) -> None:
    client = FakeClient(job_error={"reason": "invalidQuery", "message": "oops"})
    with pytest.raises(SourceError, match=own_id):
        start(client, CancelToken())


PARTITIONED: list[tuple[dict[str, Any], str | None]] = [
    ({"timePartitioning": {"type": "DAY", "field": "day"}}, "day"),
    ({"timePartitioning": {"type": "DAY"}}, "_PARTITIONTIME"),
    ({"rangePartitioning": {"field": "id", "range": {}}}, "id"),
    ({}, None),
]


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(("partitioning", "column"), PARTITIONED)
def test_the_column_that_queries_must_filter_is_read_from_the_table(
    partitioning: dict[str, Any], column: str | None, required: bool
) -> None:
    table = bigquery.Table.from_api_repr(
        {
            "tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"},
            "type": "TABLE",
            "location": "EU",
            "description": "Orders.",
            "requirePartitionFilter": required,
            **partitioning,
        }
    )

    class Client:
        project = "p"

        def get_table(self, reference: Any, *, timeout: float) -> bigquery.Table:
            return table

    facts = source_on(Client()).describe(TABLE)
    assert facts.partition_filter_on == (column if required else None)
    assert facts.description == "Orders."
