"""What a run of one asset does with what the engine returns or raises."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from bq2pg_assets.defs.metadata import data_version, job_url, table_uri
from bq2pg_assets.engine.errors import (
    Bq2pgError,
    ConfigError,
    LockedError,
    MappingError,
    SourceError,
    VerifyError,
)
from bq2pg_assets.engine.model import ExportWay, Mode, Outcome, RunOptions
from bq2pg_assets.engine.results import Check, Progress
from bq2pg_assets_tests.defs.fakes import (
    MODIFIED,
    Call,
    FakeSync,
    a_result,
    a_table,
    definitions,
    run_all,
    step_failure,
)
from bq2pg_assets_tests.defs.webserver import until

KEY = dg.AssetKey(["sales", "orders"])


def _source_error(*, retryable: bool) -> SourceError:
    return SourceError(
        "table orders",
        met="backendError",
        expected="an answer",
        way_out="Wait.",
        retryable=retryable,
        reason="backendError",
    )


def _verify_error(*, retryable: bool) -> VerifyError:
    return VerifyError(
        "table orders",
        met="9",
        expected="10",
        way_out="Look.",
        retryable=retryable,
        checks=(
            Check("row_count", False, "10 exported, 9 copied", {"exported": 10, "copied": 9}),
            Check("nulls", True, "no NULL"),
        ),
    )


def _metadata(result: dg.JobExecutionResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


class TestMaterialization:
    def test_carries_dagsters_standard_metadata(self, ephemeral: dg.DagsterInstance) -> None:
        found = _metadata(run_all(definitions(a_table()), ephemeral))
        assert found["dagster/row_count"] == 5600
        assert found["dagster/table_name"] == "sales.orders"
        assert found["dagster/uri"] == "postgresql://db.test:5432/warehouse/sales.orders"
        assert found["dagster/column_schema"] == dg.TableSchema(
            columns=[
                dg.TableColumn(
                    "id",
                    type="bigint",
                    description="the order",
                    constraints=dg.TableColumnConstraints(nullable=False),
                ),
                dg.TableColumn("placed", type="timestamptz"),
            ]
        )
        source = dg.AssetKey(["bigquery", "shop", "orders"])
        assert found["dagster/column_lineage"] == dg.TableColumnLineage(
            {
                "id": [dg.TableColumnDep(source, "id")],
                "placed": [dg.TableColumnDep(source, "placed_at")],
            }
        )

    def test_tells_what_the_run_did_and_cost(self, ephemeral: dg.DagsterInstance) -> None:
        found = _metadata(run_all(definitions(a_table()), ephemeral))
        expected = {
            "outcome": "loaded",
            "publish": "replace",
            "rows": 1200,
            "bytes": 3400,
            "shards": 2,
            "seconds": 2.4,
            "seconds/plan": 0.4,
            "seconds/export": 1.5,
            "seconds/copy": 0.5,
            "workers": 2,
            "worker_seconds/connect": 0.1,
            "worker_seconds/server": 0.8,
            "advice": "BigQuery's query took 62% of the time: look there.",
            "rows_per_second": 500,
            "cursor_after": "2024-05-06T00:00:00+00:00",
            "export": "export_data",
            "bytes_processed": 1024,
            "bytes_billed": 10485760,
            "cost_usd": 0.00006,
            "job_id": "bq2pg_orders_export",
            "job": "https://console.cloud.google.com/bigquery"
            "?project=test-project&j=bq:EU:bq2pg_orders_export",
            "prefix": "gs://bucket/bq2pg/orders/run-0/",
            "source": "shop.orders",
            "source_modified_at": MODIFIED.timestamp(),
        }
        assert {name: found[name] for name in expected} == expected
        assert "cursor_before" not in found

    def test_nothing_new_is_recorded_and_keeps_the_data_version(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        """Otherwise everything downstream would be called out of date by a run that did nothing."""
        nothing = {"outcome": Outcome.NOTHING_NEW, "rows": 0, "job_id": None, "checks": ()}
        sync = FakeSync({"orders": [{}, nothing]})
        defs = definitions(a_table(mode="append", cursor="at"), sync=sync)
        first, second = run_all(defs, ephemeral), run_all(defs, ephemeral)
        assert second.success
        found = _metadata(second)
        assert (found["outcome"], found["rows"]) == ("nothing_new", 0)
        assert found["dagster/row_count"] == 5600
        assert "job" not in found
        assert _version(second) == _version(first)
        checks = {c.check_name: c for c in second.get_asset_check_evaluations()}
        assert {name: check.passed for name, check in checks.items()} == {
            "row_count": True,
            "nulls": True,
            "shrink": True,
            "catalog": True,
        }
        assert checks["nulls"].description == "nothing new: no row was judged"

    def test_another_run_that_loaded_rows_has_another_data_version(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        defs = definitions(a_table(mode="append", cursor="at"))
        assert _version(run_all(defs, ephemeral)) != _version(run_all(defs, ephemeral))

    def test_a_query_has_no_column_lineage(self, ephemeral: dg.DagsterInstance) -> None:
        found = _metadata(run_all(definitions(a_table(query="SELECT 1 AS id")), ephemeral))
        assert "dagster/column_lineage" not in found
        assert "dagster/column_schema" in found


class TestRunConfig:
    def test_reaches_the_engine(self, ephemeral: dg.DagsterInstance) -> None:
        sync = FakeSync()
        given = {
            "full_refresh": True,
            "limit": 10,
            "where": "country = 'NZ'",
            "allow_shrink": True,
        }
        result = run_all(definitions(a_table(), sync=sync), ephemeral, config={"orders": given})
        (call,) = sync.calls
        assert call.options == RunOptions(
            full_refresh=True, limit=10, where="country = 'NZ'", allow_shrink=True
        )
        assert (call.run.id, call.run.attempt, call.run.launcher) == (result.run_id, 0, "dagster")
        found = _metadata(result)
        assert {name: found[name] for name in given} == given

    def test_without_any_the_engine_gets_no_options(self, ephemeral: dg.DagsterInstance) -> None:
        sync = FakeSync()
        run_all(definitions(a_table(), sync=sync), ephemeral)
        assert sync.calls[0].options == RunOptions()

    def test_that_makes_no_sense_fails_before_the_engine_is_called(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        sync = FakeSync()
        defs = definitions(a_table(), sync=sync)
        result = run_all(defs, ephemeral, config={"orders": {"limit": 0}})
        assert not result.success
        assert "1 or more" in step_failure(result, "orders").description
        assert sync.calls == []


class TestFailure:
    """An error of the engine, as the run page shows it."""

    def test_says_where_what_and_the_way_out(self, ephemeral: dg.DagsterInstance) -> None:
        error = _source_error(retryable=False)
        result = run_all(definitions(a_table(), sync=FakeSync({"orders": error})), ephemeral)
        failed = step_failure(result, "orders")
        assert failed.description == str(error)
        shown = {name: entry.value for name, entry in failed.metadata.items()}
        assert shown == {
            "error": "SourceError",
            "where": "table orders",
            "met": "backendError",
            "expected": "an answer",
            "way_out": "Wait.",
            "retryable": False,
            "reason": "backendError",
        }
        assert not result.get_asset_materialization_events()

    @pytest.mark.parametrize("retryable", [True, False])
    def test_is_tried_again_exactly_when_the_error_may_pass(
        self, ephemeral: dg.DagsterInstance, *, retryable: bool
    ) -> None:
        sync = FakeSync({"orders": _source_error(retryable=retryable)})
        result = run_all(definitions(a_table(retries=2), sync=sync), ephemeral)
        assert not result.success
        assert len(sync.calls) == (3 if retryable else 1)
        assert [call.run.slug for call in sync.calls] == [
            f"{result.run_id}-{attempt}" for attempt in range(len(sync.calls))
        ]

    @pytest.mark.parametrize(("retries", "calls"), [(0, 1), (1, 2)])
    def test_is_tried_as_often_as_the_table_says(
        self, ephemeral: dg.DagsterInstance, *, retries: int, calls: int
    ) -> None:
        locked = LockedError("target", met="a run", expected="none", way_out="Wait.")
        sync = FakeSync({"orders": locked})
        run_all(definitions(a_table(retries=retries), sync=sync), ephemeral)
        assert len(sync.calls) == calls

    def test_of_the_mapping_lists_every_column(self, ephemeral: dg.DagsterInstance) -> None:
        error = MappingError("table orders", ["a is bad", "b is worse"], way_out="Exclude them.")
        result = run_all(definitions(a_table(), sync=FakeSync({"orders": error})), ephemeral)
        shown = step_failure(result, "orders").metadata
        assert shown["problems"].value == "- a is bad\n- b is worse"

    def test_of_the_settings_is_translated_too(self, ephemeral: dg.DagsterInstance) -> None:
        """Resources read the environment when an asset runs, and fail like the engine does."""

        class Unset:
            def source(self) -> None:
                raise ConfigError("env", met="nothing", expected="a DSN", way_out="Set it.")

        sync = FakeSync()
        result = run_all(definitions(a_table(), sync=sync, bigquery=Unset()), ephemeral)
        assert step_failure(result, "orders").description == "env: nothing; expected a DSN. Set it."
        assert sync.calls == []


class TestChecks:
    """The gate: what the engine judged before it published."""

    def test_that_passed_are_recorded_with_their_numbers(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        result = run_all(definitions(a_table()), ephemeral)
        found = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert found.keys() == {"row_count", "nulls", "shrink", "catalog"}
        assert found["row_count"].passed
        assert found["row_count"].description == "1200 exported, 1200 copied"
        assert found["row_count"].metadata["exported"].value == 1200

    def test_that_failed_are_recorded_and_nothing_is_materialized(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        """Dagster alone would record the materialization and then the failed blocking check."""
        error = _verify_error(retryable=False)
        sync = FakeSync({"orders": error})
        result = run_all(definitions(a_table(), sync=sync), ephemeral)
        found = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
        assert found == {"row_count": False, "nulls": True}
        assert not result.get_asset_materialization_events()
        assert step_failure(result, "orders").description == str(error)
        assert len(sync.calls) == 1

    def test_that_failed_may_pass_when_the_table_is_tried_again(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        sync = FakeSync({"orders": [_verify_error(retryable=True), {}]})
        result = run_all(definitions(a_table(), sync=sync), ephemeral)
        assert result.success
        judged = [(c.check_name, c.passed) for c in result.get_asset_check_evaluations()]
        assert [passed for name, passed in judged if name == "row_count"] == [False, True]
        assert len(result.get_asset_materialization_events()) == 1

    def test_that_failed_stop_what_is_downstream(self, ephemeral: dg.DagsterInstance) -> None:
        error = _verify_error(retryable=False)
        defs = definitions(a_table(), sync=FakeSync({"orders": error}))

        @dg.asset(deps=[KEY])
        def report() -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult()

        result = run_all(dg.Definitions.merge(defs, dg.Definitions(assets=[report])), ephemeral)
        assert [event.step_key for event in result.get_step_failure_events()] == ["orders"]
        assert not result.get_asset_materialization_events()


def test_progress_of_a_longer_load_is_logged_for_the_table(ephemeral: dg.DagsterInstance) -> None:
    def said() -> list[tuple[str | None, str]]:
        (run,) = ephemeral.get_runs()
        return [(e.step_key, e.user_message) for e in ephemeral.all_logs(run.run_id)]

    line = "orders", "copy: 10 rows, 2 MB, 1 of 4 shards"

    def work(call: Call) -> None:
        call.report(Progress("orders", "copy", rows=10, bytes=2_000_000, shards_done=1, shards=4))
        until(lambda: line in said(), "the line", seconds=30)

    run_all(definitions(a_table(), sync=FakeSync({"orders": work})), ephemeral)
    assert line in said()


class TestDataVersion:
    """Equal exactly when the content is."""

    def _version(self, **given: Any) -> str:
        options = given.pop("options", RunOptions())
        previous = given.pop("previous", None)
        code = given.pop("code_version", "c1")
        result = a_result(a_table(), **{"way": ExportWay.EXTRACT, **given})
        version = data_version(
            result, options=options, code_version=code, run_id="run 2", previous=previous
        )
        return version.value

    def test_a_full_extract_of_an_unchanged_table_is_the_same(self) -> None:
        assert self._version() == self._version(rows=1)
        assert self._version() != self._version(source_modified_at=datetime(2025, 1, 1, tzinfo=UTC))
        assert self._version() != self._version(code_version="c2")

    def test_nothing_new_is_as_before(self) -> None:
        assert self._version(outcome=Outcome.NOTHING_NEW, previous="run 1") == "run 1"

    @pytest.mark.parametrize(
        "given",
        [
            {"publish": Mode.APPEND, "previous": "run 1"},
            {"publish": Mode.MERGE},
            {"options": RunOptions(limit=5)},
            {"options": RunOptions(where="true")},
            {"source_modified_at": None},
            {"way": ExportWay.EXPORT_DATA},
            {"outcome": Outcome.NOTHING_NEW, "publish": Mode.APPEND},
        ],
    )
    def test_everything_else_is_new_with_each_run(self, given: dict[str, Any]) -> None:
        assert self._version(**given) == "run 2"


def test_a_job_url_survives_a_domain_project() -> None:
    url = job_url(project="example.com:p", location="EU", job_id="a_b")
    assert url == "https://console.cloud.google.com/bigquery?project=example.com:p&j=bq:EU:a_b"


def test_a_table_uri_quotes_what_would_mislead() -> None:
    uri = table_uri(host="h", port="5432", database="d", schema="a/b", table="c d")
    assert uri == "postgresql://h:5432/d/a%2Fb/c%20d"


def test_every_error_of_the_tree_translates() -> None:
    """One that could not be built from the base's fields would hide the error it stands for."""
    from bq2pg_assets.defs.failures import failure

    for kind in Bq2pgError.__subclasses__():
        if kind.__name__ in ("CancelledError", "MappingError"):
            continue
        error = kind("here", met="a", expected="b", way_out="c")
        assert failure(error).description == "here: a; expected b. c"
        assert failure(error, cancelled=True).allow_retries is False


def _version(result: dg.JobExecutionResult) -> str:
    (event,) = result.get_asset_materialization_events()
    return (event.materialization.tags or {})["dagster/data_version"]
