"""Opens connections to PostgreSQL.

Belongs here: how a session is set up, trying again while a server restarts, interrupting what a
connection runs. Does not: how many there may be (connections.py), what they are used for
(session.py, postgres.py).
"""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import errors as pg_errors

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.connections import ConnectionLimit
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.redact import redact
from bq2pg_assets.engine.retrying import Again, Patience, call_patiently

log = logging.getLogger(__name__)
# Some 10 to 15 s, which a server that restarts, or whose connections are all taken, may need. One
# that does not even refuse takes connect_timeout each time: that is tried twice at most.
CONNECTING = Patience(calls=5, first=0.7, longest=6.0, within=25.0)
# A network that swallows everything is noticed after two minutes, not after the system's two hours.
# No tcp_user_timeout: Linux counts by it how long a busy server takes nothing, too.
KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
# PostgreSQL 14 and later. The second notices a client that died while its session waits for a lock:
# its own locks, the advisory one too, would stay until the wait ends. The lock's session idles
# while others copy.
SINCE_14 = "SET idle_session_timeout = 0", "SET client_connection_check_interval = '5s'"


class Connections:
    """Connections to one database.

    `conninfo` is a libpq connection string and may hold a password: it is never shown. `limit`
    counts the connections; those that share it are no more than that together.
    """

    def __init__(self, conninfo: str, *, limit: ConnectionLimit | None = None) -> None:
        self._conninfo, self._limit = conninfo, limit or ConnectionLimit()

    @contextmanager
    def connection(self, *, name: str) -> Iterator[psycopg.Connection[Any]]:
        """An autocommit connection whose session is in UTC. Raises TargetError, at once."""
        with (
            self._limit.taken(lock=False, cancel=CancelToken(), where="PostgreSQL"),
            self._connected(name) as conn,
        ):
            yield conn

    @contextmanager
    def patient_connection(
        self, *, name: str, lock: bool, cancel: CancelToken
    ) -> Iterator[psycopg.Connection[Any]]:
        """The same for a run, which connects again for a while when the error may pass.

        Raises TargetError then, and CancelledError. `lock` says that it will keep a lock while the
        run opens others.
        """
        with (
            self._limit.taken(lock=lock, cancel=cancel, where="PostgreSQL"),
            self.reconnected(name=name, cancel=cancel) as conn,
        ):
            yield conn

    @contextmanager
    def reconnected(self, *, name: str, cancel: CancelToken) -> Iterator[psycopg.Connection[Any]]:
        """As patient_connection, in the place of a connection that was closed."""
        with closing(
            call_patiently(
                lambda _: self._connect(name),
                patience=CONNECTING,
                cancel=cancel,
                where="PostgreSQL",
                tell=_note,
            )
        ) as conn:
            yield conn

    def _connected(self, name: str) -> "closing[psycopg.Connection[Any]]":
        return closing(self._connect(name))

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        given = _parts(self._conninfo)
        alive: dict[str, Any] = {k: v for k, v in KEEPALIVES.items() if k not in given}
        with postgres_errors("PostgreSQL"):
            conn = psycopg.connect(
                self._conninfo,
                autocommit=True,
                client_encoding="UTF8",  # what COPY sends, whatever the database is encoded in
                prepare_threshold=None,  # tables come and go: cached plans would not fit
                application_name=f"bq2pg {name}"[:63],
                connect_timeout=15,
                options=_options(given),
                **alive,
            )
            try:
                if conn.info.server_version >= 140000:
                    _set_since_14(conn)
            except BaseException:
                conn.close()
                raise
        return conn


def _set_since_14(conn: psycopg.Connection[Any]) -> None:
    try:
        conn.execute("; ".join(SINCE_14))
    except pg_errors.InvalidParameterValue:  # from the second, on a system that cannot tell
        conn.execute(SINCE_14[0])


def interrupt(conn: psycopg.Connection[Any]) -> None:
    """Ask the server to stop what the connection runs; a dead connection needs no asking."""
    if not conn.closed:
        # A server that cannot be asked must not keep the next connection from being asked.
        with suppress(psycopg.Error):
            conn.cancel_safe(timeout=5)


def _note(again: Again) -> None:
    met = redact(again.error.met)
    log.warning("%s; connecting again in %.1f s", met, again.seconds)


def _options(given: dict[str, Any]) -> str:
    """Session settings beside those the connection string itself asks for.

    With row_security off a policy that would hide rows from us is an error: a replace that
    cannot see a row cannot delete it, and would leave it beside its new copy.
    """
    settings = "-c TimeZone=UTC -c DateStyle=ISO -c row_security=off"
    return f"{given.get('options') or ''} {settings} -c client_min_messages=warning".strip()


def _parts(conninfo: str) -> dict[str, Any]:
    """The connection string taken apart. Raises ConfigError, which does not repeat it."""
    with suppress(psycopg.ProgrammingError):  # its message repeats what may be a password
        return psycopg.conninfo.conninfo_to_dict(conninfo)
    raise ConfigError(
        "PostgreSQL",
        met="a connection string that cannot be read",
        expected="postgresql://user:password@host/database, or key=value pairs",
        way_out="Correct BQ2PG_PG_DSN; in an address, write @ : / of a password as %40 %3A %2F.",
    )
