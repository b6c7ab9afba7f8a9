"""Promise: a schedule that is accepted ticks in Dagster; a wrong one says what is wrong."""

from datetime import UTC, datetime

import pytest
from dagster._utils.schedules import is_valid_cron_string, schedule_execution_time_iterator
from hypothesis import given
from hypothesis import strategies as st

from bq2pg_assets.config.cron import ALIASES, cron_problems

GOOD = [
    *ALIASES,
    "* * * * *",
    "0 6 * * *",
    "*/5 * * * *",
    "0,30 8-18/2 1,15 jan-jun mon-fri",
    "0 0 l * *",
    "0 0 29 2 *",
    "0 0 31 * *",
    "0 0 * * sat-sun",
    "0 0 * * 7",
    "5/10 * * * *",
    "  0   6 * * MON ",
]
BAD = [
    ("", "'' has 0 fields; a cron expression has 5"),
    ("0 6 * *", "'0 6 * *' has 4 fields; a cron expression has 5"),
    ("0 0 6 * * *", "'0 0 6 * * *' has 6 fields"),
    ("@reboot", "'@reboot' has 1 fields"),
    ("60 6 * * *", "[60 6 * * *] is not acceptable, out of range"),
    ("0 24 * * *", "[0 24 * * *] is not acceptable, out of range"),
    ("0 6 * * monday", "[0 6 * * monday] is not acceptable"),
    ("*/0 * * * *", "[*/0 * * * *] step '0' in field 0 is not acceptable"),
    ("0 6,, * * *", "[0 6,, * * *] is not acceptable"),
    ("-1 6 * * *", "[-1 6 * * *] is not acceptable"),
    ("0 0 31 2 *", "'0 0 31 2 *' names a day that no month of it has; choose an earlier day"),
    ("0 0 31 4,6 *", "'0 0 31 4,6 *' names a day that no month of it has"),
    ("٣ 6 * * *", "'٣ 6 * * *' has 5 fields"),
]
VALUES = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, ("jan", "dec")),
    (0, 7, ("mon", "sun")),
)


@pytest.mark.parametrize("text", GOOD)
def test_a_right_schedule_is_accepted_and_ticks_in_dagster(text: str) -> None:
    assert list(cron_problems(text)) == []
    start = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    ticks = schedule_execution_time_iterator(start, text.strip(), "UTC", ascending=True)
    assert next(ticks).year in (2024, 2025)


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_a_wrong_schedule_says_what_is_wrong_with_it(text: str, expected: str) -> None:
    (problem,) = cron_problems(text)
    assert problem.startswith(expected)


def _item(low: int, high: int, names: tuple[str, ...]) -> st.SearchStrategy[str]:
    value = st.integers(low, high + 1).map(str)
    value = value | st.sampled_from(names) if names else value
    plain = st.just("*") | value | st.builds("{}-{}".format, value, value)
    return plain | st.builds("{}/{}".format, plain, st.integers(0, 70))


EXPRESSIONS = st.tuples(
    *(
        st.lists(_item(low, high, names), min_size=1, max_size=3).map(",".join)
        for low, high, names in VALUES
    )
).map(" ".join)


@given(EXPRESSIONS)
def test_whatever_is_accepted_dagster_accepts_too(text: str) -> None:
    if not list(cron_problems(text)):
        assert is_valid_cron_string(text)


@given(st.text(alphabet="0123456789*/-,l# @monjan", max_size=20))
def test_no_text_breaks_the_check(text: str) -> None:
    if not list(cron_problems(text)):
        assert is_valid_cron_string(text)
