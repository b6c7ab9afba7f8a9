"""Promise: the local stack is handled in single commands, and a shell can use it."""

import json
import os
import shlex
import socket
import subprocess
import sys

import pytest

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.cli.local import export_lines
from bq2pg_assets.local.stack import StackState
from bq2pg_assets_tests.cli.conftest import BQ2PG, Shell
from bq2pg_assets_tests.conftest import EMULATORS


@pytest.fixture
def place(stack: StackState) -> dict[str, str | None]:
    """Names this test run's stack, as a user's shell would after `local up`, before `local env`."""
    hidden = ("BQ2PG_PG_DSN", "BQ2PG_BQ_PROJECT", "BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")
    external = os.environ.get("BQ2PG_TEST_PG_DSN")
    return {
        **dict.fromkeys(hidden),
        **({"BQ2PG_PG_DSN": external} if external else {}),
        "BQ2PG_LOCAL_DIR": str(stack.local_dir),
        "BQ2PG_EMULATORS_DIR": str(EMULATORS),
    }


def test_a_shell_can_use_the_stack_with_one_eval(
    shell: Shell, place: dict[str, str | None], stack_variables: dict[str, str]
) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    script = f'eval "$({shlex.join([*BQ2PG, "local", "env"])})"; {sys.executable} -c "{show}"'
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env=shell.environment(**place),
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)
    assert {name: seen[name] for name in stack_variables} == stack_variables


def test_lines_are_quoted_and_leave_out_what_the_shell_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BQ2PG_PG_DSN", "host=db password=hunter2")
    variables = {"BQ2PG_PG_DSN": "host=db password=hunter2", "X": "a b'; rm -rf $HOME"}
    assert export_lines(variables) == ["export X='a b'\"'\"'; rm -rf $HOME'"]


def test_status_and_up_of_a_running_stack(shell: Shell, place: dict[str, str | None]) -> None:
    status = shell.run("local", "status", **place)
    assert status.returncode == ExitCode.DONE
    assert "bigquery   runs on 127.0.0.1:" in status.stdout
    again = shell.run("local", "up", **place)
    assert again.returncode == ExitCode.DONE, again.stderr
    assert "was up already" in again.stdout


def test_env_without_a_stack_says_how_to_start_it(shell: Shell) -> None:
    done = shell.run("local", "env", BQ2PG_LOCAL_DIR=str(shell.folder / ".local"))
    assert done.returncode == ExitCode.FAILED
    assert "Run `bq2pg local up`." in done.stderr
    assert not done.stdout, "an eval of it must do nothing"


@pytest.mark.parametrize(("command", "told"), [("status", "no local stack"), ("down", "is down")])
def test_nothing_there_is_no_error(command: str, told: str, shell: Shell) -> None:
    done = shell.run("local", command, BQ2PG_LOCAL_DIR=str(shell.folder / ".local"))
    assert done.returncode == ExitCode.DONE, done.stderr
    assert told in done.stdout


def test_a_busy_port_is_told_before_anything_is_started(shell: Shell) -> None:
    local_dir = shell.folder / ".local"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = shell.run("local", "demo", "--port", port, BQ2PG_LOCAL_DIR=str(local_dir))
    assert done.returncode == ExitCode.USAGE
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert not (local_dir / "stack.json").exists()
