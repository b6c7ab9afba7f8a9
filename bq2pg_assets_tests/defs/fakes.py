"""An engine that does what a test says, and the resources and Dagster objects around it.

Belongs here: stand-ins at the border to the engine. Does not: assertions.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from bq2pg_assets.config.load import LoadedTables, TableProblem
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.build import build_definitions
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.model import Column, ExportWay, Mode, Outcome, RunId, RunOptions
from bq2pg_assets.engine.profile import Profile
from bq2pg_assets.engine.results import Check, Progress, SyncResult, TableStatus

PROJECT = "test-project"
MODIFIED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
ORDER_COLUMNS = (
    Column("id", "id", "INT64", "bigint", True, "id", True, "int8", comment="the order"),
    Column("placed", "placed_at", "TIMESTAMP", "timestamptz", False, "placed_at", True, "ts"),
)


def a_table(name: str = "orders", **fields: Any) -> TableConfig:
    given = {"source": f"shop.{name}", "target": f"sales.{name}"} | fields
    if given.get("query"):
        given.pop("source")
    return TableConfig.model_validate({"name": name, **given})


def a_result(table: TableConfig, **changes: Any) -> SyncResult:
    result = SyncResult(
        table=table.name,
        target=table.target_name,
        outcome=Outcome.LOADED,
        publish=Mode(table.mode),
        rows=1200,
        bytes=3400,
        shards=2,
        seconds=2.4,
        phases={"plan": 0.4, "export": 1.5, "copy": 0.5},
        columns=ORDER_COLUMNS,
        checks=(
            Check("row_count", True, "1200 exported, 1200 copied", {"exported": 1200}),
            Check("nulls", True, "no NULL", {}),
        ),
        cursor_before=None,
        cursor_after=datetime(2024, 5, 6, tzinfo=UTC),
        job_id="bq2pg_orders_export",
        prefix="gs://bucket/bq2pg/orders/run-0/",
        way=ExportWay.EXPORT_DATA,
        bytes_processed=1024,
        bytes_billed=10 * 1024**2,
        cost=0.00006,
        location="EU",
        source=table.source or "",
        source_modified_at=MODIFIED,
        target_rows=5600,
        profile=Profile(2, 2, {"connect": 0.1, "server": 0.8}),
        advice="BigQuery's query took 62% of the time: look there.",
    )
    return replace(result, **changes)


@dataclass(frozen=True)
class Call:
    """One call of the engine."""

    table: TableConfig
    run: RunId
    options: RunOptions
    cancel: CancelToken
    report: Callable[[Progress], None]


@dataclass
class FakeSync:
    """The engine's `sync_table`. By table name: a result's changes, an error, or what to do.

    A list is used up call by call; its last entry stays.
    """

    does: Mapping[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self,
        table: TableConfig,
        *,
        source: Any,
        shards: Any,
        target: Any,
        run: RunId,
        options: RunOptions,
        cancel: CancelToken,
        report: Callable[[Progress], None],
    ) -> SyncResult:
        assert (source.client.project, shards, target) == (PROJECT, "shards", "target")
        call = Call(table, run, options, cancel, report)
        with self.lock:
            self.calls.append(call)
            does = self.does.get(table.name, {})
            if isinstance(does, list):
                does = does.pop(0) if len(does) > 1 else does[0]
        if isinstance(does, BaseException):
            raise does
        if callable(does):
            does = does(call) or {}
        return a_result(table, **does)

    def called(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.table.name == name]


class FakeBigQuery:
    """The resource `bigquery`; `modified` answers what the sensor asks."""

    def __init__(self, modified: Mapping[str, datetime | Bq2pgError | None] | None = None) -> None:
        self.modified = dict(modified or {})

    @contextmanager
    def source(self) -> Iterator[Any]:
        yield SimpleNamespace(
            client=SimpleNamespace(project=PROJECT), modified_at=self._modified_at
        )

    def _modified_at(self, table: TableConfig) -> datetime | None:
        answer = self.modified[table.name]
        if isinstance(answer, Bq2pgError):
            raise answer
        return answer


class FakeGcs:
    """The resource `gcs`."""

    @contextmanager
    def shards(self) -> Iterator[Any]:
        yield "shards"


class FakePostgres:
    """The resource `postgres`; `statuses` is what sync_history holds, None: nothing is asked.

    `circuits` holds those that are not closed, or why they cannot be read.
    """

    def __init__(
        self,
        statuses: list[TableStatus] | None = None,
        *,
        circuits: Mapping[str, Circuit] | Bq2pgError | None = None,
    ) -> None:
        self.statuses, self.circuits = statuses, circuits or {}

    def target(self) -> Any:
        if self.statuses is None:
            return "target"
        return SimpleNamespace(status=lambda: self.statuses, circuits=self._circuits)

    def _circuits(self, tables: Sequence[TableConfig]) -> Mapping[str, Circuit]:
        if isinstance(self.circuits, Bq2pgError):
            raise self.circuits
        closed = {table.name: Circuit(CircuitState.CLOSED) for table in tables}
        return closed | dict(self.circuits)

    def uri(self, name: object) -> str:
        return f"postgresql://db.test:5432/warehouse/{name}"


def fake_resources(**changes: Any) -> dict[str, Any]:
    return {
        "bigquery": FakeBigQuery(),
        "gcs": FakeGcs(),
        "postgres": FakePostgres(),
    } | changes


def definitions(
    *tables: TableConfig,
    sync: Any = None,
    problems: tuple[TableProblem, ...] = (),
    running: bool = False,
    **resources: Any,
) -> dg.Definitions:
    return build_definitions(
        LoadedTables(tables, problems),
        resources=fake_resources(**resources),
        sync=sync or FakeSync(),
        retry_seconds=0.0,
        running=running,
    )


def run_all(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    config: Mapping[str, Any] | None = None,
    execution: Mapping[str, Any] | None = None,
    raise_on_error: bool = False,
    on_created: Callable[[dg.DagsterRun], object] = lambda _: None,
) -> dg.JobExecutionResult:
    """One run of all assets on the executor of the definitions, in this thread."""
    job = defs.resolve_job_def("sync_all")
    run_config = {
        "ops": {name: {"config": given} for name, given in (config or {}).items()},
        "execution": {"config": dict(execution or {})},
    }
    run = instance.create_run_for_job(job, run_config=run_config)
    on_created(run)
    return execute_run(InMemoryJob(job), run, instance, raise_on_error=raise_on_error)


def step_failure(result: dg.JobExecutionResult, step: str) -> Any:
    """What the failure of a step says."""
    events = [event for event in result.get_step_failure_events() if event.step_key == step]
    assert len(events) == 1, [event.step_key for event in result.get_step_failure_events()]
    return events[0].step_failure_data.user_failure_data
