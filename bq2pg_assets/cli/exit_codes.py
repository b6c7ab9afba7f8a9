"""What the exit status of every command means; the one place that says it.

Belongs here: the codes, their help text, and which one an error asks for. Does not: exiting.
"""

from collections.abc import Iterable
from enum import IntEnum

from bq2pg_assets.engine.errors import CancelledError, ConfigError, LockedError


class ExitCode(IntEnum):
    """The exit status of `bq2pg` and `bq-to-postgres`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    LOCKED = 4
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One phrase for the help text."""
        return MEANINGS[self]


MEANINGS = {
    ExitCode.DONE: "done, or nothing new",
    ExitCode.FAILED: "at least one table failed, or the command did",
    ExitCode.USAGE: "wrong usage or configuration; nothing was started",
    ExitCode.UNREACHABLE: "`bq2pg check`: a service does not answer or refuses",
    ExitCode.LOCKED: "another run holds the table; nothing else failed",
    ExitCode.INTERRUPTED: "interrupted; live tables and cursors untouched",
}

HELP = "exit codes:\n" + "\n".join(f"  {code.value:>3}  {code.meaning}" for code in ExitCode)


def code_of(error: BaseException) -> ExitCode:
    """The code one error asks for."""
    if isinstance(error, CancelledError | KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, LockedError):
        return ExitCode.LOCKED
    if isinstance(error, ConfigError):
        return ExitCode.USAGE
    return ExitCode.FAILED


def code_of_all(errors: Iterable[BaseException | None]) -> ExitCode:
    """The code of a command over many tables; None is a table that went well.

    An interruption outweighs all, then a failure; a code that names one cause is returned only
    when every error has that cause.
    """
    codes = {code_of(error) for error in errors if error is not None}
    if ExitCode.INTERRUPTED in codes:
        return ExitCode.INTERRUPTED
    if not codes:
        return ExitCode.DONE
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED
