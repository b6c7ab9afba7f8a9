"""The tree of errors as its docstring draws it, and how an error is put into words."""

import re

import pytest

from bq2pg_assets.engine import errors
from bq2pg_assets.engine.errors import (
    Bq2pgError,
    CancelledError,
    LockedError,
    MappingError,
    SourceError,
    TargetError,
    VerifyError,
)
from bq2pg_assets.engine.results import Check

SAYS = {"met": "a view", "expected": "a table", "way_out": "Choose another."}
TREE = dict(re.findall(r"[├└]── (\w+) +(.+)", errors.__doc__ or ""))
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Bq2pgError) and value is not Bq2pgError
}


def test_the_docstring_draws_every_error_and_no_other() -> None:
    assert set(TREE) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_each_error_derives_from_the_root_alone(name: str) -> None:
    assert CLASSES[name].__bases__ == (Bq2pgError,)


@pytest.mark.parametrize(
    "kind", [k for k in CLASSES.values() if k not in (MappingError, CancelledError)]
)
def test_a_message_says_where_what_was_met_what_was_expected_and_the_way_out(
    kind: type[Bq2pgError],
) -> None:
    error = kind("target sales.orders", **SAYS)
    assert str(error) == "target sales.orders: a view; expected a table. Choose another."
    assert (error.where, error.met) == ("target sales.orders", "a view")
    assert (error.expected, error.way_out) == ("a table", "Choose another.")


@pytest.mark.parametrize(
    "kind", [k for k in CLASSES.values() if k not in (MappingError, CancelledError)]
)
def test_only_a_held_lock_may_heal_unless_the_raiser_knows_better(kind: type[Bq2pgError]) -> None:
    assert kind("x", **SAYS).retryable is (kind is LockedError)
    assert kind("x", **SAYS, retryable=True).retryable is True
    assert kind("x", **SAYS, retryable=False).retryable is False
    assert kind.retryable is (kind is LockedError), "an instance must not change its class"


def test_a_mapping_error_holds_each_problem_and_tells_all() -> None:
    error = MappingError("table t", ["one", "two"], way_out="Rename.")
    assert error.problems == ("one", "two")
    assert str(error) == "table t: one; two; expected columns PostgreSQL can hold. Rename."


def test_a_cancelled_run_says_that_nothing_changed() -> None:
    error = CancelledError("table t")
    assert str(error) == (
        "table t: the run was cancelled; expected to finish. Run it again when you like: the live "
        "table and its cursor are as before."
    )
    assert not error.retryable


def test_the_services_own_words_are_kept_beside_ours() -> None:
    assert SourceError("x", **SAYS, reason="notFound").reason == "notFound"
    assert SourceError("x", **SAYS).reason == ""
    assert TargetError("x", **SAYS, sqlstate="23505").sqlstate == "23505"
    assert TargetError("x", **SAYS).sqlstate == ""


def test_a_failed_verification_holds_its_verdicts() -> None:
    verdicts = [Check("nulls", passed=False, says="1 NULL in a")]
    assert VerifyError("x", **SAYS, checks=verdicts).checks == tuple(verdicts)
    assert VerifyError("x", **SAYS).checks == ()
