"""Processes that live as long as the command that started them, also when that is killed.

Belongs here: the record of who started what, stopping it, and finding what a killed command left.
Does not: the servers of the local stack, which outlive commands on purpose (local/stack.py).
"""

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bq2pg_assets.local.processes import ProcessRef, identity, is_running

# Dagster cancels runs and stops children of its own on SIGINT, which takes it some seconds.
PATIENCE = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
PREFIX = "owned-"


@dataclass(frozen=True)
class Owned:
    """A process that leads a session of its own, and the process that will stop it."""

    name: str
    process: ProcessRef
    owner: ProcessRef


def own(local_dir: Path, name: str, *, pid: int) -> Owned:
    """Record that this process started `pid`. `name` is unique among what runs."""
    owned = Owned(name, _reference(pid), _reference(os.getpid()))
    local_dir.mkdir(parents=True, exist_ok=True)
    _record(local_dir, name).write_text(json.dumps(asdict(owned)) + "\n", encoding="utf-8")
    return owned


def find(local_dir: Path, name: str) -> Owned | None:
    """What is recorded under this name, running or not."""
    return _read(_record(local_dir, name))


def stop(owned: Owned, local_dir: Path) -> None:
    """Stop it, gently first; then whatever is left of its process group."""
    if is_running(owned.process):
        _end(owned.process)
        # The group bears its pid, and lives on as long as one of its children does.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(owned.process.pid, signal.SIGKILL)
    # Otherwise its pid, and the group of that number, may be somebody else's by now.
    _record(local_dir, owned.name).unlink(missing_ok=True)


def stop_orphans(local_dir: Path) -> int:
    """Stop what killed commands left; how many. What has a living owner stays."""
    found = [_read(path) for path in sorted(local_dir.glob(f"{PREFIX}*.json"))]
    orphans = [owned for owned in found if owned is not None and not is_running(owned.owner)]
    for owned in orphans:
        stop(owned, local_dir)
    return len(orphans)


def _end(process: ProcessRef) -> None:
    for number, seconds in PATIENCE:
        if not is_running(process):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        end = time.monotonic() + seconds
        while is_running(process) and time.monotonic() < end:
            time.sleep(0.05)
    with contextlib.suppress(ChildProcessError):  # what a killed command left is not our child
        os.waitpid(process.pid, os.WNOHANG)


def _reference(pid: int) -> ProcessRef:
    return ProcessRef(pid, identity(pid) or "ended at once")


def _record(local_dir: Path, name: str) -> Path:
    return local_dir / f"{PREFIX}{name}.json"


def _read(record: Path) -> Owned | None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        return Owned(found["name"], ProcessRef(**found["process"]), ProcessRef(**found["owner"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or torn by a kill: nothing is known of it, so nothing is stopped
