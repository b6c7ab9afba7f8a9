"""Promises: each row names data, programs and pins that exist; a short slice of it runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from bq2pg_assets_tests.bench import generated, peers
from bq2pg_assets_tests.bench.contest import Row
from bq2pg_assets_tests.bench.datasets import DATA
from bq2pg_assets_tests.bench.rows import ROWS
from bq2pg_assets_tests.bench.run import CONTESTANTS
from bq2pg_assets_tests.bench.timing import ROOT

PIN = re.compile(r"^[a-z0-9-]+(\[[a-z,]+\])?==[0-9.]+(; .*)?$")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_data_programs_and_environments_that_exist(row: Row) -> None:
    assert {entry.data or row.data for entry in row.entries} <= set(DATA)
    assert {entry.contestant.module for entry in row.entries} <= {
        path.stem for path in CONTESTANTS.glob("*.py")
    }
    for entry in row.entries:
        if entry.contestant.environment:
            assert (peers.REQUIREMENTS / f"{entry.contestant.environment}.txt").exists()


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("path", sorted(peers.REQUIREMENTS.iterdir()), ids=lambda path: path.stem)
def test_an_environment_is_pins_and_comments(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if not PIN.match(line)] == []


@pytest.mark.parametrize("name", ["nested", "wide", "one_group", "small"])
def test_made_rows_are_the_same_each_time_and_have_the_columns_they_say(
    name: str, tmp_path: Path
) -> None:
    data = DATA[name]
    first, again = (pa.concat_tables(data.rows(40, 2, tmp_path)) for _ in range(2))
    assert first.equals(again)
    assert first.schema.names == [field.name for field in data.fields]


def test_the_wide_table_has_a_column_of_every_type() -> None:
    from bq2pg_assets.engine.typemap import RULES, type_key

    assert {type_key(field) for field in generated.WIDE} == set(RULES) - {"STRUCT"}


def test_a_short_slice_runs_from_servers_to_page(tmp_path: Path, emulators: Path) -> None:
    folder = tmp_path / "bench"
    words = ["--quick", "--part", "0.02", "--only", "wide", "--only", "memory-shard"]
    done = subprocess.run(
        [sys.executable, "-m", "bq2pg_assets_tests.bench", *words, "--folder", str(folder)],
        cwd=ROOT,
        env={**os.environ, "BQ2PG_EMULATORS_DIR": str(emulators)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads((folder / "parts" / "results.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["wide", "memory-shard"]
    assert [e["error"] for row in found["rows"] for e in row["entries"]] == [None] * 3
    assert "| wide" not in (folder / "parts" / "benchmarks.md").read_text()
    assert "a column of every type" in (folder / "parts" / "benchmarks.md").read_text()
