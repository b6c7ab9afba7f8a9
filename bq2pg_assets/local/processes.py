"""Detached processes: started once, found again later, stopped by pid and never by name.

Belongs here: starting, recognising and stopping one process. Does not belong here: which
servers there are (`servers.py`) and where they are recorded (`stack.py`).
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bq2pg_assets.engine.errors import LocalStackError

KILL_AFTER_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 5

# Popen objects of this process: kept so that a stop can reap what this very process started.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class ProcessRef:
    """A pid together with what tells it from a later process of the same number."""

    pid: int
    identity: str


def identity(pid: int) -> str | None:
    """Boot id and start time of the process; None when there is none or it is a zombie."""
    if not Path("/proc/self/stat").exists():
        return _identity_by_ps(pid)
    try:
        # The name in field 2 may hold spaces and brackets, so fields count from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return None if state in "ZX" else f"{boot}/{started}"


def _identity_by_ps(pid: int) -> str | None:
    done = subprocess.run(  # noqa: S603 - fixed program, a number
        ["ps", "-o", "lstart=,stat=", "-p", str(pid)],  # noqa: S607 - ps is where the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    *started, state = done.stdout.split() or ["Z"]
    return None if state.startswith("Z") else " ".join(started)


def is_running(process: ProcessRef) -> bool:
    """True only for the very process that was started, not for a recycled pid."""
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        del _children[process.pid]
    return identity(process.pid) == process.identity


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    variables: Mapping[str, str] | None = None,
    user: tuple[int, int] | None = None,
) -> ProcessRef:
    """Start a process that outlives this one; its output goes to `log`, from the beginning.

    `variables` are added to the environment. `user` is a uid and gid to run as (root only).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - command lines of servers.py
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, **(variables or {})},
            start_new_session=True,
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
        )
    _children[child.pid] = child
    return ProcessRef(child.pid, identity(child.pid) or "ended at once")


def stop(
    process: ProcessRef,
    *,
    first: signal.Signals = signal.SIGTERM,
    patience: float = KILL_AFTER_SECONDS,
) -> bool:
    """Stop it: `first`, and SIGKILL after `patience` seconds. False when it was not running.

    A process that merely has the same pid is left alone.
    """
    if not is_running(process):
        return False
    for number, seconds in ((first, patience), (signal.SIGKILL, KILL_AFTER_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        if _ended(process, seconds):
            break
    if child := _children.pop(process.pid, None):
        child.wait()
    return True


def _ended(process: ProcessRef, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_running(process):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def wait_until(
    ready: Callable[[], bool], *, process: ProcessRef, name: str, log: Path, seconds: float
) -> None:
    """Wait until `ready()`; LocalStackError with the end of the log when it ends or is too slow."""
    end = time.monotonic() + seconds
    while not ready():
        alive = is_running(process)
        if alive and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            continue
        said = " | ".join(log.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:])
        raise LocalStackError(
            name,
            met=f"{'no answer' if alive else 'it ended'}; its log says: {said or 'nothing'}",
            expected=f"an answer within {seconds:.0f} s",
            way_out=f"Read {log}. When its data is damaged, `make reset` starts from nothing.",
        )


def free_port(preferred: int | None = None) -> int:
    """A port of 127.0.0.1 that is free now: the preferred one when it is."""
    for port in filter(None, (preferred,)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        return int(port)
