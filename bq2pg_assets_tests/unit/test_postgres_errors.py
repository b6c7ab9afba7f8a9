"""psycopg's exceptions in our words: each SQLSTATE's verdict and way out, and lost connections."""

import psycopg
import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, TargetError
from bq2pg_assets.engine.postgres_errors import CONNECTIONS, WAYS_OUT, postgres_errors

SERVER = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


def translated(error: psycopg.Error, *, cancel: CancelToken | None = None) -> TargetError:
    with pytest.raises(TargetError) as caught, postgres_errors("target t", cancel=cancel):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("code", "retryable", "hint"),
    [
        ("08006", True, "reachable"),
        ("0A000", False, "cannot do it"),
        ("22021", False, "NUL byte"),
        ("23502", False, "Allow NULL"),
        ("23503", False, "remove the reference"),
        ("23505", False, "correct the key"),
        ("23514", False, "exclude such rows"),
        ("25006", False, "replica"),
        ("25P03", False, "idle_in_transaction_session_timeout"),
        ("28000", False, "pg_hba.conf"),
        ("28P01", False, "BQ2PG_PG_DSN"),
        ("3D000", False, "Create the database"),
        ("40001", True, "run again"),
        ("40P01", True, "run again"),
        ("42501", False, "Grant the role"),
        ("42P01", False, "run again"),
        ("53100", False, "disk space"),
        ("53200", True, "memory"),
        ("53300", True, "max_connections"),
        ("53400", False, "temp_file_limit"),
        ("54011", False, "exclude some"),
        ("55P03", True, "run again when it has ended"),
        ("57014", False, "Someone cancelled the statement"),
        ("57P01", True, "run again when it is up"),
        ("57P02", True, "run again when it is up"),
        ("57P03", True, "run again when it is up"),
        ("57P04", False, "was dropped"),
        ("57P05", False, "idle_session_timeout"),
        ("58030", False, "its log, and its disk"),
        ("P0001", False, "trigger"),
        ("42601", False, "See PostgreSQL's message"),
    ],
)
def test_an_sqlstate_has_its_verdict_and_its_way_out(code: str, retryable: bool, hint: str) -> None:
    error = translated(psycopg.errors.lookup(code)("oops"))
    assert (error.sqlstate, error.met) == (code, "oops")
    assert error.retryable is retryable
    assert hint in error.way_out


@pytest.mark.parametrize(
    ("told", "code", "retryable", "hint"),
    [
        ('FATAL:  password authentication failed for user "u"', "28P01", False, "password"),
        ("fe_sendauth: no password supplied", "28P01", False, "password"),
        ('FATAL:  database "d" does not exist', "3D000", False, "Create the database"),
        ('FATAL:  role "u" does not exist', "28000", False, "Correct the user"),
        ('FATAL:  role "u" is not permitted to log in', "28000", False, "Correct the user"),
        ('FATAL:  Peer authentication failed for user "u"', "28000", False, "Correct the user"),
        ('FATAL:  permission denied for database "d"', "42501", False, "CONNECT"),
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", no encryption',
            "28000",
            False,
            "sslmode=require",
        ),
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", SSL encryption',
            "28000",
            False,
            "pg_hba.conf",
        ),
        ("FATAL:  connection requires a valid client certificate", "28000", False, "sslcert"),
        ("FATAL:  sorry, too many clients already", "53300", True, "max_connections"),
        ('FATAL:  too many connections for role "u"', "53300", True, "CONNECTION LIMIT"),
        ("FATAL:  remaining connection slots are reserved for roles", "53300", True, "parallelism"),
        ("FATAL:  the database system is starting up", "57P03", True, "when it is up"),
        ("FATAL:  the database system is shutting down", "57P03", True, "when it is up"),
        ("server does not support SSL, but SSL was required", "", False, "sslmode=prefer"),
        ("SSL error: certificate verify failed", "", False, "sslrootcert"),
        (
            'server certificate for "a" does not match host name "b"',
            "",
            False,
            "correct the host",
        ),
        ('root certificate file "/x/root.crt" does not exist', "", False, "sslrootcert"),
        ("session is read-only", "", True, "primary"),
        ("failed to resolve host 'nope': [Errno -2] Name or service not known", "", True, "host"),
        ('could not translate host name "nope" to address', "", True, "its name resolves"),
        ("Connection refused", "", True, "Check host, port and network"),
        ("server closed the connection unexpectedly", "", True, "when the server is reachable"),
    ],
)
def test_a_failed_connection_is_judged_by_its_words(
    told: str, code: str, retryable: bool, hint: str
) -> None:
    error = translated(psycopg.OperationalError(SERVER + told))
    assert error.sqlstate == code
    assert error.retryable is retryable
    assert hint in error.way_out


@pytest.mark.parametrize("says", [*WAYS_OUT.values(), *(line[-1] for line in CONNECTIONS)])
def test_a_way_out_is_true_whoever_prints_it(says: str) -> None:
    assert says.endswith(".")
    assert "tried again" not in says


def test_a_statement_timeout_is_not_mistaken_for_a_cancellation() -> None:
    told = "canceling statement due to statement timeout"
    assert "statement_timeout" in translated(psycopg.errors.QueryCanceled(told)).way_out


def test_what_breaks_after_a_cancellation_is_the_cancellation() -> None:
    cancel = CancelToken()
    assert translated(psycopg.OperationalError("gone"), cancel=cancel).retryable
    cancel.cancel()
    with pytest.raises(CancelledError), postgres_errors("t", cancel=cancel):
        raise psycopg.OperationalError("gone")
