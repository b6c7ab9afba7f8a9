"""PostgreSQL: who may write a target, and what is known of all of them.

Belongs here: the lock of a target, what is asked outside of runs. Does not: opening connections
(connecting.py), what a run does while it has the lock (session.py), the state tables' content
(state.py), Arrow.

One connection holds the table's advisory lock for the whole run and publishes: as long as it
lives, no other run writes the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from bq2pg_assets.config.table import TableConfig, parse_target
from bq2pg_assets.engine import leftovers, quarantine, state, target_facts
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.circuit import Circuit, judge
from bq2pg_assets.engine.connecting import Connections, interrupt
from bq2pg_assets.engine.connections import ConnectionLimit
from bq2pg_assets.engine.errors import LockedError, TargetError
from bq2pg_assets.engine.model import (
    CursorValue,
    DeadAttempt,
    RunId,
    TargetFacts,
    TargetName,
)
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.results import QuarantinedRow, Replayed, TableStatus
from bq2pg_assets.engine.session import LIMIT_LOCK_WAITS, TargetSession

# Of a connection that can be spoken to; the others are busy, or broken.
READY = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)


class PostgresTarget(Connections):
    """The PostgreSQL database that tables are copied into.

    `conninfo` is a libpq connection string and may hold a password: it is never shown.
    `state_schema` holds sync_history and staging tables. `limit` counts the connections; targets
    that share it open no more than that together.
    """

    def __init__(
        self, conninfo: str, *, state_schema: str = "bq2pg", limit: ConnectionLimit | None = None
    ) -> None:
        super().__init__(conninfo, limit=limit)
        self.state_schema = state_schema

    @contextmanager
    def locked(
        self,
        target: TargetName,
        *,
        run: RunId,
        table: str,
        wait: int = 0,
        cancel: CancelToken | None = None,
    ) -> Iterator["TargetSession"]:
        """A session that alone may write `target`.

        Raises LockedError when another run holds it for longer than `wait` seconds, and
        CancelledError.
        """
        token = cancel or CancelToken()
        with self.patient_connection(name=str(target), lock=True, cancel=token) as conn:
            with postgres_errors(f"target {target}", cancel=token):
                if not _lock(conn, target, wait=wait, cancel=token):
                    self._refuse(conn, target, run=run, table=table, wait=wait)
            with _released_at_the_end(conn, target), postgres_errors(f"target {target}"):
                yield TargetSession(
                    self, conn, own_schema=self.state_schema, target=target, run=run, table=table
                )

    @contextmanager
    def if_free(self, target: TargetName) -> Iterator["psycopg.Connection[Any] | None"]:
        """A connection that holds the lock of `target`; None when a run holds it."""
        with self.connection(name=str(target)) as conn, postgres_errors(f"target {target}"):
            if _try_lock(conn, target):
                with _released_at_the_end(conn, target):
                    yield conn
            else:
                yield None

    def _refuse(
        self,
        conn: psycopg.Connection[Any],
        target: TargetName,
        *,
        run: RunId,
        table: str,
        wait: int,
    ) -> NoReturn:
        error = LockedError(
            f"target {target}",
            met="another run is loading it" + (f", and was for {wait} s" if wait else ""),
            expected="one run of a table at a time",
            way_out="Wait for the other run to end, or terminate it; --wait SECONDS (in Dagster "
            "wait in the run config) waits for it.",
        )
        with conn.transaction():
            state.ensure(conn, target_schema=target.schema, own_schema=self.state_schema)
            state.refuse(
                conn, self.state_schema, run=run, table=table, target=target, why=str(error)
            )
        raise error

    def describe(self, target: TargetName) -> tuple[TargetFacts, CursorValue | None]:
        """What is there now, and how far it is loaded. Takes no lock."""
        with self.connection(name=str(target)) as conn, postgres_errors(f"target {target}"):
            return target_facts.describe(conn, target, own_schema=self.state_schema)

    def dead_attempt(self, target: TargetName, *, within: int) -> DeadAttempt | None:
        """As the session's; takes no lock, so it may be that of a run that lives."""
        with self.connection(name=str(target)) as conn, postgres_errors(f"target {target}"):
            if not state.is_complete(conn, self.state_schema):
                return None
            return leftovers.newest_dead(conn, self.state_schema, target, within=within)

    def status(self) -> list[TableStatus]:
        """The last attempt of every table."""
        with self.connection(name="status") as conn, postgres_errors("sync_history"):
            return state.statuses(conn, self.state_schema)

    def quarantined(
        self, table: str | None = None, *, everything: bool = False
    ) -> list[QuarantinedRow]:
        """The quarantined rows that wait, of one table or of all; `everything`: the others too."""
        with self.connection(name="quarantine") as conn, postgres_errors("sync_quarantine"):
            return quarantine.listed(conn, self.state_schema, table=table, everything=everything)

    def replay(self, rows: Sequence[QuarantinedRow], *, run_id: str) -> list[Replayed]:
        """Write quarantined rows into their targets, each target in one transaction.

        Raises LockedError when a run is loading one of them; what was replayed before it stays.
        """
        done = []
        for name in dict.fromkeys(row.target for row in rows):
            target = parse_target(name)
            ids = [row.id for row in rows if row.target == name]
            with self.if_free(target) as conn:
                if conn is None:
                    raise LockedError(
                        f"target {target}",
                        met="a run is loading it",
                        expected="nobody else who writes it",
                        way_out="Replay when the run has ended, or terminate it.",
                    )
                with conn.transaction():
                    conn.execute(LIMIT_LOCK_WAITS)
                    done += quarantine.replay(
                        conn, self.state_schema, target=target, ids=ids, run_id=run_id
                    )
        return done

    def circuits(self, tables: Sequence[TableConfig]) -> Mapping[str, Circuit]:
        """The circuit breaker of each table, by the table's name, as of now."""
        targets = [table.target_name for table in tables]
        with self.connection(name="circuits") as conn, postgres_errors("sync_history"):
            runs = state.recent_runs(conn, self.state_schema, targets)
            row = conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        return {
            table.name: judge(
                runs.get(str(table.target_name), ()),
                after=table.circuit_breaker,
                cool_down=timedelta(seconds=table.cool_down),
                now=row[0],
            )
            for table in tables
        }

    def resume(self, target: TargetName, *, run: RunId, table: str) -> None:
        """Close the target's circuit: what failed before no longer counts."""
        with self.connection(name=f"resume {target}") as conn, postgres_errors("sync_history"):
            state.resume(conn, self.state_schema, run=run, table=table, target=target)

    def check(self) -> str:
        """Connect and see whether schemas and tables may be made. Raises TargetError."""
        with self.connection(name="check") as conn, postgres_errors("PostgreSQL"):
            row = conn.execute(
                "SELECT current_setting('server_version'), current_user, current_database(), "
                "has_database_privilege(current_database(), 'CREATE'), "
                "to_regnamespace(quote_ident(%s)) IS NOT NULL",
                [self.state_schema],
            ).fetchone()
        assert row is not None
        version, user, database, may_create, has_schema = row
        if not may_create and not has_schema:
            raise TargetError(
                f"database {database}",
                met=f"{user} may not create schemas, and schema {self.state_schema} is missing",
                expected="a place for sync_history and staging tables",
                way_out=f"Let an administrator run: CREATE SCHEMA {self.state_schema} "
                f"AUTHORIZATION {user};",
            )
        return f"PostgreSQL {version}, database {database}, user {user}"


def _lock(
    conn: psycopg.Connection[Any], target: TargetName, *, wait: int, cancel: CancelToken
) -> bool:
    """Take the target's advisory lock, which the session keeps. False when it stays taken."""
    if (free := _try_lock(conn, target)) or not wait:
        return free
    with cancel.interrupting(lambda: interrupt(conn)), suppress(LockNotAvailable):
        with conn.transaction():
            conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{wait}s"))
            conn.execute("SET LOCAL statement_timeout = 0")  # a role's own may be shorter
            conn.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"bq2pg:{target}"])
        cancel.check(f"target {target}")
        return True
    return False


@contextmanager
def _released_at_the_end(conn: psycopg.Connection[Any], target: TargetName) -> Iterator[None]:
    """Give the lock back before the session ends.

    A server process ends some time after its client has closed the connection, and keeps its
    locks until then: the next run of the table would be refused.
    """
    try:
        yield
    finally:
        with suppress(psycopg.OperationalError):  # the connection broke, and its locks went too
            if conn.info.transaction_status in READY:
                conn.rollback()
                conn.execute(
                    "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [f"bq2pg:{target}"]
                )


def _try_lock(conn: psycopg.Connection[Any], target: TargetName) -> bool:
    """Take the lock that a run holds as long as its session lives, if nobody has it."""
    row = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"bq2pg:{target}"]
    ).fetchone()
    return bool(row and row[0])
