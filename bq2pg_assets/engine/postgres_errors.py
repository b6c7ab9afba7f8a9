"""psycopg's exceptions in our words.

Belongs here: which SQLSTATE can heal by a retry, and the way out of each common one.
Does not: raising in the first place (postgres.py). Source: PostgreSQL, Appendix A.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, TargetError

# Class 08 connection, 53 resources, 57P shutdown; 40001 serialization, 40P01 deadlock,
# 55P03 lock not available.
RETRYABLE = ("08", "53", "57P", "40001", "40P01", "55P03")
WAYS_OUT = {
    "28P01": "Correct the password in BQ2PG_PG_DSN, PGPASSWORD or ~/.pgpass.",
    "28000": "Correct the user, and what pg_hba.conf lets in.",
    "3D000": "Create the database, or name an existing one in the connection string.",
    "42501": "Grant the role what it lacks: USAGE and CREATE on the schema, ownership or "
    "SELECT, INSERT, UPDATE, DELETE on the table, CREATE on the database for schema bq2pg; with "
    "row-level security, BYPASSRLS.",
    "53100": "Free disk space on the server.",
    "53300": "Lower parallelism, or raise max_connections.",
    "55P03": "A reader or writer held the table for too long; it is tried again.",
    "57014": "Raise the server's statement_timeout for this role.",
    "22021": "A text holds a NUL byte, which PostgreSQL cannot store: take it out with a query "
    "source, for example REPLACE(column, CODE_POINTS_TO_STRING([0]), '').",
    "22P05": "A text holds \\u0000, which jsonb cannot store, or a character that the database's "
    "encoding lacks: take it out with a query source.",
    "23502": "Allow NULL in the target's column, or exclude such rows.",
    "23503": "Another table refers to rows that would go: remove the reference first.",
    "23505": "Rows share a value that an index of the target wants unique: correct the key.",
}

# A refused connection carries no SQLSTATE in psycopg, only the server's words.
REFUSALS = (
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (re.compile(r'FATAL:\s+database ".*" does not exist'), "3D000"),
    (re.compile(r"FATAL:\s+permission denied for database"), "42501"),
    (
        re.compile(
            r'FATAL:\s+role ".*" does not exist|is not permitted to log in|pg_hba\.conf'
            r"|FATAL:\s+\S+ authentication failed"
        ),
        "28000",
    ),
)


@contextmanager
def postgres_errors(where: str, *, cancel: CancelToken | None = None) -> Iterator[None]:
    """Translate what psycopg raises inside into TargetError, or CancelledError when asked to."""
    try:
        yield
    except psycopg.Error as error:
        if cancel is not None and cancel.cancelled:
            raise CancelledError(where) from error
        raise _target_error(where, error) from error


def _target_error(where: str, error: psycopg.Error) -> TargetError:
    code = error.sqlstate or ""
    # Without a code the server was never reached, or the connection broke.
    lost = isinstance(error, psycopg.OperationalError) and not code
    if lost and (refused := _refusal(str(error))):
        code, lost = refused, False
    retryable = lost or code.startswith(RETRYABLE)
    if lost:
        way_out = "Check host, port and network, and that the server runs; it is tried again."
    elif isinstance(error, pg.QueryCanceled) and "statement timeout" not in str(error):
        way_out = "Someone cancelled the statement on the server; run again."
    else:
        way_out = WAYS_OUT.get(code, "See PostgreSQL's message.")
    return TargetError(
        where,
        met=_sentence(error),
        expected="PostgreSQL to do it",
        way_out=way_out,
        retryable=retryable,
        sqlstate=code,
    )


def _refusal(message: str) -> str:
    """The SQLSTATE of a connection that the server refused for good, or '' for any other."""
    return next((code for words, code in REFUSALS if words.search(message)), "")


def _sentence(error: psycopg.Error) -> str:
    """PostgreSQL's own message in one line, without the rows it quotes in DETAIL."""
    message = error.diag.message_primary or str(error)
    outermost = (error.diag.context or "").rpartition("\n")[2]  # before it the value may stand
    column = f" ({outermost})" if outermost.startswith("COPY") else ""
    return " ".join((message + column).split())
