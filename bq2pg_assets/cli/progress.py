"""How a run shows how far it is: a live display on a terminal, lines otherwise; on stderr.

Belongs here: the two views and the words for one progress. Does not: results, errors.
Views are told from the engine's threads, several at a time.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from bq2pg_assets.cli import output, wording
from bq2pg_assets.engine.results import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY_SECONDS = 5.0


class View(Protocol):
    """What shows a run to people."""

    def report(self, progress: Progress) -> None:
        """Show how far a table is."""

    def line(self, text: str) -> None:
        """Say something that stays."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_: object) -> None:
        """Leave the screen as it was, but for the lines."""


def describe(progress: Progress) -> str:
    """One progress in words; what is not known yet is left out. Pure."""
    parts = []
    if progress.rows:
        total = progress.expected_rows
        of = f" of {wording.count(total)}" if total and total >= progress.rows else ""
        parts.append(f"{wording.count(progress.rows)}{of} rows")
    if progress.rows_per_second is not None:
        parts.append(f"{wording.count(round(progress.rows_per_second))} rows/s")
    if progress.shards:
        parts.append(f"{progress.shards_done} of {wording.plural(progress.shards, 'shard')}")
    if progress.bytes:
        parts.append(wording.size(progress.bytes))
    if progress.seconds_left is not None:
        parts.append(f"{wording.duration(progress.seconds_left)} left")
    return ", ".join(parts)


class Phase:
    """The phase that is under way."""

    def __init__(self) -> None:
        self._phase = ("", "")

    def begins(self, progress: Progress) -> bool:
        """Whether this is the first word of a phase."""
        before, self._phase = self._phase, (progress.table, progress.phase)
        return before != self._phase


class PlainView:
    """A line when a phase begins, then one every few seconds."""

    def __init__(
        self,
        write: Callable[[str], None] = output.note,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._clock, self._phase = write, clock, Phase()
        self._last = float("-inf")
        self._lock = threading.Lock()

    def report(self, progress: Progress) -> None:
        """Write a line unless one was just written for this phase."""
        with self._lock:
            begins, now = self._phase.begins(progress), self._clock()
            if not begins and now - self._last < LINE_EVERY_SECONDS:
                return
            self._last = now
            says = describe(progress)
            self._write(f"{progress.table}: {progress.phase}" + (f": {says}" if says else ""))

    def line(self, text: str) -> None:
        """Write it."""
        with self._lock:
            self._write(text)

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clear."""


class LiveView:
    """One line that moves: spinner, table, phase, bar, numbers, time in this phase."""

    def __init__(self) -> None:
        self._rich = _rich_progress()
        self._phase, self._lock = Phase(), threading.Lock()
        self._task: TaskID | None = None

    def report(self, progress: Progress) -> None:
        """Move the line."""
        with self._lock:
            # A task of its own for each phase: rich cannot take a known total back again.
            if self._phase.begins(progress) or self._task is None:
                if self._task is not None:
                    self._rich.remove_task(self._task)
                title = f"{progress.table}: {progress.phase}"
                self._task = self._rich.add_task(title, total=None, says="")
            by_rows = progress.expected_rows is not None
            self._rich.update(
                self._task,
                total=progress.expected_rows if by_rows else progress.expected_bytes,
                completed=progress.rows if by_rows else progress.bytes,
                says=describe(progress),
            )

    def line(self, text: str) -> None:
        """Print it above the line that moves."""
        self._rich.console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        """Show the line from now on."""
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away again."""
        self._rich.stop()


def view() -> View:
    """The view that fits where stderr goes."""
    return LiveView() if output.console(stderr=True).is_terminal else PlainView()


def _rich_progress() -> "RichProgress":
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[says]}", markup=False),
        TimeElapsedColumn(),
        console=output.console(stderr=True),
        transient=True,
    )
