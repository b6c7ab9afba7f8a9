"""Promise: `--help` answers at once, for every command, and knows no Dagster."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from bq2pg_assets.cli.app import app
from bq2pg_assets.cli.bq_to_postgres import main as bq_to_postgres
from bq2pg_assets.cli.one_table import HELP

Command = Any  # Typer's own copy of click has no public name
HEAVY = ("dagster", "google.cloud", "pyarrow", "pandas", "psycopg", "sqlglot")


def commands(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Command]]:
    yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL)
def test_every_command_and_every_option_has_help(path: str) -> None:
    command = ALL[path]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path} {parameter.name}"


def test_the_commands_are_these() -> None:
    assert set(ALL) - {""} == {
        *("sync", "plan", "status", "resume", "check", "clean", "local"),
        *(f"local {name}" for name in ("up", "down", "reset", "seed", "advance", "env")),
        *("local status", "local demo"),
        *("quarantine", "quarantine list", "quarantine replay"),
    }


PROBE = """
import json, sys
from bq2pg_assets.cli.app import main
sys.argv = ["bq2pg", *{words!r}]
try:
    main()
except SystemExit as left:
    print(json.dumps([left.code, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["sync", "--help"], ["local", "demo", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(words=words)],
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stderr)
    assert code == 0
    assert not [name for name in modules if name.startswith(HEAVY)]


def test_the_help_documents_the_exit_codes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bq2pg_assets.cli.app", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "130  interrupted; live tables and cursors untouched" in done.stdout


def test_the_script_documents_its_arguments_an_example_and_where_passwords_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bq-to-postgres", "--help"])
    with pytest.raises(SystemExit):
        bq_to_postgres()
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in HELP)
    assert all(word in text for word in ("example:", "PGPASSWORD", "process list", "exit codes:"))
