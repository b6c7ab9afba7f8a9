"""Processes that run one sync each, forked from one that has imported everything.

Belongs here: the process that forks (run as a module) and the side that asks it. Does not: faults.

The forking process has no thread and no client, so that what it forks begins as a fresh one. It
reads one JSON line for each run and writes lines: the run's process, the phases it came to, how it
ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HANGS_SECONDS = 90.0  # a run that takes longer is ended: no fault here lasts as long
CLIENT_SECONDS = 2.0  # how long Google's clients try again by themselves; minutes otherwise


@dataclass(frozen=True, slots=True)
class Run:
    """How one run ended. `status` is the process's: negative when a signal ended it."""

    status: int
    phases: list[tuple[float, str]] = field(default_factory=list)
    outcome: str = ""
    rows: int = 0
    resumed: bool = False
    error: str = ""
    kind: str = ""
    retryable: bool = False
    way_out: str = ""
    exit_code: int = 0

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.status == -9

    @property
    def went_well(self) -> bool:
        """Whether it says so itself."""
        return self.status == 0 and not self.error


class Runner:
    """The forking process, asked for one run after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a run has to say of its end comes as a line
            text=True,
            cwd=ROOT,
        )

    def run(self, given: dict[str, Any], *, started: Callable[[int], None]) -> Run:
        """One sync, to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        phases: list[tuple[float, str]] = []
        ended: dict[str, Any] = {}
        while line := self._process.stdout.readline():
            said = json.loads(line)
            if "pid" in said:
                started(said["pid"])
                watch = threading.Timer(HANGS_SECONDS, _end, [said["pid"]])
                watch.start()
            elif "phase" in said:
                phases.append((said["at"], said["phase"]))
            elif "status" in said:
                watch.cancel()
                watch.join()
                return Run(said["status"], phases, **ended)
            else:
                ended = said
        raise AssertionError("the forking process ended")

    def close(self) -> None:
        """End it."""
        self._process.communicate("")


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def main() -> None:
    """Fork once for each line of stdin."""
    from bq2pg_assets_tests.integration import helpers  # noqa: F401 - imported once, for all

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                _sync(json.loads(line))
            finally:
                os._exit(1)
        _say(pid=pid)
        _, status = os.waitpid(pid, 0)
        _say(status=os.waitstatus_to_exitcode(status))


def _sync(given: dict[str, Any]) -> None:
    from bq2pg_assets.cli.exit_codes import code_of
    from bq2pg_assets.engine.errors import Bq2pgError
    from bq2pg_assets.engine.model import RunId

    world = _world(given)
    try:
        result = world.sync(
            report=lambda progress: _say(phase=progress.phase, at=time.monotonic()),
            run=RunId(given["run"]),
            **given["table"],
        )
    except Bq2pgError as error:
        _say(
            error=str(error),
            kind=type(error).__name__,
            retryable=error.retryable,
            way_out=error.way_out,
            exit_code=int(code_of(error)),
        )
        os._exit(1)
    except BaseException as error:  # nobody thought of it: the case fails by it
        _say(error=str(error) or repr(error), kind=type(error).__name__)
        os._exit(1)
    _say(outcome=result.outcome, rows=result.rows, resumed=result.resumed_from is not None)
    os._exit(0)


def _world(given: dict[str, Any]) -> Any:
    import google.cloud.bigquery.retry
    import google.cloud.storage.retry

    from bq2pg_assets_tests.integration.helpers import world_of

    for retry in (
        google.cloud.bigquery.retry.DEFAULT_RETRY,
        google.cloud.storage.retry.DEFAULT_RETRY,
    ):
        retry._timeout = CLIENT_SECONDS
    return world_of(given)


def _say(**words: Any) -> None:
    """One line, in one write: it comes whole, whoever else writes."""
    os.write(1, (json.dumps(words) + "\n").encode())


if __name__ == "__main__":
    main()
