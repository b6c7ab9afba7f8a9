"""What a command prints and where: results on stdout, the rest on stderr.

Belongs here: the two consoles, and errors in words: what happened, then the way out. Does not:
deciding what to print. No secret passes: see engine/redact.py.
"""

import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from bq2pg_assets.engine.errors import Bq2pgError, CancelledError, MappingError
from bq2pg_assets.engine.redact import redact

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
_tracebacks = False


def console(*, stderr: bool = False) -> "Console":
    """A rich console. It finds out itself whether somebody watches (TERM, NO_COLOR, a pipe)."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(line: str = "") -> None:
    """One line of a result, at once even into a pipe."""
    print(line, flush=True)


def note(line: str) -> None:
    """One line that is not the result: progress, warnings, hints."""
    print(line, file=sys.stderr, flush=True)


def error_lines(error: BaseException) -> list[str]:
    """What happened, then the way out. Pure."""
    if isinstance(error, CancelledError):
        return [f"{error.where}: cancelled; live table and cursor untouched."]
    if isinstance(error, MappingError):
        happened = [f"error: {error.where}:", *(f"  - {problem}" for problem in error.problems)]
    elif isinstance(error, Bq2pgError):
        happened = [f"error: {error.where}: {error.met}; expected {error.expected}"]
    else:
        return [
            f"error: unexpected {type(error).__name__}: {redact(str(error))}",
            "  → This is likely a defect of bq2pg. `bq2pg --debug …` shows where it happened.",
        ]
    return [redact(line) for line in happened + _way_out(error.way_out)]


def _way_out(text: str) -> list[str]:
    """Wrapped and indented; lines that the text has itself (one for each problem) stay lines."""
    lines = []
    for at, line in enumerate(text.splitlines()):
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(),
            WIDTH,
            initial_indent=("    " if at else "  → ") + indent,
            subsequent_indent="    " + indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def show_tracebacks(wanted: bool) -> None:
    """What `--debug` says; a process has one command line, so this is one for the process."""
    global _tracebacks
    _tracebacks = wanted


def tracebacks_shown() -> bool:
    """Whether `--debug` was given."""
    return _tracebacks


def print_error(error: BaseException, *, write: Callable[[str], None] = note) -> None:
    """The error on stderr. A traceback only for the unexpected, and only with `--debug`."""
    if _tracebacks and not isinstance(error, Bq2pgError):
        write(redact("".join(traceback.format_exception(error))).rstrip())
    for line in error_lines(error):
        write(line)
