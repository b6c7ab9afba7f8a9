"""Loading through Dagster in one process: what it says, its exit code, stopping it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from bq2pg_assets.defs.failures import failure
from bq2pg_assets.defs.launch import lines, select
from bq2pg_assets.engine.errors import ConfigError, TargetError
from bq2pg_assets_tests.defs.fakes import FakeSync, a_table, definitions, run_all

ROOT = Path(__file__).parents[2]
KEYS = {"a": dg.AssetKey(["s", "a"]), "b": dg.AssetKey(["s", "b"])}


def test_no_name_selects_every_table() -> None:
    assert select([], KEYS) == KEYS


def test_names_select_their_tables() -> None:
    assert select(["b"], KEYS) == {"b": KEYS["b"]}


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"c: no such table; expected names of a, b"):
        select(["a", "c"], KEYS)


SECRET = "host=h password=hunter2"


def told(sync: FakeSync, instance: dg.DagsterInstance, *, retries: int) -> list[str]:
    """What is said of a run of one table."""
    result = run_all(definitions(a_table(retries=retries), sync=sync), instance)
    records = instance.get_records_for_run(result.run_id).records
    return list(lines(record.event_log_entry.dagster_event for record in records))


def test_a_failure_is_told_in_our_words_and_not_in_those_of_its_cause(
    ephemeral: dg.DagsterInstance,
) -> None:
    error = TargetError(
        "target t", met="refused", expected="a connection", way_out="Look.", retryable=True
    )
    error.__cause__ = OSError(f"raw words, {SECRET}")
    said = told(FakeSync({"orders": error}), ephemeral, retries=1)
    assert said[0] == "orders: started"
    again, failed = (line for line in said if line != "orders: started")
    assert re.fullmatch(r"orders: tried again in \d+ s: " + re.escape(str(error)), again)
    assert failed == f"orders: FAILED: {error}"


def test_what_nobody_foresaw_is_told_by_its_cause_without_the_secret(
    ephemeral: dg.DagsterInstance,
) -> None:
    said = told(FakeSync({"orders": OSError(f"no good: {SECRET}")}), ephemeral, retries=0)
    assert said[-1] == "orders: FAILED: OSError: no good: host=h password=***"


def test_a_failure_on_the_run_page_holds_no_secret() -> None:
    error = TargetError("t", met=SECRET, expected="x", way_out="Look.")
    shown = failure(error)
    assert "hunter2" not in f"{shown.description}{shown.metadata}"
    assert "password=***" in str(shown.description)


def _environment(home: Path, tables: Path) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("BQ2PG_", "DAGSTER_", "BIGQUERY_", "STORAGE_"))
    }
    return {
        **kept,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "BQ2PG_TABLES": str(tables),
    }


def _launch(home: Path, tables: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bq2pg_assets.defs.launch", *arguments],
        cwd=ROOT,
        env=_environment(home, tables),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return tmp_path / "home"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "good.yaml").write_text("source: shop.good\nretries: 0\n")
    (tmp_path / "tables" / "bad.yaml").write_text("source: shop.bad\nmood: append\n")
    return tmp_path / "tables"


def test_a_table_that_fails_is_told_and_the_exit_code_is_1(home: Path, tables: Path) -> None:
    """Nothing is set that a sync needs, so that both fail, each with its own reason."""
    done = _launch(home, tables)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert {"good: started", "bad: started"} <= set(lines)
    (good,) = [line for line in lines if line.startswith("good: FAILED:")]
    (bad,) = [line for line in lines if line.startswith("bad: FAILED:")]
    assert "BQ2PG_PG_DSN" in done.stdout[done.stdout.index(good) :]
    assert "mood" in done.stdout[done.stdout.index(bad) :]


def test_the_run_is_on_the_instance_that_the_ui_shows(home: Path, tables: Path) -> None:
    _launch(home, tables, "bad")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert run.asset_selection == {dg.AssetKey(["bq2pg", "invalid", "bad"])}


def test_an_unknown_table_starts_nothing_and_exits_with_2(home: Path, tables: Path) -> None:
    done = _launch(home, tables, "unknown")
    assert done.returncode == 2
    assert "unknown: no such table" in done.stdout
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs() == []


def test_a_missing_home_is_told_plainly(tmp_path: Path, tables: Path) -> None:
    done = _launch(tmp_path / "nowhere", tables)
    assert done.returncode == 2
    assert "DAGSTER_HOME" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_as_cancelled(
    home: Path, tables: Path, number: signal.Signals
) -> None:
    """Waiting for its retry, the run has nothing to clean up and must not be tried again."""
    (tables / "bad.yaml").unlink()
    (tables / "good.yaml").write_text("source: shop.good\nretries: 9\n")
    unreachable = {
        "BQ2PG_PG_DSN": "postgresql://u@127.0.0.1:1/d",
        "BQ2PG_GCS_BUCKET": "none",
        "BQ2PG_BQ_PROJECT": "p",
        "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "bq2pg_assets.defs.launch"],
        cwd=ROOT,
        env={**_environment(home, tables), **unreachable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            if "good: tried again" in line:
                process.send_signal(number)
                break
        started = time.monotonic()
        said.append(process.communicate(timeout=60)[0])
        assert time.monotonic() - started < 30, "it waited for the retry"
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "stopping: waiting for running tables to clean up" in "".join(said)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.CANCELED
