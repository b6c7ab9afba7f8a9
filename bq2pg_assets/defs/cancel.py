"""How a termination reaches the tables that a run is loading.

Belongs here: the cancel tokens of the running steps, by run id, and handing one to the engine.
Does not: noticing the termination in a run of threads (threads.py).

Dagster raises its interrupt in the main thread, at any bytecode: also between a COMMIT and its
answer. The engine is therefore never in its way. It runs in another thread and learns of the
termination from its token, at points of its own choosing; while it runs, the main thread has the
interrupt captured instead of raised, by Dagster's own means (private ones of 1.13, as threads.py).
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt

from bq2pg_assets.engine.cancel import CancelToken

T = TypeVar("T")
LOOK_SECONDS = 0.2

logger = logging.getLogger(__name__)
_lock = threading.Lock()
_tokens: dict[str, set[CancelToken]] = defaultdict(set)
_cancelled: set[str] = set()


def cancel_run(run_id: str) -> None:
    """Cancel every step of the run that is running or starts later. Returns at once."""
    with _lock:
        _cancelled.add(run_id)
        tokens = list(_tokens[run_id])
    for token in tokens:
        # Interrupting what blocks may itself take a moment (PostgreSQL's cancel is a connection of
        # its own): one table must not keep the next from hearing of it.
        threading.Thread(target=_cancel, args=[token], daemon=True).start()


def is_cancelled(run_id: str) -> bool:
    """Whether someone asked the run to stop."""
    with _lock:
        return run_id in _cancelled


def forget_run(run_id: str) -> None:
    """Drop what is kept of a run whose steps have all ended."""
    with _lock:
        _cancelled.discard(run_id)
        _tokens.pop(run_id, None)


def call_cancellable(call: Callable[[CancelToken], T], *, run_id: str) -> T:
    """Call with a token that a termination of the run cancels; returns or raises as the call does.

    When this returns, the call has ended, cancelled or not: nothing goes on behind it.
    """
    with _token(run_id) as token:
        if threading.current_thread() is not threading.main_thread():
            return call(token)
        with capture_interrupts(), ThreadPoolExecutor(1, thread_name_prefix="bq2pg-step") as pool:
            future = pool.submit(call, token)
            _wait_for(future, run_id=run_id)
        return future.result()


def _wait_for(future: Future[T], *, run_id: str) -> None:
    """Wait in the main thread; an interrupt becomes a cancellation, and the wait goes on."""
    while not future.done():
        # Not without a timeout: the system may give a signal to another thread, and that wakes no
        # main thread that waits for a lock.
        wait([future], timeout=LOOK_SECONDS)
        if pop_captured_interrupt():
            cancel_run(run_id)


@contextmanager
def _token(run_id: str) -> Iterator[CancelToken]:
    token = CancelToken()
    with _lock:
        _tokens[run_id].add(token)
        late = run_id in _cancelled
    if late:
        token.cancel()
    try:
        yield token
    finally:
        with _lock:
            _tokens[run_id].discard(token)
            if not _tokens[run_id]:
                del _tokens[run_id]


def _cancel(token: CancelToken) -> None:
    try:
        token.cancel()
    except Exception:
        # The token is set before anything is interrupted: the step still stops at its next look.
        logger.warning("could not interrupt a blocking call; its step stops later", exc_info=True)
