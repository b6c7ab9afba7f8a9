"""The schedules: when they tick and what they ask for."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from bq2pg_assets_tests.defs.fakes import FakeSync, a_table, definitions


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
    data = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=_noon()))
    (request,) = data.run_requests or []
    assert request.asset_selection == [dg.AssetKey(["sales", "a"])]
    assert schedule.job_name == "sync_all"


def test_what_it_asks_for_can_be_run(ephemeral: dg.DagsterInstance) -> None:
    sync = FakeSync()
    defs = definitions(a_table("a", schedule="@daily"), a_table("b"), sync=sync)
    data = _schedule(defs, "a_schedule").evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=_noon())
    )
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


def _noon() -> datetime:
    return datetime(2024, 7, 1, 12, 0, tzinfo=UTC)
