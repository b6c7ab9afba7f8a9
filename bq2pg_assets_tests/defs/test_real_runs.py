"""Runs on the real stack: started by the page, the sensor or a terminal, ended by any of them.

The promise behind each: whatever the page shows, the live table and its cursor agree with it.
"""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets.local.stack import StackState
from bq2pg_assets_tests.conftest import bigquery_client_of
from bq2pg_assets_tests.defs.fakes import a_table, definitions, run_all
from bq2pg_assets_tests.defs.webserver import (
    ROOT,
    DagsterPage,
    dagster_dev,
    process_environment,
    until,
)
from bq2pg_assets_tests.integration.helpers import Snapshot, World

KEY = ["sales", "orders"]
FIRST, SECOND = "2024-01-01 00:00:00", "2024-01-02 00:00:00"
ROWS = "SELECT id, TIMESTAMP '{at}' AS max_ingested_at FROM UNNEST(GENERATE_ARRAY(1, {n})) AS id"

pytestmark = pytest.mark.timeout(600)


class Shop:
    """A world, a folder of tables, and the variables that name both.

    `orders` is loaded when asked; `items` by the sensor, where that runs by itself.
    """

    def __init__(self, variables: dict[str, str], folder: Path, *, dsn: str, dataset: str) -> None:
        self.variables = {
            **variables,
            "BQ2PG_PG_DSN": dsn,
            "BQ2PG_GCS_BUCKET": f"test-{uuid.uuid4().hex[:12]}",
            "BQ2PG_TABLES": str(folder),
        }
        client = bigquery_client_of(variables)
        store = storage.Client(
            project=variables["BQ2PG_BQ_PROJECT"],
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": variables["STORAGE_EMULATOR_HOST"]},
        )
        store.create_bucket(self.variables["BQ2PG_GCS_BUCKET"])
        client.create_dataset(dataset, exists_ok=True)
        self.world = World(client, store, self.variables["BQ2PG_GCS_BUCKET"], dataset, dsn)
        (folder / "orders.yaml").write_text(
            f"source: {dataset}.orders\ntarget: sales.orders\nmode: append\n"
        )
        (folder / "items.yaml").write_text(
            f"source: {dataset}.items\ntarget: sales.items\nautomation: on_source_change\n"
        )

    def orders(self, number: int, *, at: str) -> None:
        """Give the source so many rows, ingested at that time."""
        self.world.make_source(ROWS.format(at=at, n=number), name="orders")

    @property
    def loaded(self) -> int:
        """Rows in the live table."""
        return int(self.world.pg("SELECT count(*) FROM sales.orders")[0][0])

    @property
    def cursor(self) -> datetime | None:
        """The stored cursor."""
        (row,) = self.world.pg(
            "SELECT last_synced_at FROM sales.sync_state WHERE table_name = 'sales.orders'"
        )
        return row[0]  # type: ignore[no-any-return]

    def running_exports(self) -> list[Any]:
        """BigQuery's export jobs of this source that are running."""
        jobs = self.world.client.list_jobs(max_results=1000, state_filter="running")
        return [job for job in jobs if job.job_id.startswith("bq2pg_orders_")]

    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt to load orders, oldest first."""
        return [a for a in self.world.history() if a["table_name"] == "orders"]


@pytest.fixture(scope="module")
def dsn(stack: StackState) -> Iterator[str]:
    """A database for the whole file: starting Dagster's page takes longer than its tests."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        yield psycopg.conninfo.make_conninfo(stack.postgres_dsn, dbname=name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def shop(stack_variables: dict[str, str], folder: Path, dsn: str) -> Shop:
    """The source on emulators that export at once."""
    return Shop(stack_variables, folder, dsn=dsn, dataset="shop_of_runs")


@pytest.fixture(scope="module")
def slow_shop(slow_stack: StackState, shop: Shop, folder: Path, dsn: str) -> Shop:
    """The same table on emulators whose exports take a minute; loaded from `shop` before."""
    slow = Shop(local_stack.environment(slow_stack), folder, dsn=dsn, dataset="shop_of_runs")
    slow.orders(9, at=SECOND)
    if not shop.world.exists("sales.orders"):
        shop.orders(3, at=FIRST)
        _launch(shop, folder.parent / "launch-home")
    return slow


@pytest.fixture(scope="module")
def page(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    """As deployed, with the sensor running; it has loaded `items` and nothing is under way."""
    home = tmp_path_factory.mktemp("fast") / "home"
    shop.world.make_source("SELECT 1 AS id", name="items")
    with dagster_dev(home, {**shop.variables, "BQ2PG_ENV": "production"}) as page:
        until(lambda: shop.world.exists("sales.items"), "the sensor to act", seconds=150)
        until(lambda: _ended(page), "its run to end", seconds=60)
        yield page
        assert {path.name for path in home.iterdir()} == {".local", "dagster.yaml", "dev.log"}


@pytest.fixture(scope="module")
def slow_page(slow_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    home = tmp_path_factory.mktemp("slow") / "home"
    with dagster_dev(home, slow_shop.variables) as page:
        yield page


def test_the_sensor_loads_what_changed_and_records_the_source(
    shop: Shop, page: DagsterPage
) -> None:
    assert shop.world.rows("sales.items") == [(1,)]
    (run,) = [run for run in page.runs() if run["tags"].get("dagster/sensor_name")]
    assert run["tags"]["dagster/sensor_name"] == "bigquery_source_changes"
    assert (run["status"], run["assets"]) == ("SUCCESS", [["sales", "items"]])
    modified = shop.world.client.get_table(f"{shop.world.dataset}.items").modified
    source = ["bigquery", shop.world.dataset, "items"]
    assert page.data_versions(source) == [modified.isoformat()]


def test_launched_from_the_page_a_run_does_what_its_run_config_says(
    shop: Shop, page: DagsterPage
) -> None:
    shop.orders(3, at=FIRST)
    before = len(shop.attempts())
    first = page.ended(page.launch(KEY, step="orders", config={"limit": 2}))
    assert first["status"] == "SUCCESS", first["events"]
    assert shop.loaded == 2
    second = page.ended(page.launch(KEY, step="orders", config={"full_refresh": True}))
    assert second["status"] == "SUCCESS", second["events"]
    assert shop.loaded == 3
    third = page.ended(page.launch(KEY, step="orders"))
    assert third["status"] == "SUCCESS", third["events"]
    assert shop.loaded == 3
    assert shop.cursor == datetime.fromisoformat(FIRST)
    runs = (first, second, third)
    assert [_shown(run, "outcome") for run in runs] == ["loaded", "loaded", "nothing_new"]
    assert [_shown(run, "rows") for run in runs] == [2, 3, 0]
    assert [_shown(run, "limit") for run in runs] == [2, None, None]
    assert [attempt["launcher"] for attempt in shop.attempts()[before:]] == ["dagster"] * 3
    shop.world.no_leftovers()


def test_terminated_from_the_page_a_run_leaves_nothing_and_changes_nothing(
    slow_shop: Shop, slow_page: DagsterPage
) -> None:
    before = _snapshot(slow_shop)
    run_id = slow_page.launch(KEY, step="orders", config={"full_refresh": True})
    (job,) = until(lambda: slow_shop.running_exports(), "the export to run", seconds=60)
    slow_page.terminate(run_id)
    run = slow_page.ended(run_id)
    # Read at once: what is not done when the page says CANCELED is too late.
    attempts = [a for a in slow_shop.attempts() if a["run_id"] == run_id]
    leftovers, sessions = slow_shop.world.objects(), _sessions(slow_shop)
    assert run["status"] == "CANCELED", run["events"]
    assert _snapshot(slow_shop) == before
    assert (leftovers, sessions) == ([], [])
    assert [attempt["outcome"] for attempt in attempts] == ["cancelled"], "it was tried again"
    assert attempts[0]["finished_at"] <= datetime.fromtimestamp(run["endTime"], UTC)
    assert _stopped(slow_shop, job.job_id)
    slow_shop.world.no_leftovers()


def test_a_run_whose_process_is_told_to_end_cleans_up_and_is_started_again(
    slow_shop: Shop, slow_page: DagsterPage
) -> None:
    """SIGTERM, as from a shutdown of the machine: nobody asked Dagster for a termination."""
    before = _snapshot(slow_shop)
    run_id = slow_page.launch(KEY, step="orders", config={"full_refresh": True})
    (job,) = until(lambda: slow_shop.running_exports(), "the export to run", seconds=60)
    messages = " ".join(event.get("message", "") for event in slow_page.run(run_id)["events"])
    found = re.search(r"Started process for run \(pid: (\d+)\)", messages)
    assert found is not None, messages
    os.kill(int(found[1]), signal.SIGTERM)
    run = slow_page.ended(run_id)
    assert run["status"] == "FAILURE", run["events"]
    assert _snapshot(slow_shop) == before
    assert _outcomes(slow_shop, run_id) == ["cancelled"]
    assert _stopped(slow_shop, job.job_id)
    (again,) = until(lambda: slow_page.retries(run_id), "the run to be retried", seconds=60)
    until(lambda: slow_shop.running_exports(), "the export to run", seconds=60)
    slow_page.terminate(again)
    assert slow_page.ended(again)["status"] == "CANCELED"
    assert _outcomes(slow_shop, again) == ["cancelled"]
    assert _snapshot(slow_shop) == before
    slow_shop.world.no_leftovers()


def test_launched_from_a_terminal_a_run_can_be_cancelled_there(
    slow_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _snapshot(slow_shop)
    home = _home(tmp_path / "home")
    process = subprocess.Popen(
        [sys.executable, "-m", "bq2pg_assets.defs.launch", "orders", "--full-refresh"],
        cwd=home,
        env={**process_environment(home), **slow_shop.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        (job,) = until(lambda: slow_shop.running_exports(), "the export to run", seconds=60)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert _snapshot(slow_shop) == before
    assert slow_shop.attempts()[-1]["outcome"] == "cancelled", said
    assert "stopping: waiting for running tables to clean up" in said
    monkeypatch.chdir(home)  # the paths in dagster.yaml are relative to it
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert _stopped(slow_shop, job.job_id)
    slow_shop.world.no_leftovers()


def test_deployed_on_postgresql_runs_are_kept_there(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """deploy/dagster.yaml, with the executor's threads writing to the database at once."""
    parts = psycopg.conninfo.conninfo_to_dict(postgres_dsn)
    names = {"HOST": "host", "PORT": "port", "USERNAME": "user", "DB": "dbname"}
    for name, part in names.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", str(parts[part]))
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", str(parts.get("password") or "none is asked for"))
    monkeypatch.chdir(tmp_path)
    names_of_tables = [f"t{number}" for number in range(8)]
    with dg.DagsterInstance.from_config(str(ROOT / "deploy")) as instance:
        result = run_all(definitions(*map(a_table, names_of_tables)), instance)
        assert result.success
        assert instance.get_run_by_id(result.run_id) is not None
    with psycopg.connect(postgres_dsn) as conn:
        found = conn.execute(
            "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchone()
    assert found == (8,)


def _launch(shop: Shop, home: Path) -> str:
    """Load everything through Dagster in a process; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "bq2pg_assets.defs.launch", "orders"],
        cwd=_home(home),
        env={**process_environment(home), **shop.variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _home(folder: Path) -> Path:
    folder.mkdir()
    (folder / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    return folder


def _snapshot(shop: Shop) -> tuple[list[Any], list[Any]]:
    found = Snapshot.of(shop.world, "sales.orders")
    assert found.rows, "there is no live table to be left alone"
    return found.rows, shop.world.pg("SELECT * FROM sales.sync_state")


def _shown(run: Any, label: str) -> Any:
    """A metadata value of the run's materialization, None when it is not there."""
    (event,) = [e for e in run["events"] if e["__typename"] == "MaterializationEvent"]
    values = {e["label"]: e.get("text", e.get("intValue")) for e in event["metadataEntries"]}
    return values.get(label)


def _outcomes(shop: Shop, run_id: str) -> list[str]:
    return [a["outcome"] for a in shop.attempts() if a["run_id"] == run_id]


def _ended(page: DagsterPage) -> bool:
    runs = page.runs()
    return bool(runs) and all(run["status"] in ("SUCCESS", "FAILURE") for run in runs)


def _stopped(shop: Shop, job_id: str) -> bool:
    """Whether BigQuery says that the job was cancelled."""
    job = shop.world.client.get_job(job_id)
    return job.state == "DONE" and (job.error_result or {}).get("reason") == "stopped"


def _sessions(shop: Shop) -> list[Any]:
    return shop.world.pg(
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'bq2pg%'"
    )
