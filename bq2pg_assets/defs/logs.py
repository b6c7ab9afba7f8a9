"""What the engine logs, in the log of the step it was logged for.

Belongs here: routing log records and progress to a step. Does not: deciding what is worth a line
(the engine).

Dagster's own `managed_python_loggers` does this for a process that runs one step at a time. With
several it gives every line to whichever step began first.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bq2pg_assets.engine.results import Progress

ENGINE = "bq2pg_assets"
QUIET_SECONDS = 2.0
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 10.0

_step: ContextVar[logging.Logger | None] = ContextVar("bq2pg_step", default=None)


@contextmanager
def logged_to(log: logging.Logger) -> Iterator[None]:
    """Send what this thread logs below `bq2pg_assets` to `log` as well, from INFO on."""
    engine = logging.getLogger(ENGINE)
    if engine.level == logging.NOTSET:
        engine.setLevel(logging.INFO)
    _install(engine)
    token = _step.set(log)
    try:
        yield
    finally:
        _step.reset(token)


class ProgressLog:
    """Writes progress as log lines: each new phase at once, then ever more rarely.

    Each line is an event of the run, a row in Dagster's database: an hour's load writes some 360 of
    them, a line a second would be 3,600. The first two seconds pass in silence, which are all that
    a small table takes: its phases are in its metadata. No observations: they would stay on the
    asset's page for ever.
    """

    def __init__(
        self, log: Callable[[str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._last: Progress | None = None
        self._speaks = False
        self._next, self._wait = 0.0, FIRST_SECONDS

    @contextmanager
    def speaking_soon(self) -> Iterator["ProgressLog"]:
        """While inside, it speaks after `QUIET_SECONDS`, also when nothing is reported then."""
        timer = threading.Timer(QUIET_SECONDS, self.speak)
        timer.daemon = True
        timer.start()
        try:
            yield self
        finally:
            timer.cancel()

    def speak(self) -> None:
        """Tell what was reported last, and from now on what is reported."""
        with self._lock:
            self._speaks = True
            if self._last is not None:
                self._tell(self._last, new=True)

    def __call__(self, progress: Progress) -> None:
        """Report, or keep silent."""
        with self._lock:
            new = self._last is None or progress.phase != self._last.phase
            self._last = progress
            if self._speaks:
                self._tell(progress, new=new)

    def _tell(self, progress: Progress, *, new: bool) -> None:
        now = self._clock()
        if new:
            self._wait = FIRST_SECONDS
        elif now < self._next:
            return
        else:
            self._wait = min(2 * self._wait, LONGEST_SECONDS)
        self._next = now + self._wait
        self._log(progress_line(progress))


def progress_line(progress: Progress) -> str:
    """One line for people: `copy: 1,200,000 of 3,000,000 rows, 81 MB, 4 of 10 shards,
    400,000 rows/s, 5 s left`."""
    parts = []
    if progress.rows:
        of = f" of {progress.expected_rows:,}" if progress.expected_rows else ""
        parts.append(f"{progress.rows:,}{of} rows")
    if progress.bytes:
        parts.append(f"{progress.bytes / 1e6:,.0f} MB")
    if progress.shards:
        parts.append(f"{progress.shards_done} of {progress.shards} shards")
    if progress.rows_per_second is not None:
        parts.append(f"{progress.rows_per_second:,.0f} rows/s")
    if progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:,.0f} s left")
    return progress.phase + (f": {', '.join(parts)}" if parts else "")


class _ToStep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log = _step.get()
        if log is not None:
            # The text, not the record: Dagster writes its own metadata onto a record.
            log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


_handler = _ToStep(level=logging.INFO)


def _install(logger: logging.Logger) -> None:
    if _handler not in logger.handlers:
        logger.addHandler(_handler)
