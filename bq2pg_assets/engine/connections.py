"""How many connections to PostgreSQL one process opens at most.

Belongs here: counting them, and waiting for one that is free. Does not: opening (connecting.py).

A run keeps one connection for its lock and opens others to copy. Were all taken by locks, each
run would wait for ever for one to copy with. Locks therefore get half of them at most: what
copies waits for nothing else, ends, and lets the next one in.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bq2pg_assets.engine.cancel import CancelToken

MOST = 20


class ConnectionLimit:
    """At most `most` connections at once, at most half of them for locks. Shared by threads."""

    def __init__(self, most: int = MOST) -> None:
        if most < 2:
            raise ValueError("a run needs two connections: one for its lock, one to copy")
        self._free, self._free_locks = most, most // 2
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, *, lock: bool, cancel: CancelToken, where: str) -> Iterator[None]:
        """Wait for a free connection and hold it. Raises CancelledError while it waits."""
        with cancel.interrupting(self._wake), self._changed:
            self._changed.wait_for(lambda: cancel.cancelled or self._fits(lock))
            cancel.check(where)
            self._take(1, lock=lock)
        try:
            yield
        finally:
            with self._changed:
                self._take(-1, lock=lock)
                self._changed.notify_all()

    def _fits(self, lock: bool) -> bool:
        return self._free > 0 and (self._free_locks > 0 or not lock)

    def _take(self, number: int, *, lock: bool) -> None:
        self._free -= number
        self._free_locks -= number if lock else 0

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
