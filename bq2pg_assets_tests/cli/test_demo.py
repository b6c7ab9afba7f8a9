"""Promise: `bq2pg local demo` is one command, safe to repeat, and leaves nothing running."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bq2pg_assets.cli import dagster_ui, owned
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.config.load import load_tables
from bq2pg_assets.local import stack
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets.local.processes import free_port
from bq2pg_assets_tests.cli.conftest import BQ2PG
from bq2pg_assets_tests.conftest import EMULATORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SERVED = "Ctrl-C ends it."
SECONDS = 300
TABLES = load_tables(DEMO_FOLDER).tables


@pytest.fixture
def local_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / ".local"
    owned.stop_orphans(tmp_path / ".local")
    stack.reset(tmp_path / ".local", report=print)


def environment(local_dir: Path) -> dict[str, str]:
    """A shell in which a user works on tables of their own, whose source is not in the demo."""
    tables = local_dir.parent / "tables"
    tables.mkdir(exist_ok=True)
    (tables / "orders.yaml").write_text("source: shop.orders\n", encoding="utf-8")
    own = {"BQ2PG_LOCAL_DIR": str(local_dir), "BQ2PG_EMULATORS_DIR": str(EMULATORS)}
    return {**os.environ, **own, "BQ2PG_TABLES": str(tables), "BQ2PG_ENV": "production"}


def start(local_dir: Path, *words: str) -> subprocess.Popen[str]:
    with (local_dir.parent / "stderr").open("w") as errors:
        return subprocess.Popen(
            [*BQ2PG, "local", "demo", *words],
            cwd=local_dir.parent,
            env=environment(local_dir),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def read_until(child: subprocess.Popen[str], word: str) -> list[str]:
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"it ended without saying {word}:\n" + "".join(lines))


def kill_9(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()  # what it started may still hold the other end


def result_rows(lines: list[str]) -> dict[str, list[str]]:
    names = {table.name for table in TABLES}
    words = [line.split() for line in lines]
    return {row[0]: row[1:] for row in words if row and row[0] in names}


def running(local_dir: Path) -> list[str]:
    return [name for name, part in stack.status(local_dir).parts.items() if part.running]


def test_without_the_page_then_again_then_after_december(local_dir: Path) -> None:
    first = start(local_dir, "--no-ui")
    output, _ = first.communicate(timeout=SECONDS)
    assert first.returncode == ExitCode.DONE, (local_dir.parent / "stderr").read_text()
    rows = result_rows(output.splitlines())
    assert set(rows) == {table.name for table in TABLES}
    assert rows["flights"][:2] == ["replace", "307,661"]
    assert "orders" not in output, "the user's own table is left alone"
    assert not running(local_dir), "what it started is stopped"

    again = start(local_dir, "--no-ui")
    output, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == ExitCode.DONE
    assert result_rows(output.splitlines())["flights"][-2:] == ["nothing", "new"]

    advanced = subprocess.run(
        [*BQ2PG, "local", "advance"], env=environment(local_dir), check=True, stdout=subprocess.PIPE
    )
    assert b"nycflights.flights: 29,115 rows added" in advanced.stdout
    assert not running(local_dir), "it started the stack, so it stops it"

    third = start(local_dir, "--no-ui")
    output, _ = third.communicate(timeout=SECONDS)
    assert result_rows(output.splitlines())["flights"][:2] == ["append", "29,115"]


def test_the_page_is_served_until_ctrl_c_and_survives_a_kill_9(local_dir: Path) -> None:
    port = str(free_port())
    # An .env here must not lead the page away from the local stack.
    (local_dir.parent / ".env").write_text("BQ2PG_PG_DSN=host=nowhere.invalid\n", encoding="utf-8")
    for moment in ("flights: started", SERVED):
        killed = start(local_dir, "--port", port)
        read_until(killed, moment)
        kill_9(killed)
        assert running(local_dir), "nobody could stop them"

    child = start(local_dir, "--port", port)
    lines = read_until(child, SERVED)
    assert set(result_rows(lines)) == {table.name for table in TABLES}
    assert any(f"http://127.0.0.1:{port}" in line for line in lines)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=10) as answer:
        assert answer.status == 200
    log = (local_dir / "logs" / "dagster-ui.log").read_text(encoding="utf-8")
    assert "Loaded environment variables from .env" not in log
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=SECONDS)
    assert child.returncode == ExitCode.DONE, (local_dir.parent / "stderr").read_text()
    assert not list(local_dir.glob("owned-*.json"))
    dagster_ui.refuse_busy_port(local_dir, port=int(port))
    assert running(local_dir), "the stack was up before this demo and stays up"
