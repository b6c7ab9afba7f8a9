"""One contestant, once: its process, its own clock, the memory of all it starts.

Belongs here: starting it, reading what it printed, watching its memory, medians. Does not: which
contestants there are (rows.py), whose turn it is (run.py).

A contestant reads its job as JSON from standard input and prints {"seconds": …} and other figures
as its last line. It runs its clock itself, after its imports, so that no one pays for Python.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.02
RUN_SECONDS = 3600.0
SAID = 600  # characters of what a failed contestant said
ROOT = Path(__file__).resolve().parents[2]
MIB = 1024.0**2


class ContestantError(Exception):
    """A contestant that failed; the text is the end of what it said."""


def timed(command: Sequence[str], job: Mapping[str, Any], *, home: Path) -> dict[str, float]:
    """Run it; its figures, with `peak_mb`, the most its processes held together.

    It runs in `home`, an empty folder each time: dlt would go on with what an earlier turn left.
    Raises ContestantError when it fails.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    child = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home,
        env=_environment(home),
        start_new_session=True,
    )
    with _Watch(child.pid) as watch:
        try:
            said, _ = child.communicate(json.dumps(job), timeout=RUN_SECONDS)
        finally:
            _end(child)
    if child.returncode:
        raise ContestantError(" ".join(said.split())[-SAID:] or f"exit code {child.returncode}")
    figures: dict[str, float] = json.loads(said.strip().splitlines()[-1])
    return {"peak_mb": watch.peak / MIB, **figures}


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:  # an interrupt, or it took too long
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _environment(home: Path) -> dict[str, str]:
    """The shell's variables without those that name services; a home of its own for settings."""
    named = ("BQ2PG_", "DAGSTER_", "PG", "BIGQUERY_", "STORAGE_", "GOOGLE_", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(named)}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1"}


class _Watch:
    """Adds up, again and again, what a process and all that descend from it hold."""

    def __init__(self, root: int) -> None:
        self._root, self.peak = root, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.peak = max(self.peak, resident(self._root))


def resident(root: int) -> int:
    """Bytes in memory of a process and its descendants; shared pages count for each."""
    pages: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in field 2 may hold spaces and brackets: fields count from the last one.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(stat.parent.name)
        pages[pid] = int(fields[21])
        children.setdefault(int(fields[1]), []).append(pid)
    total, left = 0, [root]
    while left:
        pid = left.pop()
        total += pages.get(pid, 0)
        left += children.get(pid, [])
    return total * os.sysconf("SC_PAGE_SIZE")
