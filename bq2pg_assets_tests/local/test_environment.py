"""The emulators' environment is found, built once, and refused with a way out."""

from pathlib import Path

import pytest

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local import environment
from bq2pg_assets.local.python import find_python, python_version


def test_the_python_that_is_found_runs_and_is_new_enough() -> None:
    version = python_version(find_python())
    assert version is not None
    assert tuple(map(int, version.split(".")))[:2] >= (3, 13)


def test_a_shim_that_fails_counts_as_no_python(tmp_path: Path) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert python_version(shim) is None
    assert python_version(tmp_path / "missing") is None


def test_no_python_at_all_names_three_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin" / "python"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 3.11.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr("sys.executable", str(old))
    with pytest.raises(LocalStackError) as failed:
        find_python()
    for way in ("on PATH", "pyenv install", "uv python install"):
        assert way in failed.value.way_out


def test_a_built_environment_is_taken_as_it_is(emulators: Path) -> None:
    said: list[str] = []
    environment.ensure_environment(emulators, report=said.append)  # builds when it is missing
    said.clear()
    built = environment.ensure_environment(emulators, report=said.append)
    assert said == []
    for program in (built.python, built.gcs_server, built.postgres_home / "bin" / "postgres"):
        assert program.exists()


def test_every_requirement_is_pinned_and_names_no_address() -> None:
    lines = environment.REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert not any("://" in line or line.startswith("-") for line in lines)
    assert environment.pinned_versions()["local-bigquery"] == "0.4.0"
