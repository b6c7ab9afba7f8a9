"""Calls that are made again when their error may pass.

Belongs here: how often, how far apart, and waiting in a way that a cancellation ends. Does not:
which errors may pass (`Bq2pgError.retryable`), attempts of Dagster's (defs/failures.py).

stamina counts, spaces out, and drops the waits in tests. It waits in time.sleep, which no
cancellation ends; so it is told to wait for nothing, and the wait is ours.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina
from stamina import instrumentation

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import Bq2pgError

T = TypeVar("T")
JITTER = 0.5  # a wait is this much longer at most, so that who failed together returns apart

# By default stamina writes each error to stdout where structlog is installed, secrets and all.
instrumentation.set_on_retry_hooks(())


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is made at most; seconds before the second time, doubled up to `longest`.

    No other call begins when one fails later than `within` seconds after the first began.
    """

    calls: int
    first: float
    longest: float
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """A call that is about to be made once more: its number from 2, after how many seconds."""

    error: Bq2pgError
    number: int
    seconds: float


def call_patiently(
    call: Callable[[int], T],
    *,
    patience: Patience,
    cancel: CancelToken,
    where: str,
    may_pass: Callable[[Bq2pgError], bool] = lambda error: error.retryable,
    tell: Callable[[Again], object] = lambda _: None,
) -> T:
    """Call with 0, 1, 2 … until it returns, fails for good, or patience is at an end.

    Raises what the last call raised, or CancelledError.
    """
    met: list[Bq2pgError] = []
    pause = 0.0

    def once_more(error: Exception) -> bool | float:
        if not isinstance(error, Bq2pgError) or not may_pass(error):
            return False
        met.append(error)
        return 0.0

    for attempt in stamina.retry_context(
        once_more,
        attempts=patience.calls,
        timeout=patience.within,
        wait_initial=patience.first,
        wait_max=patience.longest,
    ):
        if met:
            cancel.check(where)
            tell(Again(met[-1], attempt.num, pause))
            cancel.wait(pause, where=where)
        pause = attempt.next_wait * (1 + random.uniform(0, JITTER))  # noqa: S311 - no secret
        with attempt:
            return call(attempt.num - 1)
    raise AssertionError("stamina raises the last error")
