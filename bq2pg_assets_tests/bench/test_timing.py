"""Promises: figures are the contestant's own, memory that of all it starts, a failure is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bq2pg_assets_tests.bench.timing import MIB, ContestantError, resident, timed

HOLDS = "import sys; held = bytearray(64 << 20); print(flush=True); sys.stdin.read()"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_last_line_that_a_contestant_prints_is_its_figures(tmp_path: Path) -> None:
    code = "import json, sys; print('noise'); print(json.dumps({'seconds': json.load(sys.stdin)}))"
    found = timed(python(code), 2, home=tmp_path / "home")  # type: ignore[arg-type]
    assert found["seconds"] == 2
    assert set(found) == {"seconds", "peak_mb"}


def test_each_turn_begins_in_an_empty_folder(tmp_path: Path) -> None:
    code = "import json, os; seconds = len(os.listdir()); open('left', 'w').close(); "
    code += "print(json.dumps({'seconds': seconds}))"
    turns = [timed(python(code), {}, home=tmp_path / "home") for _ in range(2)]
    assert [turn["seconds"] for turn in turns] == [0, 0]


def test_what_a_failed_contestant_said_is_its_error(tmp_path: Path) -> None:
    with pytest.raises(ContestantError, match="no such table"):
        timed(python("import sys; sys.exit('no such table')"), {}, home=tmp_path / "home")


def test_the_memory_of_a_process_that_another_one_started_counts() -> None:
    before = resident(os.getpid())
    with subprocess.Popen(
        python(HOLDS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert resident(os.getpid()) - before > 64 * MIB
        child.communicate()
