"""Dagster's web page as a process of its own.

Belongs here: its port, the command line of `dagster dev`, and when it is ready. Does not:
stopping it (owned.py), what happens before it is shown (demo.py). Dagster is never imported.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from bq2pg_assets.cli.owned import Owned, find, own, stop
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.local.processes import is_running, wait_until

HOST = "127.0.0.1"
READY_SECONDS = 180.0


def url(port: int) -> str:
    """Where a browser finds it."""
    return f"http://{HOST}:{port}"


def refuse_busy_port(local_dir: Path, *, port: int) -> None:
    """Raises ConfigError when the page cannot be served there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            ours = find(local_dir, _name(port))
            raise ConfigError(
                f"port {port} of {HOST}",
                met="another demo shows its page there" if ours else "it is in use",
                expected="a free port for Dagster's page",
                way_out=f"Name another one, for example --port {port + 1}, or leave the page out "
                "with --no-ui.",
            ) from error


def start(local_dir: Path, folder: Path, *, port: int) -> Owned:
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
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # Away from this terminal's Ctrl-C: it is stopped in an order of our own.
            start_new_session=True,
        )
    ui = own(local_dir, _name(port), pid=child.pid)
    try:
        wait_until(
            lambda: child.poll() is None and _answers(port),
            process=ui.process,
            name="Dagster's page",
            log=log,
            seconds=READY_SECONDS,
        )
    except BaseException:  # also on Ctrl-C
        stop(ui, local_dir)
        raise
    return ui


def wait_for_end(ui: Owned) -> None:
    """Return when the process ended by itself; a signal's exception passes through."""
    while is_running(ui.process):
        time.sleep(0.5)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{url(port)}/server_info", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _name(port: int) -> str:
    return f"ui-{port}"
