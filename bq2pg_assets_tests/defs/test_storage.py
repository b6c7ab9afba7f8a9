"""Dagster's storage as both dagster.yaml name it: what was stored is there, connections are kept.

Belongs here: what bq2pg changes in it. Does not: what Dagster stores.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import yaml
from sqlalchemy import event

from bq2pg_assets.defs import sqlite_storage
from bq2pg_assets.defs.postgres_storage import KEPT
from bq2pg_assets.defs.sqlite_storage import SqliteEvents
from bq2pg_assets_tests.conftest import ROOT

STEPS = 6


@dg.op
def nothing() -> None:
    """A step."""


@dg.job
def job() -> None:
    """As many steps as there are calls."""
    for number in range(STEPS):
        nothing.alias(f"step_{number}")()


def _home(folder: Path, *, of: str) -> Path:
    """A home of Dagster with one of the project's dagster.yaml."""
    given = yaml.safe_load((ROOT / of).read_text())
    given["storage"]["custom"]["config"].pop("base_dir", None)
    if given["storage"]["custom"]["class"] == "SqliteStorage":
        given["storage"]["custom"]["config"]["base_dir"] = str(folder / "dagster")
    (folder / "dagster.yaml").write_text(yaml.dump({"storage": given["storage"]}))
    return folder


@pytest.fixture
def local(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on SQLite."""
    with dg.DagsterInstance.from_config(str(_home(tmp_path, of="dagster.yaml"))) as instance:
        yield instance


@pytest.fixture
def deployed(
    tmp_path: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """An instance on PostgreSQL."""
    parts = psycopg.conninfo.conninfo_to_dict(postgres_dsn)
    variables = {"HOST": "host", "PORT": "port", "USERNAME": "user", "DB": "dbname"}
    for name, part in variables.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", str(parts[part]))
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", str(parts.get("password") or "none"))
    home = _home(tmp_path, of="deploy/dagster.yaml")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
    for engine in _engines(instance):
        engine.dispose()


def _run(instance: dg.DagsterInstance) -> str:
    result = job.execute_in_process(instance=instance)
    assert result.success
    return result.run_id


def _engines(instance: dg.DagsterInstance) -> list[Any]:
    storages: tuple[Any, ...] = (instance.run_storage, instance.event_log_storage)
    return [storage._engine for storage in storages]


def _connects(engine: Any) -> list[object]:
    opened: list[object] = []
    event.listen(engine, "connect", lambda connection, _: opened.append(connection))
    return opened


def test_what_dagster_s_own_sqlite_storage_wrote_is_there(tmp_path: Path) -> None:
    own = yaml.dump({"storage": {"sqlite": {"base_dir": str(tmp_path / "dagster")}}})
    (tmp_path / "dagster.yaml").write_text(own)
    with dg.DagsterInstance.from_config(str(tmp_path)) as before:
        run_id = _run(before)
        written = len(before.all_logs(run_id))
    with dg.DagsterInstance.from_config(str(_home(tmp_path, of="dagster.yaml"))) as after:
        assert isinstance(after.event_log_storage, SqliteEvents)
        assert [run.run_id for run in after.get_runs()] == [run_id]
        assert len(after.all_logs(run_id)) == written


def test_a_run_opens_few_connections_to_sqlite_however_many_steps_it_has(
    local: dg.DagsterInstance,
) -> None:
    _run(local)
    storage: Any = local.event_log_storage
    opened = _connects(storage._index)
    _run(local)
    assert len(opened) == 0


def test_of_many_runs_the_databases_of_the_last_stay_open(local: dg.DagsterInstance) -> None:
    """A webserver that shows a thousand runs would otherwise hold a thousand files."""
    runs = [_run(local) for _ in range(sqlite_storage.MOST_SHARDS + 2)]
    storage: Any = local.event_log_storage
    assert list(storage._engines) == runs[2:]
    assert local.all_logs(runs[0]), "an older one is opened again"


def test_a_run_on_postgres_keeps_its_connections_however_many_steps_it_has(
    deployed: dg.DagsterInstance,
) -> None:
    opened = [_connects(engine) for engine in _engines(deployed)]
    _run(deployed)
    assert sum(map(len, opened)) <= 2 * KEPT


def test_dagster_goes_on_after_its_postgres_cut_every_connection(
    deployed: dg.DagsterInstance, postgres_dsn: str
) -> None:
    """A connection that was kept may be dead by now; that is noticed before it is used."""
    _run(deployed)
    with psycopg.connect(postgres_dsn, autocommit=True) as conn:
        cut = conn.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert cut is not None
    assert cut[0] > 0
    run_id = _run(deployed)
    assert deployed.get_run_by_id(run_id) is not None
