"""Ctrl-C and SIGTERM while tables are copied.

Belongs here: the signal handlers and the thread that keeps them harmless. Does not: what a
cancelled run cleans up (the engine does).
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.engine.cancel import CancelToken

T = TypeVar("T")
LOOK_SECONDS = 0.2
CLEAR_LINE, SHOW_CURSOR = "\r\x1b[K", "\x1b[?25h"
ASKED = "cancelling: what is under way is undone first (Ctrl-C again to leave at once)\n"


@contextmanager
def cancelled_by_signals(token: CancelToken) -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM cancels cleanly; a second SIGINT ends the process.

    A second SIGTERM changes nothing: supervisors repeat it before they kill. Call it from the
    main thread and do the work in `in_thread`.
    """
    asked = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        if asked.is_set():
            if number == signal.SIGINT:
                _leave_at_once()
            return
        asked.set()
        _write(CLEAR_LINE, ASKED)
        token.cancel()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_thread(work: Callable[[], T]) -> T:
    """Do the work in another thread and wait for it.

    Python runs signal handlers in the main thread, between any two of its instructions. Were the
    work done there, a handler could find the work's own locks taken, for ever.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="bq2pg") as pool:
        future = pool.submit(work)
        while not future.done():
            # Not without a timeout: a signal that comes just before the wait does not end it.
            wait([future], timeout=LOOK_SECONDS)
        return future.result()


def _write(control: str, text: str = "") -> None:
    """To stderr without its buffer, which the handler may have interrupted half-way."""
    os.write(2, ((control if os.isatty(2) else "") + text).encode())


def _leave_at_once() -> None:
    """Without cleaning: the staging table and exported objects stay; they harm nothing."""
    _write(SHOW_CURSOR)  # the live display hides it
    os._exit(ExitCode.INTERRUPTED)
