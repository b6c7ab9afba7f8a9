"""Promise: `bq2pg sync` copies what it is told to, shows it, and one table harms no other."""

import re

import pytest
from google.cloud import bigquery

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell, insert_orders
from bq2pg_assets_tests.integration.helpers import until

APPEND = "source: {source}\ntarget: public.{name}\nmode: append\n"
MISSING = "source: {dataset}.missing\nretries: 0\n"


def cells(output: str) -> dict[str, list[str]]:
    """The result table: table → its other cells."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]
    assert lines[0] == ["table", "mode", "rows", "seconds", "rows/s", "cursor"]
    return {line[0]: line[1:] for line in lines[1:]}


def test_first_all_rows_then_nothing_new_then_the_new_ones(
    shell: Shell, orders: str, bigquery_client: bigquery.Client
) -> None:
    shell.table("orders", APPEND.format(source=orders, name="orders"))

    first = shell.run("sync", "orders")
    assert first.returncode == ExitCode.DONE, first.stderr
    assert cells(first.stdout)["orders"][:2] == ["replace", "100"]
    assert cells(first.stdout)["orders"][-1] == "2024-01-05 04:00:00"
    assert "orders: export" in first.stderr

    again = shell.run("sync", "--all")
    assert again.returncode == ExitCode.DONE
    assert cells(again.stdout)["orders"][-1] == "nothing new"

    insert_orders(bigquery_client, orders, first=101, last=107)
    third = shell.run("sync", "orders")
    assert cells(third.stdout)["orders"][:2] == ["append", "7"]
    assert shell.rows("SELECT count(*), count(DISTINCT id) FROM public.orders") == [(107, 107)]


def test_options_reach_the_engine(shell: Shell, orders: str) -> None:
    shell.table("orders", f"source: {orders}\n")
    done = shell.run("sync", "orders", "--where", "id > 10", "--limit", "5")
    assert done.returncode == ExitCode.DONE, done.stderr
    assert shell.rows("SELECT count(*), min(id) > 10 FROM public.orders") == [(5, True)]
    assert shell.run("sync", "orders", "--full-refresh").returncode == ExitCode.DONE
    assert shell.rows("SELECT count(*) FROM public.orders") == [(100,)]


def test_a_failing_table_does_not_stop_the_others(shell: Shell, orders: str) -> None:
    dataset = orders.partition(".")[0]
    shell.table("a_missing", MISSING.format(dataset=dataset))
    shell.table("b_orders", APPEND.format(source=orders, name="b_orders"))
    shell.table("c_wrong", "mode: appendd\n")

    done = shell.run("sync", "--all")
    assert done.returncode == ExitCode.FAILED
    assert cells(done.stdout)["a_missing"][-1] == "failed"
    assert cells(done.stdout)["b_orders"][1] == "100"
    assert "error: table a_missing" in done.stderr
    assert "did you mean append?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_held_by_another_run_is_said_to_be(shell: Shell, orders: str) -> None:
    import psycopg

    shell.table("orders", f"source: {orders}\ntarget: public.orders\n")
    with psycopg.connect(shell.dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('bq2pg:public.orders', 0))")
        done = shell.run("sync", "orders")
    assert done.returncode == ExitCode.LOCKED
    assert cells(done.stdout)["orders"][-1] == "locked by another run"
    assert "another run is loading it" in done.stderr


def test_wait_waits_for_the_other_run_of_the_table(shell: Shell, orders: str) -> None:
    import psycopg

    shell.table("orders", f"source: {orders}\ntarget: public.orders\n")
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = "
    with psycopg.connect(shell.dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('bq2pg:public.orders', 0))")
        child = shell.start("sync", "orders", "--wait", "100")
        until(lambda: shell.rows(f"{waits} current_database()"), "the run to wait")
    output, errors = child.communicate(timeout=60)
    assert child.returncode == ExitCode.DONE, errors
    assert cells(output)["orders"][1] == "100"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sync", "ordrs", "zzz"), ["ordrs: did you mean orders?", "zzz: no name is like it"]),
        (("sync",), ["expected either the names of tables or --all"]),
        (("sync", "orders", "--all"), ["expected either the names of tables or --all"]),
        (("sync", "orders", "--where", " "), ["--where: nothing"]),
        (("sync", "orders", "--limit", "0"), ["--limit"]),
        (("sync", "orders", "--wait", "-1"), ["--wait"]),
        (("snyc",), ["snyc"]),
    ],
)
def test_wrong_usage_starts_nothing(words: tuple[str, ...], told: list[str], shell: Shell) -> None:
    shell.table("orders", "source: shop.orders\n")
    done = shell.run(*words)
    assert done.returncode == ExitCode.USAGE
    assert all(word in done.stderr for word in told), done.stderr
    assert not shell.relations()


def test_all_of_none_says_where_tables_are_looked_for(shell: Shell) -> None:
    (shell.folder / "tables").mkdir()
    done = shell.run("sync", "--all")
    assert done.returncode == ExitCode.USAGE
    assert "there is no table in this folder" in " ".join(done.stderr.split())


def test_missing_and_wrong_settings_are_all_named(shell: Shell) -> None:
    shell.table("orders", "source: shop.orders\n")
    done = shell.run("sync", "orders", BQ2PG_PG_DSN=None, BQ2PG_GCS_BUCKET="gs://b")
    assert done.returncode == ExitCode.USAGE
    assert "BQ2PG_PG_DSN is not set" in done.stderr
    assert "BQ2PG_GCS_BUCKET is not a bucket's name" in done.stderr


def test_without_a_bucket_a_table_is_read_through_the_storage_read_api(
    shell: Shell, orders: str
) -> None:
    shell.table("orders", f"source: {orders}\n")
    planned = shell.run("plan", "orders", BQ2PG_GCS_BUCKET=None)
    assert "Storage Read API (no bucket is configured; of the table itself)" in planned.stdout
    done = shell.run("sync", "orders", BQ2PG_GCS_BUCKET=None)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert shell.rows("SELECT count(*) FROM orders") == [(100,)]


def test_an_unreachable_postgres_shows_no_password_and_no_traceback(shell: Shell) -> None:
    shell.table("orders", "source: shop.orders\nretries: 0\n")
    done = shell.run("sync", "orders", BQ2PG_PG_DSN="postgresql://u:hunter2@127.0.0.1:1/x")
    assert done.returncode == ExitCode.FAILED
    assert "  → " in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
