"""The schedules: when they tick and what they ask for."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.errors import TargetError
from bq2pg_assets_tests.defs.fakes import FakePostgres, FakeSync, a_table, definitions


def _schedule(defs: dg.Definitions, name: str) -> dg.ScheduleDefinition:
    found = defs.resolve_schedule_def(name)
    assert isinstance(found, dg.ScheduleDefinition)
    return found


def test_each_table_with_a_cron_expression_has_one() -> None:
    defs = definitions(a_table("a", schedule="0 6 * * *"), a_table("b"))
    names = {s.name for s in defs.get_repository_def().schedule_defs}
    assert names - {"bq2pg_clean_nightly"} == {"a_schedule"}


def test_it_ticks_in_the_tables_time_zone() -> None:
    table = a_table("a", schedule="0 6 * * *", timezone="America/New_York")
    schedule = _schedule(definitions(table), "a_schedule")
    before = datetime(2024, 7, 1, 0, 0, tzinfo=UTC).timestamp()
    ticks = schedule_execution_time_iterator(
        before, schedule.cron_schedule, schedule.execution_timezone
    )
    assert next(ticks) == datetime(2024, 7, 1, 6, 0, tzinfo=ZoneInfo("America/New_York"))


def test_it_asks_for_its_own_table_only() -> None:
    defs = definitions(a_table("a", schedule="@daily"), a_table("b", schedule="@daily"))
    schedule = _schedule(defs, "a_schedule")
    data = _tick(schedule)
    (request,) = data.run_requests or []
    assert request.asset_selection == [dg.AssetKey(["sales", "a"])]
    assert schedule.job_name == "sync_all"


def test_what_it_asks_for_can_be_run(ephemeral: dg.DagsterInstance) -> None:
    sync = FakeSync()
    defs = definitions(a_table("a", schedule="@daily"), a_table("b"), sync=sync)
    data = _tick(_schedule(defs, "a_schedule"))
    (request,) = data.run_requests or []
    job = defs.resolve_job_def("sync_all")
    result = job.execute_in_process(instance=ephemeral, asset_selection=request.asset_selection)
    assert result.success
    assert [call.table.name for call in sync.calls] == ["a"]


@pytest.mark.parametrize("running", [True, False])
def test_it_runs_by_itself_only_where_asked(*, running: bool) -> None:
    defs = definitions(a_table("a", schedule="@daily"), running=running)
    status = _schedule(defs, "a_schedule").default_status
    assert (status is dg.DefaultScheduleStatus.RUNNING) is running


class TestCircuit:
    """A table that keeps failing is left out, and the tick says so."""

    OPEN = Circuit(CircuitState.OPEN, 5, datetime(2024, 7, 1, 13, tzinfo=UTC), "at password=x y")

    def test_an_open_one_skips_the_tick_and_says_why_and_until_when(self) -> None:
        postgres = FakePostgres([], circuits={"a": self.OPEN})
        data = _tick(_a_schedule(), postgres)
        assert data.run_requests == []
        assert data.skip_message == (
            "a: circuit open: the last 5 runs failed; it is left out until "
            "2024-07-01 13:00:00+00:00. Last error: at password=*** y "
            "Materialize it, or `bq2pg resume a`, to go on at once."
        )

    @pytest.mark.parametrize("state", [CircuitState.TRIAL, CircuitState.CLOSED])
    def test_a_trial_and_a_closed_one_are_asked_for(self, state: CircuitState) -> None:
        data = _tick(_a_schedule(), FakePostgres([], circuits={"a": Circuit(state, 5)}))
        assert [r.asset_selection for r in data.run_requests] == [[dg.AssetKey(["sales", "a"])]]

    def test_a_table_without_a_breaker_asks_nobody(self) -> None:
        data = _tick(_a_schedule(circuit_breaker=None), FakePostgres(None))
        assert len(data.run_requests) == 1

    def test_a_history_that_cannot_be_read_keeps_no_table_back(self) -> None:
        """The run meets the same PostgreSQL, and fails where people look."""
        away = TargetError("PostgreSQL", met="refused", expected="an answer", way_out="Start it.")
        data = _tick(_a_schedule(), FakePostgres([], circuits=away))
        assert len(data.run_requests) == 1

    @pytest.mark.parametrize(
        ("tags", "word"),
        [
            ({}, "dagster"),
            ({"dagster/schedule_name": "a_schedule"}, "schedule"),
            ({"dagster/sensor_name": "bigquery_source_changes"}, "sensor"),
        ],
    )
    def test_history_tells_who_asked(
        self, ephemeral: dg.DagsterInstance, tags: dict[str, str], word: str
    ) -> None:
        sync = FakeSync()
        job = definitions(a_table("a"), sync=sync).resolve_job_def("sync_all")
        job.execute_in_process(instance=ephemeral, tags=tags)
        assert [call.run.launcher for call in sync.calls] == [word]


def _a_schedule(**fields: Any) -> dg.ScheduleDefinition:
    return _schedule(definitions(a_table("a", schedule="@daily", **fields)), "a_schedule")


def _tick(schedule: dg.ScheduleDefinition, postgres: FakePostgres | None = None) -> Any:
    context = dg.build_schedule_context(
        scheduled_execution_time=_noon(), resources={"postgres": postgres or FakePostgres([])}
    )
    return schedule.evaluate_tick(context)


def _noon() -> datetime:
    return datetime(2024, 7, 1, 12, 0, tzinfo=UTC)
