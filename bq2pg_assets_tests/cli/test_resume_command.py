"""Promise: `bq2pg status` tells which tables are left out, and `bq2pg resume` takes them in."""

import json

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell

MISSING = "source: {dataset}.missing\nretries: 0\ncircuit_breaker: 2\n"


def circuits(shell: Shell) -> dict[str, str]:
    found = json.loads(shell.run("status", "--json").stdout)
    return {one["table"]: one["circuit"]["state"] for one in found}


def test_a_table_that_keeps_failing_is_told_and_resumed(shell: Shell, orders: str) -> None:
    shell.table("missing", MISSING.format(dataset=orders.partition(".")[0]))
    shell.table("orders", f"source: {orders}\n")
    for _ in range(2):
        assert shell.run("sync", "missing").returncode == ExitCode.FAILED
    assert circuits(shell) == {"missing": "open", "orders": "closed"}
    told = shell.run("status").stdout
    assert "missing: circuit open: the last 2 runs failed; it is left out until " in told
    assert "`bq2pg resume missing` closes it." in told

    # A person's sync is never left out: it fails for its own reason.
    again = shell.run("sync", "missing")
    assert "circuit" not in again.stdout + again.stderr

    resumed = shell.run("resume", "--all")
    assert resumed.returncode == ExitCode.DONE, resumed.stderr
    assert resumed.stdout.splitlines() == [
        "missing: circuit closed",
        "orders: not left out; nothing to do",
    ]
    assert circuits(shell) == {"missing": "closed", "orders": "closed"}
    [(run_id, launcher)] = shell.rows(
        "SELECT run_id, launcher FROM bq2pg.sync_history WHERE outcome = 'resumed'"
    )
    assert run_id
    assert launcher == "cli"
    assert "failed" in shell.run("status").stdout, "the last attempt stays in sight"


def test_nothing_is_written_where_nothing_was_synced(shell: Shell) -> None:
    shell.table("orders", "source: shop.orders\n")
    done = shell.run("resume", "orders")
    assert done.stdout == "orders: not left out; nothing to do\n"
    assert not shell.relations()


def test_a_name_that_is_none_is_refused(shell: Shell) -> None:
    shell.table("orders", "source: shop.orders\n")
    done = shell.run("resume", "ordrs")
    assert done.returncode == ExitCode.USAGE
    assert "did you mean orders?" in done.stderr
