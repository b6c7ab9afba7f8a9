"""Promise: what the engine notes is one line of the command, and its secrets stay out of it."""

import logging

import pytest

from bq2pg_assets.cli import output
from bq2pg_assets.cli.notes import notes_to

ENGINE = logging.getLogger("bq2pg_assets.engine.anything")


def noted() -> list[str]:
    """The lines of one warning with a traceback, one progress and one warning that comes late."""
    lines: list[str] = []
    with notes_to(lines.append):
        ENGINE.info("not for here")
        try:
            raise OSError("password=hunter2")
        except OSError as error:
            ENGINE.warning("could not %s: %s", "clean", error, exc_info=True)
    ENGINE.warning("too late")
    return lines


def test_a_warning_is_one_line_without_its_secret() -> None:
    assert noted() == ["note: could not clean: password=***"]


def test_its_traceback_is_shown_with_debug_only(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: output.show_tracebacks(False))
    output.show_tracebacks(True)
    note, told = noted()
    assert note == "note: could not clean: password=***"
    assert told.startswith("Traceback")
    assert told.endswith("OSError: password=***")
