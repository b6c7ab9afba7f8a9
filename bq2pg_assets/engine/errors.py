"""Every error bq2pg raises on purpose.

Belongs here: the tree, and how an error is put into words. Does not: deciding when to raise.

    Bq2pgError
    ├── ConfigError        the YAML, the settings or the arguments are wrong
    ├── SourceError        BigQuery refused, failed or was not reachable
    ├── StorageError       Cloud Storage refused, failed or was not reachable
    ├── TargetError        PostgreSQL refused, failed or was not reachable
    ├── MappingError       columns that cannot be carried as they are
    ├── VerifyError        what arrived is not what was sent; nothing was published
    ├── LockedError        another run holds the table
    ├── CancelledError     the run was cancelled; nothing was published
    └── LocalStackError    the emulators of the development stack

`retryable` answers one question for whoever called: can the same call succeed later with
nothing changed by hand?
"""

from collections.abc import Sequence
from typing import Any


class Bq2pgError(Exception):
    """An error with its way out.

    `where` names the table, column, file or service; `met` what was found there; `expected`
    what should have been; `way_out` what the reader can do now. `retryable` is True when the
    same call may succeed later unchanged. None of them may hold a secret.
    """

    retryable = False

    def __init__(
        self, where: str, *, met: str, expected: str, way_out: str, retryable: bool | None = None
    ) -> None:
        self.where, self.met, self.expected, self.way_out = where, met, expected, way_out
        if retryable is not None:
            self.retryable = retryable
        super().__init__(f"{where}: {met}; expected {expected}. {way_out}")


class ConfigError(Bq2pgError):
    """The YAML, the settings or the arguments are wrong."""


class SourceError(Bq2pgError):
    """BigQuery refused, failed or was not reachable. `reason` is BigQuery's own word for it."""

    def __init__(
        self,
        where: str,
        *,
        met: str,
        expected: str,
        way_out: str,
        retryable: bool | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(where, met=met, expected=expected, way_out=way_out, retryable=retryable)
        self.reason = reason


class StorageError(Bq2pgError):
    """Cloud Storage refused, failed or was not reachable. `reason` is as BigQuery would say it."""

    def __init__(
        self,
        where: str,
        *,
        met: str,
        expected: str,
        way_out: str,
        retryable: bool | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(where, met=met, expected=expected, way_out=way_out, retryable=retryable)
        self.reason = reason


class TargetError(Bq2pgError):
    """PostgreSQL refused, failed or was not reachable. `sqlstate` is PostgreSQL's code or ''."""

    def __init__(
        self,
        where: str,
        *,
        met: str,
        expected: str,
        way_out: str,
        retryable: bool | None = None,
        sqlstate: str = "",
    ) -> None:
        super().__init__(where, met=met, expected=expected, way_out=way_out, retryable=retryable)
        self.sqlstate = sqlstate


class MappingError(Bq2pgError):
    """Columns that cannot be carried as they are; `problems` holds one sentence for each."""

    def __init__(self, where: str, problems: Sequence[str], *, way_out: str) -> None:
        self.problems = tuple(problems)
        super().__init__(
            where, met="; ".join(problems), expected="columns PostgreSQL can hold", way_out=way_out
        )


class VerifyError(Bq2pgError):
    """What arrived is not what was sent, or a check failed. Nothing was published.

    `checks` holds the verdicts (`results.Check`) as far as they were reached.
    """

    def __init__(
        self,
        where: str,
        *,
        met: str,
        expected: str,
        way_out: str,
        retryable: bool | None = None,
        checks: Sequence[Any] = (),
    ) -> None:
        super().__init__(where, met=met, expected=expected, way_out=way_out, retryable=retryable)
        self.checks = tuple(checks)


class LockedError(Bq2pgError):
    """Another run holds the table."""

    retryable = True


class CancelledError(Bq2pgError):
    """The run was cancelled. Nothing was published."""

    def __init__(self, where: str) -> None:
        super().__init__(
            where,
            met="the run was cancelled",
            expected="to finish",
            way_out="Run it again when you like: the live table and its cursor are as before.",
        )


class LocalStackError(Bq2pgError):
    """An emulator or the local PostgreSQL could not be built, started or reached."""
