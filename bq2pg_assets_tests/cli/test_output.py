"""Promise: an error is what happened, then the way out; and no secret."""

import pytest

from bq2pg_assets.cli.output import error_lines, print_error, show_tracebacks
from bq2pg_assets.engine.errors import (
    CancelledError,
    ConfigError,
    MappingError,
    SourceError,
)
from bq2pg_assets.engine.redact import redact


def test_an_error_is_what_happened_then_the_way_out() -> None:
    error = SourceError("table t", met="no such table", expected="one", way_out="Name another.")
    assert error_lines(error) == [
        "error: table t: no such table; expected one",
        "  → Name another.",
    ]


def test_a_way_out_of_many_lines_keeps_them_and_long_ones_are_wrapped() -> None:
    way_out = "Correct this:\n  " + "word " * 30 + "\n  last"
    lines = error_lines(ConfigError("x", met="m", expected="e", way_out=way_out))
    assert lines[1] == "  → Correct this:"
    assert lines[2].startswith("      word")
    assert lines[3].startswith("      word")
    assert lines[-1] == "      last"
    assert max(map(len, lines)) <= 100


def test_every_unmappable_column_has_its_line() -> None:
    error = MappingError("table t", ["a is odd", "b is odd"], way_out="Exclude them.")
    assert error_lines(error) == [
        "error: table t:",
        "  - a is odd",
        "  - b is odd",
        "  → Exclude them.",
    ]


def test_a_cancelled_run_says_what_is_untouched() -> None:
    assert error_lines(CancelledError("table t")) == [
        "table t: cancelled; live table and cursor untouched."
    ]


def test_the_unexpected_is_said_to_be_a_defect() -> None:
    first, way_out = error_lines(KeyError("x"))
    assert first == "error: unexpected KeyError: 'x'"
    assert "--debug" in way_out


def test_only_debug_shows_a_traceback_and_only_of_the_unexpected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shown(error: BaseException) -> str:
        print_error(error)
        return capsys.readouterr().err

    expected = ConfigError("x", met="m", expected="e", way_out="w")
    try:
        raise ValueError("password=hunter2")
    except ValueError as error:
        unexpected = error
    assert "Traceback" not in shown(unexpected)
    show_tracebacks(True)
    try:
        assert "Traceback" in shown(unexpected)
        assert "hunter2" not in shown(unexpected)
        assert "Traceback" not in shown(expected)
    finally:
        show_tracebacks(False)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://loader:hunter2@db/x failed",
        "postgresql://loader:hun:ter2@db/x failed",
        "host=db password=hunter2 user=x",
        "host=db password = 'hunter2 and more hunter2' user=x",
        r"password='it\'s hunter2'",
        "postgresql://db/x?user=a&password=hunter2&x=y",
        "sslpassword=hunter2",
    ],
)
def test_passwords_are_hidden_in_the_words_of_others(text: str) -> None:
    assert "ter2" not in redact(text)
    error = ConfigError("x", met=text, expected="e", way_out=text)
    assert "ter2" not in "".join(error_lines(error))
    assert "ter2" not in "".join(error_lines(ValueError(text)))
