"""Promise: `bq2pg quarantine` shows the rows that wait and brings them in, with no YAML needed."""

import json

import psycopg

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell


def run(shell: Shell, statement: str) -> None:
    with psycopg.connect(shell.dsn, autocommit=True) as conn:
        conn.execute(statement.encode())


def test_rows_are_listed_replayed_and_gone(shell: Shell, orders: str) -> None:
    empty = shell.run("quarantine", "list")
    assert (empty.returncode, empty.stdout) == (ExitCode.DONE, "no row is quarantined\n")
    shell.table("orders", f"source: {orders}\nmode: append\nbad_rows: quarantine\n")
    planned = shell.run("plan", "orders")
    assert "quarantined, 100 rows at most" in planned.stdout
    run(
        shell,
        "CREATE TABLE orders (id bigint CONSTRAINT no CHECK (id NOT IN (7, 8)), note text, "
        "max_ingested_at timestamptz)",
    )
    done = shell.run("sync", "orders")
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "refused 2 rows: see bq2pg quarantine list orders" in done.stdout + done.stderr

    listed = shell.run("quarantine", "list", "orders")
    assert listed.stdout.splitlines()[0].split() == [
        *("id", "table", "at", "sqlstate", "state", "error"),
    ]
    assert listed.stdout.count("23514") == listed.stdout.count("waits") == 2
    assert "order 7" not in listed.stdout, "content is shown with --json only"
    rows = json.loads(shell.run("quarantine", "list", "--json").stdout)
    assert [json.loads(row["row"])["id"] for row in rows] == [7, 8]

    refused = shell.run("quarantine", "replay", "orders")
    assert refused.returncode == ExitCode.FAILED
    assert refused.stdout.count(": refused: ") == 2
    assert "0 of 2 rows replayed" in refused.stdout
    run(shell, "ALTER TABLE orders DROP CONSTRAINT no")
    one = shell.run("quarantine", "replay", "--id", str(rows[0]["id"]), "--json")
    assert [done["outcome"] for done in json.loads(one.stdout)] == ["replayed"]
    rest = shell.run("quarantine", "replay", "--all")
    assert (rest.returncode, "1 of 1 row replayed" in rest.stdout) == (ExitCode.DONE, True)
    assert shell.rows("SELECT count(*), count(DISTINCT id) FROM orders") == [(100, 100)]
    assert "no row is quarantined" in shell.run("quarantine", "list").stdout
    assert shell.run("quarantine", "list", "--all").stdout.count("replayed") == 2


def test_what_to_replay_must_be_said_and_must_wait(shell: Shell) -> None:
    for words in ((), ("orders", "--all"), ("--id", "1", "--all")):
        done = shell.run("quarantine", "replay", *words)
        assert done.returncode == ExitCode.USAGE
        assert "quarantine list shows what waits" in done.stderr
    unknown = shell.run("quarantine", "replay", "--id", "5")
    assert unknown.returncode == ExitCode.USAGE
    assert "no row 5 waits" in unknown.stderr
