"""The values that refuse to be wrong, and the token that stops a run from any thread."""

import threading
import time

import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError
from bq2pg_assets.engine.model import RunId, RunOptions, TargetName

PATIENCE = 30.0


def test_a_new_token_asks_nothing() -> None:
    token = CancelToken()
    token.check("x")
    token.wait(0, where="x")
    assert not token.cancelled


def test_a_cancelled_token_raises_where_it_is_looked_at() -> None:
    token = CancelToken()
    token.cancel()
    token.cancel()
    assert token.cancelled
    with pytest.raises(CancelledError, match="table t: the run was cancelled"):
        token.check("table t")


def test_a_wait_ends_when_the_token_is_cancelled() -> None:
    token = CancelToken()
    canceller = threading.Thread(target=token.cancel)
    start = time.monotonic()
    canceller.start()
    with pytest.raises(CancelledError):
        token.wait(PATIENCE, where="x")
    canceller.join()
    assert time.monotonic() - start < PATIENCE


def test_a_cancel_interrupts_what_is_inside_and_not_what_has_left() -> None:
    token, called = CancelToken(), []
    with token.interrupting(lambda: called.append("left")):
        pass
    with (
        token.interrupting(lambda: called.append("outer")),
        token.interrupting(lambda: called.append("inner")),
    ):
        token.cancel()
    assert called == ["outer", "inner"]
    token.cancel()
    assert called == ["outer", "inner"]


def test_what_enters_after_the_cancel_is_interrupted_at_once() -> None:
    token, called = CancelToken(), []
    token.cancel()
    with token.interrupting(lambda: called.append(1)):
        assert called == [1]


def test_the_same_interrupt_may_be_registered_twice() -> None:
    token, called = CancelToken(), []

    def interrupt() -> None:
        called.append(1)

    with token.interrupting(interrupt):
        with token.interrupting(interrupt):
            pass
        token.cancel()
    assert called == [1]


def test_an_error_inside_takes_the_interrupt_away_as_well() -> None:
    token, called = CancelToken(), []
    with pytest.raises(ValueError, match="x"), token.interrupting(lambda: called.append(1)):
        raise ValueError("x")
    token.cancel()
    assert called == []


def test_an_interrupt_never_hits_what_follows_its_block() -> None:
    token, begun, release, over = (
        CancelToken(),
        threading.Event(),
        threading.Event(),
        threading.Event(),
    )
    late: list[bool] = []

    def interrupt() -> None:
        begun.set()
        assert release.wait(PATIENCE)
        late.append(over.is_set())

    def block() -> None:
        with token.interrupting(interrupt):
            entered.set()
            assert begun.wait(PATIENCE)
        over.set()

    entered = threading.Event()
    blocked = threading.Thread(target=block)
    blocked.start()
    assert entered.wait(PATIENCE)
    canceller = threading.Thread(target=token.cancel)
    canceller.start()
    assert begun.wait(PATIENCE)
    assert not over.wait(0.05)
    release.set()
    blocked.join()
    canceller.join()
    assert late == [False]


def test_a_cancel_within_an_interrupt_does_not_wait_for_itself() -> None:
    token = CancelToken()
    calls = iter([True])
    with token.interrupting(lambda: token.cancel() if next(calls, False) else None):
        token.cancel()
    assert token.cancelled


def test_many_threads_are_all_interrupted_by_one_cancel() -> None:
    token, count = CancelToken(), 8
    ready = threading.Barrier(count + 1)
    stopped: list[int] = []

    def block(number: int) -> None:
        interrupted = threading.Event()
        with token.interrupting(interrupted.set):
            ready.wait(PATIENCE)
            if interrupted.wait(PATIENCE):
                stopped.append(number)

    threads = [threading.Thread(target=block, args=[n]) for n in range(count)]
    for thread in threads:
        thread.start()
    ready.wait(PATIENCE)
    token.cancel()
    for thread in threads:
        thread.join()
    assert sorted(stopped) == list(range(count))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_counts_rows(limit: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        RunOptions(limit=limit)


@pytest.mark.parametrize(
    ("options", "partial"),
    [
        (RunOptions(), False),
        (RunOptions(full_refresh=True), False),
        (RunOptions(limit=1), True),
        (RunOptions(where="x"), True),
    ],
)
def test_a_run_is_partial_when_it_may_leave_rows_out(options: RunOptions, partial: bool) -> None:
    assert options.partial is partial


def test_the_attempts_of_a_run_have_different_slugs() -> None:
    assert [RunId("r", n).slug for n in (0, 1)] == ["r-0", "r-1"]


@pytest.mark.parametrize(
    ("schema", "table", "text"),
    [
        ("public", "Orders", "public.Orders"),
        ("a.b", "c", '"a.b".c'),
        ("a", "b.c", 'a."b.c"'),
        ("a", 'b"c', 'a."b""c"'),
    ],
)
def test_a_targets_key_tells_schema_and_table_apart(schema: str, table: str, text: str) -> None:
    assert str(TargetName(schema, table)) == text
