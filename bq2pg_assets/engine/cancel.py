"""Asking a running sync to stop.

Belongs here: the token that the engine looks at. Does not: who asks (a signal handler, Dagster's
termination) and what is cleaned up afterwards (attempt.py).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bq2pg_assets.engine.errors import CancelledError


class CancelToken:
    """Asks a running sync to stop, from any thread or signal handler.

    The sync looks at it between batches; blocking calls register how to interrupt them with
    `interrupting`, for example a connection's cancel.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()  # a signal handler may cancel while its thread holds it
        self._interrupts: dict[object, Callable[[], Any]] = {}

    def cancel(self) -> None:
        """Ask to stop and interrupt what is blocking. Safe to call more than once.

        The lock is held throughout: an interrupt never hits what follows the block it is for.
        """
        self._event.set()
        with self._lock:
            for interrupt in list(self._interrupts.values()):
                interrupt()

    @property
    def cancelled(self) -> bool:
        """Whether someone asked to stop."""
        return self._event.is_set()

    def wait(self, seconds: float, *, where: str) -> None:
        """Sleep for so long, or less when cancelled. Raises CancelledError."""
        self._event.wait(seconds)
        self.check(where)

    def check(self, where: str) -> None:
        """Raise CancelledError when someone asked to stop."""
        if self.cancelled:
            raise CancelledError(where)

    @contextmanager
    def interrupting(self, interrupt: Callable[[], Any]) -> Iterator[None]:
        """While inside, `cancel()` also calls `interrupt`."""
        key = object()
        with self._lock:
            self._interrupts[key] = interrupt
        try:
            if self.cancelled:
                interrupt()
            yield
        finally:
            with self._lock:
                del self._interrupts[key]
