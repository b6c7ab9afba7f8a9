"""Promise: `bq2pg plan` tells what a sync would do, and writes nothing."""

import json

from google.cloud import bigquery, storage

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell, insert_orders

APPEND = "source: {source}\ntarget: public.orders\nmode: append\n"


def test_a_full_load_is_told_and_nothing_is_written(
    shell: Shell, orders: str, storage_client: storage.Client
) -> None:
    shell.table("orders", APPEND.format(source=orders))
    done = shell.run("plan", "orders")
    assert done.returncode == ExitCode.DONE, done.stderr
    for words in (
        "orders → public.orders",
        "window     all rows",
        "replace: all rows anew, in one transaction; creates the table",
        "extract job (a whole plain table: free)",
        "100 rows",
        "price      free",
    ):
        assert words in done.stdout
    assert not shell.relations()
    assert not list(storage_client.list_blobs(shell.variables["BQ2PG_GCS_BUCKET"]))


def test_an_incremental_load_tells_its_window_and_its_price(
    shell: Shell, orders: str, bigquery_client: bigquery.Client
) -> None:
    shell.table("orders", APPEND.format(source=orders))
    assert shell.run("sync", "orders").returncode == ExitCode.DONE
    assert "nothing new" in shell.run("plan", "--all").stdout
    insert_orders(bigquery_client, orders, first=101, last=107)
    before = shell.rows("SELECT count(*) FROM bq2pg.sync_history")
    done = shell.run("plan", "orders", "--verbose")
    assert "max_ingested_at above 2024-01-05 04:00:00Z up to 2024-01-05 11:00:00Z" in done.stdout
    assert "EXPORT DATA statement (only rows above the cursor are read)" in done.stdout
    assert "expects    7 rows" in done.stdout
    assert "never more than" in done.stdout
    assert "max_ingested_at  TIMESTAMP → timestamp with time zone" in done.stdout
    assert shell.rows("SELECT count(*) FROM bq2pg.sync_history") == before


def test_json_holds_plans_and_errors_and_nothing_else_is_on_stdout(
    shell: Shell, orders: str
) -> None:
    dataset = orders.partition(".")[0]
    shell.table("missing", f"source: {dataset}.missing\n")
    shell.table("orders", APPEND.format(source=orders))
    done = shell.run("plan", "--all", "--json", "--limit", "5")
    assert done.returncode == ExitCode.FAILED
    missing, plan = json.loads(done.stdout)
    assert (missing["table"], missing["error"]["kind"]) == ("missing", "SourceError")
    assert missing["error"]["way_out"]
    assert plan["table"] == "orders"
    assert plan["target"] == "public.orders"
    assert (plan["publish"], plan["way"], plan["limit"]) == ("replace", "export_data", 5)
    assert plan["estimate"].keys() == {"bytes", "cost"}
    assert [column["name"] for column in plan["columns"]] == ["id", "note", "max_ingested_at"]
    assert "missing" in done.stderr
