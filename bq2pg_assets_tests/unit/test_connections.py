"""The limit on connections holds, lets nobody starve, and a cancellation ends the waiting."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.connections import ConnectionLimit
from bq2pg_assets.engine.errors import CancelledError


class Counted(ConnectionLimit):
    """A limit that knows the most that were taken at once."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.now, self.highest, self.lock = 0, 0, threading.Lock()

    def hold(self, *, lock: bool) -> "ExitStack":
        stack = ExitStack()
        stack.enter_context(self.taken(lock=lock, cancel=CancelToken(), where="t"))
        with self.lock:
            self.now += 1
            self.highest = max(self.highest, self.now)
        stack.callback(self._one_less)
        return stack

    def _one_less(self) -> None:
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("most", [2, 3, 8])
def test_runs_that_hold_a_lock_always_find_a_connection_to_copy_with(most: int) -> None:
    limit = Counted(most)

    def run() -> None:
        with limit.hold(lock=True), ThreadPoolExecutor(3) as workers:
            list(workers.map(lambda _: limit.hold(lock=False).close(), range(5)))

    with ThreadPoolExecutor(32) as pool:
        for done in [pool.submit(run) for _ in range(32)]:
            done.result(timeout=60)
    assert 2 <= limit.highest <= most
    assert limit.now == 0


def test_a_cancellation_ends_the_waiting_and_takes_nothing() -> None:
    limit, cancel = ConnectionLimit(2), CancelToken()
    with limit.taken(lock=True, cancel=CancelToken(), where="a"):
        threading.Timer(0.01, cancel.cancel).start()
        with pytest.raises(CancelledError), limit.taken(lock=True, cancel=cancel, where="b"):
            raise AssertionError("two locks of two connections leave none to copy with")
    with limit.taken(lock=True, cancel=CancelToken(), where="c"):
        pass


def test_a_connection_that_failed_to_open_gives_its_place_back() -> None:
    limit = ConnectionLimit(2)
    for _ in range(5):
        with (
            pytest.raises(OSError, match="refused"),
            limit.taken(lock=True, cancel=CancelToken(), where="a"),
        ):
            raise OSError("refused")


def test_less_than_two_is_refused() -> None:
    with pytest.raises(ValueError, match="two connections"):
        ConnectionLimit(1)
