"""What each worker of a copy spends its time on.

Belongs here: telling the parts of a worker's time apart while it works. Does not: what becomes of
the figures (profile.py), what is told of them.

A worker does one thing at a time, so a part begins where another ends and no moment counts twice:
bytes that are waited for while a batch is decoded are download and not decode. Whoever waits need
not know for whom: the stopwatch is that of the thread. Looked at once for each batch and each wait,
it costs microseconds a batch.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from bq2pg_assets.engine.profile import PARTS

T = TypeVar("T")
_of_thread: ContextVar["Stopwatch | None"] = ContextVar("bq2pg_stopwatch", default=None)


class Stopwatch:
    """Runs from the moment it is made; its time belongs to `server` while nothing else is said."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._part = clock, "server"
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._since = clock()

    def turn(self, part: str) -> str:
        """What follows belongs to `part`. Returns what came before belonged to."""
        now, before = self._clock(), self._part
        self._spent[before] += now - self._since
        self._since, self._part = now, part
        return before

    def read(self) -> dict[str, float]:
        """The seconds of each part until now."""
        self.turn(self._part)
        return dict(self._spent)


@contextmanager
def running(watch: Stopwatch) -> Iterator[Stopwatch]:
    """What this thread does in the block is counted by `watch`."""
    token = _of_thread.set(watch)
    try:
        yield watch
    finally:
        _of_thread.reset(token)


@contextmanager
def spent_on(part: str) -> Iterator[None]:
    """Count the block as `part`, where this thread has a stopwatch."""
    watch = _of_thread.get()
    if watch is None:
        yield
        return
    before = watch.turn(part)
    try:
        yield
    finally:
        watch.turn(before)


def timed(part: str, items: Iterator[T]) -> Iterator[T]:
    """The same items; the time in which each is made counts as `part`."""
    while True:
        with spent_on(part):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


@contextmanager
def entered(part: str, block: AbstractContextManager[T]) -> Iterator[T]:
    """The same block; the time in which it is entered counts as `part`."""
    with ExitStack() as stack:
        with spent_on(part):
            inside = stack.enter_context(block)
        yield inside
