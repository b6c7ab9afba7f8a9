"""Promise: what a killed demo left is found and stopped, and nobody else's process is."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bq2pg_assets.cli import dagster_ui, owned
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.local.processes import identity

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


@pytest.fixture
def page() -> Iterator[subprocess.Popen[str]]:
    """Stands for `dagster dev`: a process in a session of its own that ends on a signal."""
    with subprocess.Popen(
        SLEEPER, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        yield child
        child.kill()


def record(folder: Path, *, process: tuple[int, str], owner: tuple[int, str]) -> Path:
    path = folder / "owned-ui-3000.json"
    refs = {
        name: {"pid": pid, "identity": known}
        for name, (pid, known) in (("process", process), ("owner", owner))
    }
    path.write_text(json.dumps({**refs, "name": "ui-3000"}), encoding="utf-8")
    return path


def alive(child: subprocess.Popen[str]) -> tuple[int, str]:
    found = identity(child.pid)
    assert found is not None
    return child.pid, found


DEAD = (1, "another boot/1")


def test_the_page_of_a_killed_demo_is_stopped(page: subprocess.Popen[str], tmp_path: Path) -> None:
    path = record(tmp_path, process=alive(page), owner=DEAD)
    assert owned.stop_orphans(tmp_path) == 1
    assert identity(page.pid) is None
    assert not path.exists()


def test_the_page_of_a_living_demo_stays(page: subprocess.Popen[str], tmp_path: Path) -> None:
    path = record(tmp_path, process=alive(page), owner=alive(page))
    assert owned.stop_orphans(tmp_path) == 0
    assert page.poll() is None
    assert path.exists()


def test_a_process_that_only_has_the_same_pid_is_left_alone(
    page: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = record(tmp_path, process=(page.pid, "another boot/1"), owner=DEAD)
    owned.stop_orphans(tmp_path)
    assert page.poll() is None
    assert not path.exists()


def test_a_torn_record_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "owned-ui-3000.json").write_text('{"process":', encoding="utf-8")
    assert owned.stop_orphans(tmp_path) == 0


def test_a_busy_port_is_named_with_two_ways_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}") as caught:
            dagster_ui.refuse_busy_port(tmp_path, port=port)
    assert f"--port {port + 1}" in caught.value.way_out
    assert "--no-ui" in caught.value.way_out
    dagster_ui.refuse_busy_port(tmp_path, port=port)
