"""A process is stopped by pid, and only when it is the very one that was started."""

import dataclasses
import signal
import sys
from pathlib import Path

import pytest

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local import processes


def test_a_process_of_the_same_pid_that_is_another_one_is_left_alone(tmp_path: Path) -> None:
    running = processes.start(["sleep", "300"], log=tmp_path / "log")
    recycled = dataclasses.replace(running, identity="another boot/1")
    assert not processes.is_running(recycled)
    assert processes.stop(recycled) is False
    assert processes.identity(running.pid) == running.identity
    again = processes.ProcessRef(running.pid, running.identity)
    # The first stop forgot nothing that the second one needs.
    assert processes.stop(again) is True
    assert processes.identity(running.pid) is None


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); "
    log = tmp_path / "log"
    running = processes.start([sys.executable, "-c", code + "signal.pause()"], log=log)
    processes.wait_until(
        lambda: log.read_text() == "1\n", process=running, name="deaf", log=log, seconds=20
    )
    assert processes.stop(running, first=signal.SIGTERM, patience=0.5) is True
    assert not processes.is_running(running)


def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    running = processes.start([sys.executable, "-c", "print('no such luck')"], log=log)
    with pytest.raises(LocalStackError) as failed:
        processes.wait_until(lambda: False, process=running, name="it", log=log, seconds=20)
    assert "it ended" in failed.value.met
    assert "no such luck" in failed.value.met
    processes.stop(running)


def test_a_taken_port_is_not_given_again() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert processes.free_port(port) != port
    assert processes.free_port(port) == port
