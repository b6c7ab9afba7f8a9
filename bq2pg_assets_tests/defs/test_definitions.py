"""The code location: that it loads, also with a bad file in it, and how fast."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml

from bq2pg_assets.config.load import load_tables
from bq2pg_assets.defs.build import build_definitions
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets_tests.defs.fakes import (
    a_table,
    definitions,
    fake_resources,
    run_all,
    step_failure,
)

ROOT = Path(__file__).parents[2]
MANY = 1000
# Measured on two busy cores: 6 s of processor time after Dagster's own import, 2 of them Google's
# clients, and 250 MB. A job of its own for each schedule took 55 s and 920 MB.
MANY_SECONDS = 15.0
MANY_MEGABYTES = 430.0


def _keys(defs: dg.Definitions) -> set[str]:
    graph = defs.resolve_asset_graph()
    return {key.to_user_string() for key in graph.materializable_asset_keys}


def _bare(**variables: str) -> dict[str, str]:
    """The environment without anything that concerns bq2pg or Dagster, and with `variables`."""
    ours = ("BQ2PG_", "DAGSTER_", "COV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "DAGSTER_DISABLE_TELEMETRY": "1", **variables}


@pytest.mark.parametrize("folder", [DEMO_FOLDER, None], ids=["demo", "empty"])
def test_the_location_loads_as_dagster_loads_it(folder: Path | None, tmp_path: Path) -> None:
    """`dagster definitions validate` reads workspace.yaml and starts the code server."""
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env=_bare(DAGSTER_HOME=str(tmp_path), BQ2PG_TABLES=str(folder or tmp_path)),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location bq2pg_assets" in done.stderr + done.stdout


def _loaded(**variables: str) -> tuple[set[str], set[str]]:
    """Keys of assets and names of schedules, as a process of its own loads them."""
    code = (
        "from bq2pg_assets.definitions import defs\n"
        "keys = defs.resolve_asset_graph().materializable_asset_keys\n"
        "print(*(key.to_user_string() for key in keys))\n"
        "print(*(schedule.name for schedule in defs.schedules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=_bare(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    keys, schedules = done.stdout.splitlines()
    return set(keys.split()), set(schedules.split())


def test_the_demo_ticks_in_a_deployment_that_asks_for_it_only() -> None:
    """Nothing but BQ2PG_ENV is set, as in the image: what lies below the default folder stays."""
    asked, ticking = _loaded(BQ2PG_ENV="production", BQ2PG_TABLES=str(DEMO_FOLDER))
    assert len(asked) == len(load_tables(DEMO_FOLDER).tables) == 7
    assert ticking
    keys, schedules = _loaded(BQ2PG_ENV="production")
    assert not keys & asked
    assert not schedules & ticking


def test_a_table_beside_the_demos_folder_is_loaded_without_the_demo(tmp_path: Path) -> None:
    shutil.copytree(DEMO_FOLDER, tmp_path / "demo")
    (tmp_path / "orders.yaml").write_text("source: shop.orders\nschedule: 0 6 * * *\n")
    keys, schedules = _loaded(BQ2PG_ENV="production", BQ2PG_TABLES=str(tmp_path))
    assert keys == {"public/orders"}
    assert schedules == {"orders_schedule", "bq2pg_clean_nightly"}


class TestBadFile:
    """It becomes an asset that shows what is wrong with it."""

    def test_becomes_a_placeholder_and_the_others_load(self, tmp_path: Path) -> None:
        (tmp_path / "good.yaml").write_text("source: shop.good\n")
        (tmp_path / "bad.yaml").write_text("source: shop.bad\nmood: append\n")
        defs = build_definitions(load_tables(tmp_path), resources=fake_resources())
        assert _keys(defs) == {"public/good", "bq2pg/invalid/bad"}
        shown = defs.resolve_asset_graph().get(dg.AssetKey(["bq2pg", "invalid", "bad"]))
        assert "bad.yaml" in (shown.description or "")
        assert "mood" in (shown.description or "")
        assert shown.group_name == "invalid"

    def test_fails_when_materialized_and_names_the_mistake(
        self, tmp_path: Path, ephemeral: dg.DagsterInstance
    ) -> None:
        (tmp_path / "bad.yaml").write_text("source: shop.bad\nmood: append\n")
        defs = build_definitions(load_tables(tmp_path), resources=fake_resources())
        result = run_all(defs, ephemeral)
        assert not result.success
        assert "mood" in step_failure(result, "invalid__bad").description

    def test_that_no_one_can_read_at_all_is_shown_too(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("source: [unclosed\n")
        defs = build_definitions(load_tables(tmp_path), resources=fake_resources())
        assert _keys(defs) == {"bq2pg/invalid/bad"}

    def test_an_empty_folder_shows_as_one(self, tmp_path: Path) -> None:
        defs = build_definitions(load_tables(tmp_path), resources=fake_resources())
        (key,) = _keys(defs)
        assert key.startswith("bq2pg/invalid/")

    @pytest.mark.parametrize(
        "fields",
        [
            {"owners": ["nobody in particular"]},
            {"tags": {"no spaces": "allowed"}},
            {"group": "no spaces"},
        ],
    )
    def test_what_only_dagster_refuses_is_caught_for_its_table_alone(
        self, fields: dict[str, object], ephemeral: dg.DagsterInstance
    ) -> None:
        defs = definitions(a_table("good"), a_table("bad", **fields))
        assert _keys(defs) == {"sales/good", "bq2pg/invalid/bad"}
        result = run_all(defs, ephemeral)
        assert "Dagster refuses it" in step_failure(result, "invalid__bad").description

    def test_a_name_that_dagster_keeps_for_itself_is_told(
        self, ephemeral: dg.DagsterInstance
    ) -> None:
        result = run_all(definitions(a_table("output")), ephemeral)
        assert "not a valid name" in step_failure(result, "invalid__output").description

    def test_cannot_take_a_tables_place(self, tmp_path: Path) -> None:
        """Whatever the tables are called: the same key or step twice, and nothing would load."""
        (tmp_path / "bad.yaml").write_text("source: shop.bad\nmood: append\n")
        (tmp_path / "invalid__bad.yaml").write_text("source: shop.a\ntarget: invalid.bad\n")
        (tmp_path / "sync_all.yaml").write_text("source: shop.b\ntarget: bq2pg.invalid\n")
        defs = build_definitions(load_tables(tmp_path), resources=fake_resources())
        assert _keys(defs) == {"bq2pg/invalid/bad", "invalid/bad", "bq2pg/invalid"}

    def test_two_targets_with_one_key_keep_the_first(self) -> None:
        """Distinct for PostgreSQL, alike in the characters Dagster takes."""
        defs = definitions(a_table("a", target='"x y".t'), a_table("b", target='"x_y".t'))
        assert _keys(defs) == {"x_y/t", "bq2pg/invalid/b"}


def test_a_source_of_two_tables_is_one_asset() -> None:
    one, two = a_table("one", source="shop.s", group="a"), a_table("two", source="shop.s")
    graph = definitions(one, two).resolve_asset_graph()
    key = dg.AssetKey(["bigquery", "shop", "s"])
    assert graph.get(key).group_name == "a"
    assert graph.get(key).child_keys == {
        dg.AssetKey(["sales", "one"]),
        dg.AssetKey(["sales", "two"]),
    }


def test_the_job_loads_every_table(ephemeral: dg.DagsterInstance) -> None:
    result = run_all(definitions(*map(a_table, "abc")), ephemeral)
    keys = {event.asset_key for event in result.get_asset_materialization_events()}
    assert keys == {dg.AssetKey(["sales", name]) for name in "abc"}


def test_runs_use_the_threads_executor() -> None:
    job = definitions(a_table()).resolve_job_def("sync_all")
    assert job.executor_def.name == "threads"


def test_a_thousand_tables_load_fast_and_light(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every run's process loads them again before it does anything."""
    for number in range(MANY):
        fields = {
            "source": f"shop.t{number}",
            "target": f"sales.t{number}",
            "mode": "append",
            "schedule": "0 6 * * *",
            "automation": "on_source_change",
        }
        (tmp_path / f"t{number}.yaml").write_text(yaml.safe_dump(fields))
    code = (
        "import dagster, resource, time; start = time.process_time()\n"
        "from bq2pg_assets.definitions import defs\n"
        "keys = defs.get_repository_def().asset_graph.materializable_asset_keys\n"
        "print(len(keys), time.process_time() - start,"
        " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "BQ2PG_TABLES": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    tables, seconds, megabytes = map(float, done.stdout.split())
    record_property("seconds", seconds)
    record_property("megabytes", megabytes)
    assert tables == MANY
    assert seconds < MANY_SECONDS
    assert megabytes < MANY_MEGABYTES


def test_both_dagster_yamls_say_the_same_but_for_the_storage() -> None:
    local, deployed = (
        yaml.safe_load((ROOT / name).read_text())
        for name in ("dagster.yaml", "deploy/dagster.yaml")
    )
    assert local.pop("storage")["custom"]["class"] == "SqliteStorage"
    assert deployed.pop("storage")["custom"]["class"] == "PostgresStorage"
    assert local == deployed
