"""Promise: `bq2pg status` shows what PostgreSQL remembers of every configured table."""

import json

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.cli.status import status_lines
from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.model import Outcome
from bq2pg_assets.engine.results import TableStatus
from bq2pg_assets_tests.cli.conftest import Shell


def test_before_and_after_a_sync_and_for_a_failed_one(shell: Shell, orders: str) -> None:
    dataset = orders.partition(".")[0]
    shell.table("missing", f"source: {dataset}.missing\nretries: 0\n")
    shell.table("never", f"source: {orders}\ntarget: public.never\n")
    shell.table("orders", f"source: {orders}\nmode: append\n")

    fresh = shell.run("status")
    assert fresh.returncode == ExitCode.DONE, fresh.stderr
    assert fresh.stdout.count("never synced") == 3
    assert not shell.relations(), "status writes nothing"

    shell.run("sync", "missing", "orders")
    after = shell.run("status", "--json")
    assert after.returncode == ExitCode.DONE
    found = {one["table"]: one for one in json.loads(after.stdout)}
    closed = {"state": "closed", "failed_runs": 0, "until": None}
    never = {"table": "never", "circuit": closed, "last_attempt": None, "cursor": None}
    assert found["never"] == never
    assert found["missing"]["circuit"] == closed | {"failed_runs": 1}
    assert found["orders"]["cursor"].startswith("2024-01-05T04:00:00")
    assert found["orders"]["last_attempt"]["outcome"] == "loaded"
    assert found["orders"]["last_attempt"]["rows"] == 100
    assert found["missing"]["last_attempt"]["outcome"] == "failed"
    assert "missing" in found["missing"]["last_attempt"]["error"]


def test_it_needs_no_credentials_of_google(shell: Shell, orders: str) -> None:
    shell.table("orders", f"source: {orders}\n")
    nothing = shell.folder / "none.json"
    done = shell.run(
        "status",
        BIGQUERY_EMULATOR_HOST=None,
        BIGQUERY_STORAGE_EMULATOR_HOST=None,
        STORAGE_EMULATOR_HOST=None,
        GOOGLE_APPLICATION_CREDENTIALS=str(nothing),
    )
    assert done.returncode == ExitCode.DONE, done.stderr


def test_an_error_is_told_below_without_its_secrets() -> None:
    failed = TableStatus(
        "t", Outcome.FAILED, "append", 0, 1.0, None, None, 2048, "run", "at password=hunter2 x"
    )
    circuits = dict.fromkeys("tu", Circuit(CircuitState.CLOSED))
    assert status_lines([("t", failed), ("u", None)], circuits=circuits) == [
        "table  last attempt  mode    rows  seconds  finished  cursor   billed",
        "t      failed        append     0      1.0                    2.0 KiB",
        "u      never synced",
        "",
        "t: at password=*** x",
    ]
