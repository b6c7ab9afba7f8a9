"""The sensor: which tables it finds behind their source, and what it tells Dagster."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from bq2pg_assets.defs.sensors import Decision, SourceCursor, decide
from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.errors import SourceError
from bq2pg_assets.engine.model import Outcome
from bq2pg_assets.engine.results import TableStatus
from bq2pg_assets_tests.defs.fakes import (
    MODIFIED,
    FakeBigQuery,
    FakePostgres,
    FakeSync,
    a_table,
    definitions,
    run_all,
)

LATER = MODIFIED + timedelta(hours=1)
OPEN = Circuit(CircuitState.OPEN, 5, LATER, "no good")
SOURCE = dg.AssetKey(["bigquery", "shop", "a"])


def _watched(name: str, **fields: Any) -> Any:
    return a_table(name, automation="on_source_change", **fields)


def _error(name: str) -> SourceError:
    return SourceError(f"table {name}", met="404", expected="a table", way_out="Look.")


def _names(decision: Decision) -> list[str]:
    return [table.name for table in decision.wanted]


class TestDecision:
    def _decide(
        self,
        *answers: Any,
        loaded: Any = None,
        busy: Any = (),
        circuits: Any = None,
        cursor: SourceCursor | None = None,
    ) -> Decision:
        closed = dict.fromkeys("abc", Circuit(CircuitState.CLOSED))
        return decide(
            [(_watched(name), answer) for name, answer in zip("abc", answers, strict=False)],
            loaded=loaded or {},
            circuits=closed | (circuits or {}),
            busy=frozenset(busy),
            cursor=cursor or SourceCursor(),
        )

    def test_a_table_that_was_never_loaded_is_behind(self) -> None:
        assert _names(self._decide(MODIFIED)) == ["a"]

    def test_a_table_loaded_from_an_older_source_is_behind(self) -> None:
        assert _names(self._decide(LATER, LATER, loaded={"a": MODIFIED, "b": LATER})) == ["a"]

    def test_a_change_is_asked_for_once_even_when_the_run_fails(self) -> None:
        """A failed run leaves the table behind: without memory it would start every minute."""
        first = self._decide(LATER, loaded={"a": MODIFIED})
        again = self._decide(LATER, loaded={"a": MODIFIED}, cursor=first.cursor)
        assert (_names(first), _names(again)) == (["a"], [])
        changed = LATER + timedelta(minutes=1)
        next_change = self._decide(changed, loaded={"a": MODIFIED}, cursor=again.cursor)
        assert _names(next_change) == ["a"]

    def test_a_table_that_is_being_loaded_waits_for_a_later_tick(self) -> None:
        busy = self._decide(LATER, busy=[dg.AssetKey(["sales", "a"])])
        assert _names(busy) == []
        assert _names(self._decide(LATER, cursor=busy.cursor)) == ["a"]

    def test_a_source_is_reported_when_it_changed_and_only_then(self) -> None:
        first = self._decide(MODIFIED)
        again = self._decide(MODIFIED, cursor=first.cursor)
        later = self._decide(LATER, cursor=again.cursor)
        assert [dict(d.changed) for d in (first, again, later)] == [
            {SOURCE: MODIFIED},
            {},
            {SOURCE: LATER},
        ]

    def test_a_failing_source_keeps_no_other_table_back(self) -> None:
        decision = self._decide(_error("a"), MODIFIED)
        assert _names(decision) == ["b"]
        assert decision.remarks == (str(_error("a")),)

    def test_a_query_cannot_tell_and_says_so(self) -> None:
        (remark,) = self._decide(None).remarks
        assert "table a" in remark
        assert "schedule" in remark

    def test_an_open_circuit_leaves_the_table_out_and_forgets_no_change(self) -> None:
        found = self._decide(LATER, LATER, circuits={"a": OPEN})
        assert _names(found) == ["b"]
        (sentence,) = found.left_out
        assert sentence.startswith("a: circuit open: the last 5 runs failed; it is left out until")
        assert _names(self._decide(LATER, LATER, cursor=found.cursor)) == ["a"]

    def test_a_table_that_is_not_behind_is_not_said_to_be_left_out(self) -> None:
        assert self._decide(LATER, loaded={"a": LATER}, circuits={"a": OPEN}).left_out == ()

    def test_each_trial_is_asked_for_once_though_the_source_did_not_change(self) -> None:
        first = self._decide(LATER)
        trial = {"a": Circuit(CircuitState.TRIAL, 5)}
        second = self._decide(LATER, circuits=trial, cursor=first.cursor)
        third = self._decide(LATER, circuits=trial, cursor=second.cursor)
        assert [_names(one) for one in (first, second, third)] == [["a"], ["a"], []]
        next_trial = {"a": Circuit(CircuitState.TRIAL, 6)}
        fourth = self._decide(LATER, circuits=next_trial, cursor=third.cursor)
        assert _names(fourth) == ["a"]
        assert len({one.run_key for one in (first, second, fourth)}) == 3

    def test_the_run_key_names_tables_and_changes(self) -> None:
        assert self._decide(MODIFIED).run_key == self._decide(MODIFIED).run_key
        assert self._decide(MODIFIED).run_key != self._decide(LATER).run_key
        assert self._decide(MODIFIED).run_key != self._decide(MODIFIED, MODIFIED).run_key


class TestTick:
    """One evaluation as the daemon makes it, on an instance that keeps what it returns."""

    def _tick(
        self,
        instance: dg.DagsterInstance,
        modified: dict[str, Any],
        *,
        statuses: list[TableStatus] | None = None,
        circuits: dict[str, Circuit] | None = None,
        cursor: str | None = None,
    ) -> Any:
        resources = {
            "bigquery": FakeBigQuery(modified),
            "postgres": FakePostgres(statuses or [], circuits=circuits),
        }
        defs = definitions(*map(_watched, modified), a_table("unwatched"), **resources)
        sensor = defs.resolve_sensor_def("bigquery_source_changes")
        with dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            definitions=defs,
            resources=resources,
        ) as context:
            return sensor.evaluate_tick(context)

    def test_asks_for_one_run_of_all_that_are_behind(self, ephemeral: dg.DagsterInstance) -> None:
        found = self._tick(ephemeral, {"a": LATER, "b": LATER, "c": MODIFIED}, statuses=[_at("c")])
        (request,) = found.run_requests
        assert request.asset_selection == [dg.AssetKey(["sales", name]) for name in "ab"]
        assert found.skip_message is None

    def test_records_changed_sources_with_their_data_version(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        found = self._tick(ephemeral, {"a": LATER})
        (event,) = found.asset_events
        assert event.asset_key == SOURCE
        assert event.tags["dagster/data_version"] == LATER.isoformat()

    def test_the_next_tick_is_quiet(self, ephemeral: dg.DagsterInstance) -> None:
        first = self._tick(ephemeral, {"a": LATER})
        found = self._tick(ephemeral, {"a": LATER}, statuses=[_at("a", LATER)], cursor=first.cursor)
        assert (found.run_requests, found.asset_events) == ([], [])
        assert found.skip_message == "nothing changed"

    def test_a_failing_source_shows_in_the_tick(self, ephemeral: dg.DagsterInstance) -> None:
        first = self._tick(ephemeral, {"a": _error("a"), "b": LATER})
        assert [r.asset_selection for r in first.run_requests] == [[dg.AssetKey(["sales", "b"])]]
        second = self._tick(
            ephemeral,
            {"a": _error("a"), "b": LATER},
            statuses=[_at("b", LATER)],
            cursor=first.cursor,
        )
        assert second.skip_message == f"1 of 2 sources: {_error('a')}"

    def test_a_tick_that_leaves_out_all_says_which(self, ephemeral: dg.DagsterInstance) -> None:
        found = self._tick(ephemeral, {"a": LATER}, circuits={"a": OPEN})
        assert found.run_requests == []
        assert "a: circuit open: the last 5 runs failed" in found.skip_message
        assert "Last error: no good" in found.skip_message

    def test_fails_when_no_source_answers(self, ephemeral: dg.DagsterInstance) -> None:
        """A red tick, not a skipped one: nothing is being watched any more."""
        with pytest.raises(SourceError, match="2 of 2 sources"):
            self._tick(ephemeral, {"a": _error("a"), "b": _error("b")})

    def test_waits_for_a_run_that_has_not_ended(self, ephemeral: dg.DagsterInstance) -> None:
        defs = definitions(_watched("a"))
        job = defs.resolve_job_def("sync_all")
        ephemeral.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert self._tick(ephemeral, {"a": LATER}).run_requests == []

    def test_what_it_asks_for_can_be_run(self, ephemeral: dg.DagsterInstance) -> None:
        sync = FakeSync()
        found = self._tick(ephemeral, {"a": LATER})
        job = definitions(_watched("a"), a_table("b"), sync=sync).resolve_job_def("sync_all")
        (request,) = found.run_requests
        job.execute_in_process(instance=ephemeral, asset_selection=request.asset_selection)
        assert [call.table.name for call in sync.calls] == ["a"]


def test_a_target_is_in_sync_after_its_run_and_behind_after_a_change(
    ephemeral: dg.DagsterInstance,
) -> None:
    """What the sensor's events are for; with observations it would be unsynced for ever."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.loader import LoadingContextForTest

    defs = definitions(_watched("a"))
    graph = defs.resolve_asset_graph()

    def status() -> str:
        return (
            CachingStaleStatusResolver(
                instance=ephemeral,
                asset_graph=graph,
                loading_context=LoadingContextForTest(ephemeral),
            )
            .get_status(dg.AssetKey(["sales", "a"]))
            .value
        )

    def changed(at: datetime) -> None:
        (event,) = TestTick()._tick(ephemeral, {"a": at}).asset_events
        ephemeral.report_runless_asset_event(event)

    changed(MODIFIED)
    assert status() == "MISSING"
    run_all(defs, ephemeral)
    assert status() == "FRESH"
    changed(LATER)
    assert status() == "STALE"
    run_all(defs, ephemeral)
    assert status() == "FRESH"


def test_there_is_no_sensor_without_a_table_that_wants_it() -> None:
    assert list(definitions(a_table()).get_repository_def().sensor_defs) == []


@pytest.mark.parametrize("running", [True, False])
def test_it_runs_by_itself_only_where_asked(*, running: bool) -> None:
    defs = definitions(_watched("a"), running=running)
    status = defs.resolve_sensor_def("bigquery_source_changes").default_status
    assert (status is dg.DefaultSensorStatus.RUNNING) is running


def _at(name: str, modified: datetime = MODIFIED) -> TableStatus:
    return TableStatus(
        table=name,
        outcome=Outcome.LOADED,
        mode="replace",
        rows=1,
        seconds=1.0,
        finished_at=datetime(2024, 6, 1, tzinfo=UTC),
        cursor=None,
        bytes_billed=0,
        run_id="r",
        source_modified_at=modified,
        target=f"sales.{name}",
    )
