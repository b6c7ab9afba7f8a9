"""Dagster's web page as a process of its own: started, waited for, found again, stopped.

Belongs here: the command line of `dagster dev`, its record on disk, and the order of signals.
Does not: what happens before it is shown (demo.py). Dagster is never imported.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.local.processes import ProcessRef, identity, is_running, wait_until

HOST = "127.0.0.1"
READY_SECONDS = 180.0
# `dagster dev` stops its own children on SIGINT, which takes it some seconds.
PATIENCE = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))


@dataclass(frozen=True)
class Ui:
    """A started `dagster dev`, and the process that started it and will stop it."""

    process: ProcessRef
    owner: ProcessRef
    port: int

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.port}"


def make_room(local_dir: Path, *, port: int) -> None:
    """See that the port is free. Raises ConfigError when it is not.

    Pages that killed demos left are stopped first.
    """
    stop_orphans(local_dir)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            running = _read(_record(local_dir, port)) is not None
            raise ConfigError(
                f"port {port} of {HOST}",
                met="another demo shows its page there" if running else "it is in use",
                expected="a free port for Dagster's page",
                way_out=f"Name another one, for example --port {port + 1}, or leave the page out "
                "with --no-ui.",
            ) from error


def stop_orphans(local_dir: Path) -> int:
    """Stop the pages whose demo was killed; how many. Those of living demos stay."""
    found = [_read(path) for path in sorted(local_dir.glob("ui-*.json"))]
    orphans = [ui for ui in found if ui is not None and not is_running(ui.owner)]
    for ui in orphans:
        stop(ui, local_dir)
    return len(orphans)


def start(local_dir: Path, folder: Path, *, port: int) -> Ui:
    """Start `dagster dev` in `folder` and wait until its page answers.

    Raises LocalStackError with the end of its log when it does not; nothing is left running.
    """
    log = local_dir / "logs" / "dagster-ui.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    module = ("-m", "bq2pg_assets.definitions")
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "dagster", "dev", *module, "-h", HOST, "-p", str(port)],
            stdin=subprocess.DEVNULL,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Away from this terminal's Ctrl-C: it is stopped in an order of our own.
            start_new_session=True,
        )
    ui = Ui(_reference(child.pid), _reference(os.getpid()), port)
    try:
        _write(local_dir, ui)
        wait_until(
            lambda: child.poll() is None and _answers(ui.url),
            process=ui.process,
            name="Dagster's page",
            log=log,
            seconds=READY_SECONDS,
        )
    except BaseException:  # also on Ctrl-C
        stop(ui, local_dir)
        raise
    return ui


def wait_for_end(ui: Ui) -> None:
    """Return when the process ended by itself; a signal's exception passes through."""
    while is_running(ui.process):
        time.sleep(0.5)


def stop(ui: Ui, local_dir: Path) -> None:
    """Stop it, gently first; then whatever is left of its process group."""
    if not is_running(ui.process):
        # Its pid, and the group of that number, may be somebody else's by now.
        _record(local_dir, ui.port).unlink(missing_ok=True)
        return
    for number, seconds in PATIENCE:
        if not is_running(ui.process):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(ui.process.pid, number)
        end = time.monotonic() + seconds
        while is_running(ui.process) and time.monotonic() < end:
            _reap(ui.process.pid)
            time.sleep(0.05)
    _reap(ui.process.pid)
    # The group bears its pid, and lives on as long as one of its children does.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(ui.process.pid, signal.SIGKILL)
    _record(local_dir, ui.port).unlink(missing_ok=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # a page left by a killed demo is not our child
        os.waitpid(pid, os.WNOHANG)


def _reference(pid: int) -> ProcessRef:
    return ProcessRef(pid, identity(pid) or "ended at once")


def _record(local_dir: Path, port: int) -> Path:
    return local_dir / f"ui-{port}.json"


def _write(local_dir: Path, ui: Ui) -> None:
    _record(local_dir, ui.port).write_text(json.dumps(asdict(ui)) + "\n", encoding="utf-8")


def _read(record: Path) -> Ui | None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        return Ui(ProcessRef(**found["process"]), ProcessRef(**found["owner"]), found["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or torn by a kill: a busy port is noticed all the same
