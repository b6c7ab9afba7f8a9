"""Promise: numbers, sizes, moments and exit codes read the same everywhere."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from bq2pg_assets.cli import wording
from bq2pg_assets.cli.exit_codes import HELP, ExitCode, code_of, code_of_all
from bq2pg_assets.engine.errors import CancelledError, ConfigError, LockedError, SourceError

WORDS = {"met": "a", "expected": "b", "way_out": "c"}
FAILED, LOCKED = SourceError("x", **WORDS), LockedError("x", **WORDS)
USAGE, CANCELLED = ConfigError("x", **WORDS), CancelledError("x")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1024**4, "1.0 TiB"),
        (3 * 1024**6, "3072.0 PiB"),
    ],
)
def test_sizes_are_in_binary_units(number: int, text: str) -> None:
    assert wording.size(number) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (0, "free"),
        (0.00001, "<$0.0001"),
        (0.00025, "$0.00025"),
        (0.0123, "$0.01"),
        (1234.5, "$1,234.50"),
    ],
)
def test_prices_never_round_down_to_nothing(dollars: float, text: str) -> None:
    assert wording.price(dollars) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3660, "1 h 1 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (date(2024, 1, 31), "2024-01-31"),
        (datetime(2024, 1, 31, 5), "2024-01-31 05:00:00"),  # noqa: DTZ001 - a DATETIME
        (datetime(2024, 1, 31, 5, tzinfo=UTC), "2024-01-31 05:00:00Z"),
        (datetime(2024, 1, 31, 5, 0, 0, 1, tzinfo=UTC), "2024-01-31 05:00:00.000001Z"),
        (datetime(2024, 1, 31, 5, tzinfo=timezone(timedelta(hours=2))), "2024-01-31 03:00:00Z"),
    ],
)
def test_moments_keep_every_digit_and_say_when_they_are_utc(
    value: datetime | date | None, text: str
) -> None:
    assert wording.moment(value) == text


def test_rates_and_plurals() -> None:
    assert (wording.rate(1000, 0.5), wording.rate(0, 1), wording.rate(5, 0)) == ("2,000", "", "")
    assert (wording.plural(1, "row"), wording.plural(1200, "row")) == ("1 row", "1,200 rows")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FAILED, ExitCode.FAILED),
        (ValueError(), ExitCode.FAILED),
        (LOCKED, ExitCode.LOCKED),
        (USAGE, ExitCode.USAGE),
        (CANCELLED, ExitCode.INTERRUPTED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_every_error_has_its_code(error: BaseException, code: ExitCode) -> None:
    assert code_of(error) is code


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], ExitCode.DONE),
        ([None, None], ExitCode.DONE),
        ([None, FAILED], ExitCode.FAILED),
        ([LOCKED, None], ExitCode.LOCKED),
        ([LOCKED, FAILED], ExitCode.FAILED),
        ([USAGE, FAILED], ExitCode.FAILED),
        ([FAILED, CANCELLED], ExitCode.INTERRUPTED),
    ],
)
def test_many_tables_have_one_code(errors: list[BaseException | None], code: ExitCode) -> None:
    assert code_of_all(errors) is code


def test_the_help_lists_every_code() -> None:
    assert [line.split()[0] for line in HELP.splitlines()[1:]] == [str(int(c)) for c in ExitCode]
