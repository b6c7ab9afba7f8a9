"""The circuit breaker: whether a table that keeps failing is left out for a while. Pure.

Belongs here: judging a table's last runs. Does not: reading them (state.py), skipping (defs/), the
clock: who asks says what time it is.

A run counts as failed when its last attempt failed or was killed: a table that brings its process
down is the worst of them. Cancelled runs and those that another one kept out say nothing of the
table; they neither open nor close.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bq2pg_assets.engine.model import Outcome

FAILED = (Outcome.FAILED, Outcome.KILLED)
CLOSING = (Outcome.LOADED, Outcome.NOTHING_NEW, Outcome.RESUMED)


class CircuitState(StrEnum):
    """closed: the table is loaded as ever. open: it is left out. trial: its next run decides."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class PastRun:
    """How a run at one target ended: its last attempt. `ended_at` is None while it runs."""

    outcome: Outcome
    started_at: datetime
    ended_at: datetime | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Circuit:
    """Where a table stands. `until` is when a trial may begin, of an open circuit."""

    state: CircuitState
    failed_runs: int = 0
    until: datetime | None = None
    error: str | None = None

    @property
    def opened(self) -> bool:
        """Whether so many runs failed that the next one would be a trial."""
        return self.state is not CircuitState.CLOSED

    @property
    def sentence(self) -> str:
        """What an opened circuit means, for people."""
        if self.state is CircuitState.OPEN and self.until is not None:
            then = f"it is left out until {self.until.isoformat(' ', 'seconds')}"
        else:
            then = "the next run is its trial"
        return f"circuit open: the last {self.failed_runs} runs failed; {then}"


def judge(
    runs: Sequence[PastRun], *, after: int | None, cool_down: timedelta, now: datetime
) -> Circuit:
    """The circuit of a table from its last runs, the newest first.

    It opens after so many failed runs in a row, None for never. `cool_down` counts from the end of
    the last of them. A trial that has not ended keeps the circuit open, unless it began longer
    than `cool_down` ago: its process may be dead.
    """
    failed = []
    for run in runs:
        if run.outcome in CLOSING:
            break
        if run.outcome in FAILED:
            failed.append(run)
    count = len(failed)
    if after is None or count < after:
        return Circuit(CircuitState.CLOSED, count)
    last = failed[0]
    until = (last.ended_at or last.started_at) + cool_down
    trials = [run.started_at for run in runs if run.outcome is Outcome.RUNNING]
    until = max([until, *(began + cool_down for began in trials)])
    state = CircuitState.OPEN if now < until else CircuitState.TRIAL
    return Circuit(state, count, until if state is CircuitState.OPEN else None, last.error)
