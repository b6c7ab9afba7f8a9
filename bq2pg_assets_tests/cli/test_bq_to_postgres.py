"""Promise: `bq-to-postgres` copies one table with nothing but its arguments."""

import pytest
from google.cloud import bigquery

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell, insert_orders


def words(shell: Shell, source: str, **changed: str) -> list[str]:
    dataset, _, table = source.partition(".")
    given = {
        "bq_dataset": dataset,
        "bq_table": table,
        "bq_location": "US",
        "pg_conn": shell.dsn,
        "pg_table": "public.orders",
        "gcs_bucket": shell.variables["BQ2PG_GCS_BUCKET"],
    } | changed
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


# What only the YAML way reads is taken away, to see that it is not needed.
NO_YAML = {"BQ2PG_TABLES": "", "BQ2PG_PG_DSN": "", "BQ2PG_GCS_BUCKET": ""}


def test_all_rows_then_nothing_new_then_the_new_ones(
    shell: Shell, orders: str, bigquery_client: bigquery.Client
) -> None:
    first = shell.bq_to_postgres(*words(shell, orders), **NO_YAML)
    assert first.returncode == ExitCode.DONE, first.stderr
    (line,) = first.stdout.splitlines()
    assert line.startswith("public.orders: 100 rows in ")
    assert "cursor 2024-01-05 04:00:00" in line
    assert "orders: export" in first.stderr

    again = shell.bq_to_postgres(*words(shell, orders), **NO_YAML)
    assert again.stdout == "public.orders: nothing new\n"

    insert_orders(bigquery_client, orders, first=101, last=107)
    third = shell.bq_to_postgres(*words(shell, orders), **NO_YAML)
    assert third.stdout.startswith("public.orders: 7 rows in ")
    assert shell.rows("SELECT count(*), count(DISTINCT id) FROM orders") == [(107, 107)]
    assert shell.rows("SELECT table_name, last_synced_at::text FROM sync_state") == [
        ("public.orders", "2024-01-05 11:00:00")
    ]


def test_the_dataset_may_name_its_project(
    shell: Shell, orders: str, bigquery_client: bigquery.Client
) -> None:
    dataset = f"{bigquery_client.project}.{orders.partition('.')[0]}"
    done = shell.bq_to_postgres(
        *words(shell, orders, bq_dataset=dataset),
        BQ2PG_BQ_PROJECT="",
        GOOGLE_CLOUD_PROJECT=bigquery_client.project,
    )
    assert done.returncode == ExitCode.DONE, done.stderr


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"bq_table": "missing"}, "missing"),
        ({"bq_dataset": "missing"}, "missing"),
        ({"gcs_bucket": "no-such-bucket-here"}, "no-such-bucket-here"),
    ],
)
def test_what_does_not_exist_is_named(
    changed: dict[str, str], told: str, shell: Shell, orders: str
) -> None:
    done = shell.bq_to_postgres(*words(shell, orders, **changed))
    assert done.returncode == ExitCode.FAILED
    assert told in done.stderr
    # Progress, then the error and its way out: nothing of the cleaning, for there is nothing.
    before, error, after = done.stderr.rpartition("error: ")
    steps = {line.partition(": ")[2] for line in before.splitlines()}
    assert steps <= {"plan", "export", "copy"}, done.stderr
    assert "http" not in error + after
    assert after.count("  → ") == 1
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_the_connection_string_is_shown_nowhere(shell: Shell, orders: str) -> None:
    conn = f"{shell.dsn} password=hunter2"
    done = shell.bq_to_postgres(*words(shell, orders, pg_conn=conn))
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "warning: --pg-conn holds a password" in done.stderr
    assert "~/.pgpass" in done.stderr
    nowhere = f"{conn} dbname=no_such_database"
    failed = shell.bq_to_postgres(*words(shell, orders, pg_conn=nowhere))
    assert failed.returncode == ExitCode.FAILED
    assert "hunter2" not in done.stdout + done.stderr + failed.stdout + failed.stderr


@pytest.mark.parametrize(
    "changed",
    [
        {"pg_table": "orders; CREATE TABLE evil()"},
        {"pg_table": 'orders"; CREATE TABLE evil(); --'},
        {"bq_table": "orders` AS x; CREATE TABLE evil(); --"},
        {"bq_dataset": "shop`.x; --"},
        {"gcs_bucket": "b/../x', overwrite=true) --"},
        {"bq_location": "US'; --"},
    ],
)
def test_injections_are_refused_before_anything_is_made(
    changed: dict[str, str], shell: Shell
) -> None:
    done = shell.bq_to_postgres(*words(shell, "shop.orders", **changed))
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert f"--{next(iter(changed)).replace('_', '-')}" in done.stderr
    assert not shell.relations()


def test_a_quoted_name_full_of_sql_is_a_name(shell: Shell, orders: str) -> None:
    name = "orders\"\"; CREATE TABLE evil(); -- 'x' %s {}"
    done = shell.bq_to_postgres(*words(shell, orders, pg_table=f'public."{name}"'))
    assert done.returncode == ExitCode.DONE, done.stderr
    made = [
        row[0]
        for row in shell.rows(
            "SELECT relname FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
    ]
    assert made == [name.replace('""', '"'), "sync_state"]
