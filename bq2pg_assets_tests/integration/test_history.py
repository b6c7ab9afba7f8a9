"""What sync_history and status() tell about every attempt, good or bad.

Belongs here: rows of sync_history after each way a run can end. Does not belong here: what the
run did to the target (the other files assert that).
"""

import uuid

import psycopg
import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, LockedError, SourceError, VerifyError
from bq2pg_assets.engine.model import Outcome, RunId
from bq2pg_assets_tests.integration.helpers import Gate, World, background, moment, until

QUERY = "SELECT {} AS id, TIMESTAMP '2024-01-0{} 00:00:00+00' AS max_ingested_at"
FIRST, BOTH = QUERY.format(1, 1), f"{QUERY.format(1, 1)} UNION ALL {QUERY.format(2, 2)}"
RUNNING = (
    "INSERT INTO bq2pg.sync_history (run_id, attempt, launcher, table_name, target, outcome) "
    "VALUES (%s, 0, 'cli', 't', %s, 'running')"
)


def test_a_loaded_attempt_is_one_row_with_the_figures_of_its_result(world: World) -> None:
    world.make_source(BOTH)
    result = world.sync(mode="append", run=RunId("run-1", attempt=2, launcher="dagster"))
    [row] = world.history()
    assert {k: row[k] for k in ("run_id", "attempt", "launcher", "table_name", "target")} == {
        "run_id": "run-1",
        "attempt": 2,
        "launcher": "dagster",
        "table_name": "t",
        "target": "public.t",
    }
    assert (row["outcome"], row["mode"], row["export_way"]) == ("loaded", "replace", "extract")
    assert (row["rows"], row["shards"]) == (2, 1) == (result.rows, result.shards)
    assert row["bytes"] == result.bytes > 0
    assert row["job_id"] == result.job_id
    assert (row["cursor_before"], row["cursor_after"]) == (None, moment("2024-01-02"))
    assert row["source_modified_at"] == result.source_modified_at
    assert row["error"] is None
    assert row["started_at"] < row["finished_at"]
    assert 0 < row["seconds"] <= result.seconds
    assert set(row["phases"]) >= {"plan", "export", "copy", "verify"}


def test_an_increment_tells_its_window_and_its_cost(world: World) -> None:
    world.make_source(FIRST)
    world.sync(mode="append")
    world.bq("INSERT INTO {d}.source VALUES (2, TIMESTAMP '2024-01-02 00:00:00+00')")
    result = world.sync(mode="append")
    nothing = world.sync(mode="append")
    _, row, last = world.history()
    assert (row["window_low"], row["window_high"]) == (moment("2024-01-01"), moment("2024-01-02"))
    assert (row["mode"], row["export_way"], row["rows"]) == ("append", "export_data", 1)
    assert row["bytes_billed"] == result.bytes_billed > 0
    assert row["cost"] == result.cost > 0
    assert (last["outcome"], last["rows"], last["shards"]) == ("nothing_new", 0, 0)
    # Looking above the cursor is billed as well.
    assert 0 < last["bytes_billed"] == nothing.bytes_billed < result.bytes_billed
    assert last["cursor_after"] == last["cursor_before"] == moment("2024-01-02")


def test_a_failure_and_a_cancellation_are_recorded_with_what_was_planned(world: World) -> None:
    with pytest.raises(SourceError):
        world.sync(query="SELECT ERROR('no good') AS id")
    token = CancelToken()
    with pytest.raises(CancelledError):
        world.sync(query=FIRST, cancel=token, report=lambda p: p.phase == "copy" and token.cancel())
    failed, cancelled = world.history()
    assert (failed["outcome"], failed["mode"], failed["rows"]) == ("failed", "replace", None)
    assert "no good" in failed["error"]
    assert (cancelled["outcome"], cancelled["export_way"]) == ("cancelled", "export_data")
    assert failed["finished_at"] is not None
    assert cancelled["seconds"] > 0


def test_an_attempt_left_running_by_a_dead_process_is_marked_killed_by_the_next(
    world: World,
) -> None:
    world.sync(query=FIRST)
    world.pg(RUNNING, "dead", "public.t")
    world.pg(RUNNING, "elsewhere", "public.other")
    world.sync(query=FIRST)
    outcomes = {row["run_id"]: row["outcome"] for row in world.history()}
    assert outcomes.pop("dead") == "killed"
    assert outcomes.pop("elsewhere") == "running", "another target's attempt may live"
    assert set(outcomes.values()) == {"loaded"}
    [dead] = [row for row in world.history() if row["run_id"] == "dead"]
    assert dead["finished_at"] is not None
    assert "the process ended" in dead["error"]


def test_an_attempt_refused_by_the_lock_is_recorded_and_leaves_the_running_one_alone(
    world: World,
) -> None:
    gate = Gate("copy")
    with background(lambda: world.sync(query=FIRST, report=gate)) as first:
        gate.wait()
        with pytest.raises(LockedError):
            world.sync(query=FIRST, run=RunId("refused"))
        running, refused = world.history()
        gate.open()
    assert (running["outcome"], refused["outcome"]) == ("running", "locked")
    assert (refused["run_id"], "another run" in refused["error"]) == ("refused", True)
    assert first.result().outcome is Outcome.LOADED
    assert [row["outcome"] for row in world.history()] == ["loaded", "locked"]


def test_status_tells_the_last_attempt_of_every_table(world: World) -> None:
    assert world.target().status() == []
    world.sync(query=BOTH, mode="append", name="a")
    world.sync(query=FIRST, name="b")
    with pytest.raises(SourceError):
        world.sync(query="SELECT ERROR('no good') AS id", name="b")
    a, b = world.target().status()
    assert (a.table, a.outcome, a.mode, a.rows) == ("a", Outcome.LOADED, "replace", 2)
    assert a.cursor == moment("2024-01-02")
    assert (b.table, b.outcome, b.cursor) == ("b", Outcome.FAILED, None)
    assert "no good" in (b.error or "")


def test_an_error_text_that_postgresql_cannot_hold_is_recorded_all_the_same(world: World) -> None:
    with pytest.raises(SourceError):
        world.sync(source=f"{world.dataset}.no\0table", run=RunId(uuid.uuid4().hex))
    assert [row["outcome"] for row in world.history()] == ["failed"]


def test_the_attempt_of_a_run_whose_session_was_cut_is_recorded_over_another_one(
    world: World,
) -> None:
    gate = Gate("copy")
    with background(lambda: world.sync(query=FIRST, report=gate)) as run:
        gate.wait()
        world.pg(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name LIKE 'bq2pg public.t%%' AND datname = %s",
            world.database,
        )
        gate.open()
    error = run.exception()
    assert isinstance(error.__cause__, psycopg.OperationalError)
    assert error.retryable
    assert [row["outcome"] for row in world.history()] == ["failed"]
    until(lambda: world.locks() == 0, "the advisory lock to be released")


def test_a_failure_after_the_export_tells_the_job_and_what_it_billed(world: World) -> None:
    world.make_source("SELECT 1 AS id, CAST(NULL AS STRING) AS v, JSON '1' AS j")
    with pytest.raises(VerifyError):
        world.sync(mode="replace", not_null=["v"])
    (row,) = world.history()
    assert row["outcome"] == "failed"
    assert str(row["job_id"]).startswith("bq2pg_t_")
    assert row["bytes_billed"] > 0
    assert row["cost"] > 0
    assert {"plan", "export", "copy", "verify"} <= row["phases"].keys()


def test_one_name_with_two_targets_has_a_status_for_each(world: World) -> None:
    world.make_source("SELECT 1 AS id")
    world.sync(mode="replace")
    world.sync(mode="replace", target="elsewhere.t")
    assert [one.target for one in world.target().status()] == ["elsewhere.t", "public.t"]


def test_a_history_made_by_an_earlier_version_gets_the_columns_it_lacks(world: World) -> None:
    world.make_source("SELECT 1 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at")
    world.sync(mode="append")
    world.pg("ALTER TABLE bq2pg.sync_history DROP COLUMN source, DROP COLUMN cursor_column")
    assert world.sync(mode="append").outcome is Outcome.NOTHING_NEW
    assert world.history()[-1]["cursor_column"] == "max_ingested_at"
