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

# Class 08 connection, 53200 memory, 53300 connections, 57P01 to 57P03 shutdown and start, 40001
# serialization, 40P01 deadlock, 55P03 lock not available. A full disk (53100), a configured limit
# (53400), a dropped database (57P04) and the session timeouts stay until somebody acts.
RETRYABLE = ("08", "53200", "53300", "57P01", "57P02", "57P03", "40001", "40P01", "55P03")
WAYS_OUT = {
    "08": "Run again when the server is reachable.",
    "0A000": "See PostgreSQL's message: this server, or this kind of table, cannot do it. What "
    "needs a column whose type is to be widened (a view, a trigger) is dropped before the run and "
    "created again after it; schema_changes: freeze asks for no other type.",
    "22021": "A text holds a NUL byte, which PostgreSQL cannot store: say nul_bytes: strip or "
    "replace in the table's YAML.",
    "22P05": "A text holds \\u0000, which jsonb cannot store, or a character that the database's "
    "encoding lacks: say nul_bytes: strip or replace, or take it out with an expression.",
    "23502": "Allow NULL in the target's column, or exclude such rows.",
    "23503": "Another table refers to rows that would go: remove the reference first.",
    "23505": "Rows share a value that an index of the target wants unique: correct the key.",
    "23514": "A CHECK of the target, or its lack of a partition, refuses a row: change it, or "
    "exclude such rows.",
    "25006": "The server is a replica, or default_transaction_read_only is on: name the primary in "
    "the connection string.",
    "25P03": "Raise the server's idle_in_transaction_session_timeout for this role.",
    "25P04": "Raise the server's transaction_timeout for this role.",
    "28000": "Correct the user, and what pg_hba.conf lets in.",
    "28P01": "Correct the password in BQ2PG_PG_DSN, PGPASSWORD or ~/.pgpass.",
    "3D000": "Create the database, or name an existing one in the connection string.",
    "40001": "Another transaction changed the same rows: run again.",
    "40P01": "Another transaction waited for this one, and this one for it: run again.",
    "42501": "Grant the role what it lacks: USAGE and CREATE on the schema, ownership or "
    "SELECT, INSERT, UPDATE, DELETE on the table, CREATE on the database for schema bq2pg; with "
    "row-level security, BYPASSRLS.",
    "42P01": "The table was dropped or renamed meanwhile: run again.",
    "53100": "Free disk space on the server, or give it more; then run again.",
    "53200": "The server lacks memory: run again with lower parallelism.",
    "53300": "Lower parallelism, raise max_connections or the role's CONNECTION LIMIT, or run "
    "again when fewer are connected.",
    "53400": "Raise the limit that PostgreSQL's message names, for example temp_file_limit.",
    "54": "The target's columns do not fit PostgreSQL's limits: exclude some.",
    "55P03": "A reader or writer held the table for too long: run again when it has ended.",
    "57014": "Raise the server's statement_timeout for this role.",
    "57P": "The server is stopping, starting or was restarted: run again when it is up.",
    "57P04": "The database was dropped: create it, or name an existing one.",
    "57P05": "Raise the server's idle_session_timeout for this role, or set it to 0: one "
    "connection waits while the others copy.",
    "58": "PostgreSQL could not read or write its own files: see its log, and its disk.",
    "P0001": "A trigger or function of the database refused it: see PostgreSQL's message.",
}
SSL_NEEDED = "The server wants an encrypted connection: add sslmode=require."
SSL_MISSING = "Ask for a server with SSL, or set sslmode=prefer where the network is trusted."
CERTIFICATE = "Name the server's certificate authority with sslrootcert, or correct the host."
CERTIFICATE_WANTED = "Name the client's certificate with sslcert and its key with sslkey."
REPLICA = "Name the primary in the connection string, or run again when it has been promoted."

# A failed connection carries no SQLSTATE in psycopg, only words: libpq's or the server's.
# (words, SQLSTATE or '', whether a retry can help, way out); the first that fits.
CONNECTIONS = (
    (r"password authentication failed|no password supplied", "28P01", False, WAYS_OUT["28P01"]),
    (r'FATAL:\s+database ".*" does not exist', "3D000", False, WAYS_OUT["3D000"]),
    (r"FATAL:\s+permission denied for database", "42501", False, "Grant the role CONNECT on it."),
    (r"pg_hba\.conf.* (no encryption|SSL off)", "28000", False, SSL_NEEDED),
    (r"requires a valid client certificate", "28000", False, CERTIFICATE_WANTED),
    (
        r'FATAL:\s+role ".*" does not exist|is not permitted to log in|pg_hba\.conf'
        r"|FATAL:\s+\S+ authentication failed",
        "28000",
        False,
        WAYS_OUT["28000"],
    ),
    (
        r"too many clients|too many connections|connection slots are reserved",
        "53300",
        True,
        WAYS_OUT["53300"],
    ),
    (r"database system is|is not accepting connections", "57P03", True, WAYS_OUT["57P"]),
    (r"server does not support SSL", "", False, SSL_MISSING),
    (r"certificate verify failed|server certificate|root certificate", "", False, CERTIFICATE),
    (r"session is (read-only|not read-only)|server is (not )?in hot standby", "", True, REPLICA),
    (
        r"resolve host|translate host name|Name or service not known|name resolution",
        "",
        True,
        "Correct the host in the connection string, or run again when its name resolves.",
    ),
    ("", "", True, "Check host, port and network, and run again when the server is reachable."),
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
    if isinstance(error, psycopg.OperationalError) and not code:
        code, retryable, way_out = _connection(str(error))
    else:
        retryable, way_out = code.startswith(RETRYABLE), _way_out(code)
    if isinstance(error, pg.QueryCanceled) and "statement timeout" not in str(error):
        way_out = "Someone cancelled the statement on the server; run again."
    return TargetError(
        where,
        met=_sentence(error),
        expected="PostgreSQL to do it",
        way_out=way_out,
        retryable=retryable,
        sqlstate=code,
    )


def _connection(message: str) -> tuple[str, bool, str]:
    """SQLSTATE, whether a retry can help, and the way out, of a connection that failed."""
    return next(
        (code, retryable, way_out)
        for words, code, retryable, way_out in CONNECTIONS
        if re.search(words, message)
    )


def _way_out(code: str) -> str:
    """The way out of the SQLSTATE, or else of the longest beginning of it that has one."""
    known = (WAYS_OUT.get(code[:length]) for length in range(len(code), 0, -1))
    return next((says for says in known if says), "See PostgreSQL's message.")


def _sentence(error: psycopg.Error) -> str:
    """PostgreSQL's own message in one line, without the rows it quotes in DETAIL.

    What it cannot do has none: there DETAIL names the view that depends on a column.
    """
    message = error.diag.message_primary or str(error)
    if isinstance(error, pg.FeatureNotSupported) and error.diag.message_detail:
        message += f" ({error.diag.message_detail})"
    outermost = (error.diag.context or "").rpartition("\n")[2]  # before it the value may stand
    column = f" ({outermost})" if outermost.startswith("COPY") else ""
    return " ".join((message + column).split())
