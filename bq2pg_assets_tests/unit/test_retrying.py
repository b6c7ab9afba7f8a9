"""Which errors are met by another call, how many, how far apart, and what ends the waiting."""

import threading

import pytest
import stamina

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import Bq2pgError, CancelledError, SourceError
from bq2pg_assets.engine.retrying import Again, Patience, call_patiently

PATIENCE = Patience(calls=4, first=2.0, longest=5.0)


def error(*, retryable: bool = True) -> SourceError:
    return SourceError("bq", met="503", expected="200", way_out="Wait.", retryable=retryable)


class Failing:
    """Raises each of the errors in turn, then returns the number it was called with."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), list[int]()

    def __call__(self, number: int) -> int:
        self.calls.append(number)
        if self.errors:
            raise self.errors.pop(0)
        return number


def calling(
    failing: Failing, *, cancel: CancelToken | None = None, told: list[Again] | None = None
) -> int:
    return call_patiently(
        failing,
        patience=PATIENCE,
        cancel=cancel or CancelToken(),
        where="table t",
        tell=(told if told is not None else []).append,
    )


def test_an_error_that_may_pass_is_met_by_another_call() -> None:
    failing, told = Failing(error(), error()), list[Again]()
    assert calling(failing, told=told) == 2
    assert failing.calls == [0, 1, 2]
    assert [again.number for again in told] == [2, 3]


def test_the_last_error_is_raised_when_patience_is_at_an_end() -> None:
    errors = [error() for _ in range(4)]
    failing = Failing(*errors)
    with pytest.raises(SourceError) as stopped:
        calling(failing)
    assert stopped.value is errors[-1]
    assert failing.calls == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "final", [error(retryable=False), CancelledError("t"), ValueError("a mistake of ours")]
)
def test_a_final_error_is_raised_at_once(final: Exception) -> None:
    failing = Failing(error(), final)
    with pytest.raises(type(final)):
        calling(failing)
    assert failing.calls == [0, 1]


def test_the_caller_may_be_stricter_than_the_error() -> None:
    failing = Failing(error())
    with pytest.raises(SourceError):
        call_patiently(
            failing,
            patience=PATIENCE,
            cancel=CancelToken(),
            where="t",
            may_pass=lambda _: False,
        )
    assert failing.calls == [0]


def test_waits_double_up_to_the_longest_each_with_a_part_of_chance() -> None:
    told = list[Again]()
    milliseconds = Patience(calls=5, first=0.001, longest=0.004)
    with stamina.set_testing(False):
        call_patiently(
            Failing(*[error() for _ in range(4)]),
            patience=milliseconds,
            cancel=CancelToken(),
            where="t",
            tell=told.append,
        )
    factors = [again.seconds / least for again, least in zip(told, (1, 2, 4, 4), strict=True)]
    assert all(0.001 <= factor <= 0.0015 for factor in factors)
    assert len(set(factors)) == 4


def test_a_cancellation_ends_the_waiting() -> None:
    cancel, failing = CancelToken(), Failing(error())
    patience = Patience(calls=2, first=3600.0, longest=3600.0)
    waiting = threading.Event()

    def cancel_it() -> None:
        assert waiting.wait(10)
        cancel.cancel()

    with stamina.set_testing(False):
        thread = threading.Thread(target=cancel_it)
        thread.start()
        with pytest.raises(CancelledError):
            call_patiently(
                failing,
                patience=patience,
                cancel=cancel,
                where="t",
                tell=lambda _: waiting.set(),
            )
        thread.join()
    assert failing.calls == [0]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """stamina's own hooks would write the error, with what secret it holds, to stdout."""
    secret = Bq2pgError("x", met="password=hunter2", expected="", way_out="", retryable=True)
    calling(Failing(secret))
    assert capfd.readouterr() == ("", "")
