"""PostgreSQL: the locked session of one sync, its staging table, publishing.

Belongs here: connections and transactions. Does not: SQL texts (postgres_sql.py), the state
tables' content (state.py), Arrow.

One connection holds the table's advisory lock for the whole run and publishes: as long as it
lives, no other run writes the table. Copying uses connections of its own.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from bq2pg_assets.engine import postgres_sql, publish_sql, state
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import ConfigError, LockedError, TargetError, VerifyError
from bq2pg_assets.engine.model import (
    Column,
    CursorValue,
    Mode,
    Outcome,
    RunId,
    SyncPlan,
    TargetColumn,
    TargetFacts,
    TargetName,
)
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.results import Spent, SyncResult, TableStatus

log = logging.getLogger(__name__)
LOCK_TIMEOUT = "10s"  # the longest wait for other sessions' locks before giving way to them


class PostgresTarget:
    """The PostgreSQL database that tables are copied into.

    `conninfo` is a libpq connection string and may hold a password: it is never shown.
    `state_schema` holds sync_history and staging tables.
    """

    def __init__(self, conninfo: str, *, state_schema: str = "bq2pg") -> None:
        self._conninfo, self.state_schema = conninfo, state_schema

    @contextmanager
    def connection(self, *, name: str) -> Iterator[psycopg.Connection[Any]]:
        """An autocommit connection whose session is in UTC. Raises TargetError."""
        options = self._options()
        with postgres_errors("PostgreSQL"):
            conn = psycopg.connect(
                self._conninfo,
                autocommit=True,
                client_encoding="UTF8",  # what COPY sends, whatever the database is encoded in
                prepare_threshold=None,  # tables come and go: cached plans would not fit
                application_name=f"bq2pg {name}"[:63],
                connect_timeout=15,
                options=options,
            )
        try:
            yield conn
        finally:
            conn.close()

    @contextmanager
    def locked(self, target: TargetName, *, run: RunId, table: str) -> Iterator["TargetSession"]:
        """A session that alone may write `target`. Raises LockedError, at once."""
        with self.connection(name=str(target)) as conn, postgres_errors(f"target {target}"):
            row = conn.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"bq2pg:{target}"]
            ).fetchone()
            if row is None or not row[0]:
                self._refuse(conn, target, run=run, table=table)
            yield TargetSession(self, conn, target=target, run=run, table=table)

    def _refuse(
        self, conn: psycopg.Connection[Any], target: TargetName, *, run: RunId, table: str
    ) -> NoReturn:
        error = LockedError(
            f"target {target}",
            met="another run is loading it",
            expected="one run of a table at a time",
            way_out="Wait for the other run to end, or terminate it.",
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
            return _describe(conn, target, own_schema=self.state_schema)

    def status(self) -> list[TableStatus]:
        """The last attempt of every table."""
        with self.connection(name="status") as conn, postgres_errors("sync_history"):
            return state.statuses(conn, self.state_schema)

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

    def _options(self) -> str:
        """Session settings beside those the connection string itself asks for.

        With row_security off a policy that would hide rows from us is an error: a replace that
        cannot see a row cannot delete it, and would leave it beside its new copy.
        """
        own = _parts(self._conninfo).get("options") or ""
        settings = "-c TimeZone=UTC -c DateStyle=ISO -c row_security=off"
        return f"{own} {settings} -c client_min_messages=warning".strip()


class TargetSession:
    """What one run may do while it holds the lock of one target."""

    def __init__(
        self,
        database: PostgresTarget,
        conn: psycopg.Connection[Any],
        *,
        target: TargetName,
        run: RunId,
        table: str,
    ) -> None:
        self._database, self._conn, self.target, self.run = database, conn, target, run
        self._where = f"target {target}"
        with postgres_errors(self._where), conn.transaction():
            state.ensure(conn, target_schema=target.schema, own_schema=database.state_schema)
            self._attempt = state.begin(
                conn, database.state_schema, run=run, table=table, target=target
            )
        self.stage = postgres_sql.stage_name(target, schema=database.state_schema, run=run)

    def drop_leftovers(self, *, cancel: CancelToken) -> None:
        """Remove the staging tables of killed runs: under the lock they have no living owner.

        One that some other session still holds, such as a COPY whose client died unseen, stays
        for the next run.
        """
        schema, comment = self._database.state_schema, postgres_sql.stage_comment(self.target)
        with self._interruptible(cancel):
            for (name,) in self._conn.execute(postgres_sql.LEFTOVERS, [schema, comment]).fetchall():
                with suppress(psycopg.errors.LockNotAvailable), self._conn.transaction():
                    self._limit_lock_waits()
                    self._conn.execute(postgres_sql.drop(TargetName(schema, name)))

    def describe(self) -> tuple[TargetFacts, CursorValue | None]:
        """What is there now, and how far it is loaded."""
        with postgres_errors(self._where):
            return _describe(self._conn, self.target, own_schema=self._database.state_schema)

    def record_plan(self, plan: SyncPlan) -> None:
        """Show in sync_history what was decided."""
        with postgres_errors(self._where):
            state.record_plan(
                self._conn, self._database.state_schema, attempt=self._attempt, plan=plan
            )

    def create_stage(self, plan: SyncPlan) -> None:
        """An empty staging table, visible to the copying connections."""
        with postgres_errors(self._where), self._conn.transaction():
            _run(self._conn, postgres_sql.create_stage(plan, self.stage))

    @contextmanager
    def copying(self, columns: Sequence[Column], *, cancel: CancelToken) -> Iterator["CopySink"]:
        """A connection of its own for COPY; cancelling interrupts it."""
        statement = postgres_sql.copy_in(self.stage, columns)
        with (
            self._database.connection(name=f"copy {self.target}") as conn,
            cancel.interrupting(lambda: _interrupt(conn)),
        ):
            yield CopySink(conn, statement, where=self._where, cancel=cancel)

    def count_nulls(self, columns: Sequence[str], *, cancel: CancelToken) -> tuple[int, list[int]]:
        """The number of staged rows, and of NULLs in each column."""
        statement = postgres_sql.count_nulls(self.stage, columns)
        with self._interruptible(cancel):
            row = self._conn.execute(statement).fetchone()
        assert row is not None
        return row[0], list(row[1:])

    def count_shrink(self, plan: SyncPlan, *, cancel: CancelToken) -> tuple[int, int]:
        """The rows that hold in the target, and how many of them would go. Counted, not estimated:
        whoever reads and writes them all has the time.
        """
        by_key = plan.publish.by_steps
        with self._interruptible(cancel):
            if by_key and not plan.full_refresh and not plan.whole:
                return 0, 0  # only what is read as a whole shows what is gone
            self._conn.execute(postgres_sql.analyze(self.stage))
            count = publish_sql.count_gone if by_key else publish_sql.count_left
            row = self._conn.execute(count(plan, self.stage)).fetchone()
        assert row is not None
        before, other = row
        return before, other if by_key else max(0, before - other)

    def publish(self, plan: SyncPlan, *, result: SyncResult, cancel: CancelToken) -> SyncResult:
        """The plan's changes, rows, cursor and history in one transaction.

        Returns the result with what was written filled in. The token is looked at last thing before
        the commit: a run shown as cancelled never commits afterwards.
        """
        with self._interruptible(cancel), self._conn.transaction():
            self._limit_lock_waits()
            self._refuse_changed_target(plan)
            cursor, counts = self._new_cursor(plan)
            _run(self._conn, postgres_sql.evolve_target(plan))
            if plan.publish.by_steps:
                counts += self._take_steps(plan, staged=result.rows)
                written = counts["inserted"] + counts["updated"]
            else:
                written = self._write_rows(plan, staged=result.rows)
            if plan.cursor_after != "keep":
                state.write_cursor(self._conn, self.target, cursor)
            final = replace(
                result,
                cursor_after=cursor,
                rows=written,
                schema_changes=plan.changes,
                row_counts={word: count for word, count in counts.items() if count},
            )
            state.finish(
                self._conn, self._database.state_schema, attempt=self._attempt, result=final
            )
            cancel.check(self._where)
        for change in final.schema_changes:
            log.info("%s: column %s", self._where, change)
        return final

    def finish(self, result: SyncResult) -> None:
        """Close the attempt, or complete the figures of one that published."""
        with postgres_errors(self._where):
            state.finish(
                self._conn, self._database.state_schema, attempt=self._attempt, result=result
            )

    def fail(self, error: str, *, outcome: Outcome, spent: Spent) -> None:
        """Close the attempt of a run that failed, over a new connection if need be."""
        with self._usable_connection() as conn, postgres_errors(self._where):
            state.fail(
                conn,
                self._database.state_schema,
                attempt=self._attempt,
                outcome=outcome,
                error=error,
                spent=spent,
            )

    def analyze(self, *, cancel: CancelToken) -> None:
        """Fresh statistics for the planner. Raises TargetError when the table stays locked."""
        with self._interruptible(cancel), self._conn.transaction():
            self._limit_lock_waits()
            self._conn.execute(postgres_sql.analyze(self.target))

    def row_estimate(self) -> int | None:
        """The target's rows, as the last ANALYZE saw them."""
        with postgres_errors(self._where):
            return state.row_estimate(self._conn, self.target)

    def drop_stage(self) -> None:
        """Remove the staging table, if it is there."""
        with self._usable_connection() as conn, postgres_errors(self._where):
            conn.execute(postgres_sql.drop(self.stage))

    def _limit_lock_waits(self) -> None:
        """For the rest of the transaction."""
        self._conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))

    def _refuse_changed_target(self, plan: SyncPlan) -> None:
        """The plan judged the target's columns: from here on nobody can change them any more."""
        if plan.creates_target:
            return
        self._conn.execute(postgres_sql.keep_as_it_is(self.target))
        found, _ = _describe(self._conn, self.target, own_schema=self._database.state_schema)
        if found.columns != plan.target_columns:
            raise TargetError(
                self._where,
                met="other columns than when the run began",
                expected="the columns that the plan was made for",
                way_out="Run again; nothing was published.",
                retryable=True,
            )

    def _new_cursor(self, plan: SyncPlan) -> tuple[CursorValue | None, Counter[str]]:
        """The cursor to store, and how many rows have none."""
        name = postgres_sql.cursor_name(plan)
        if plan.cursor is None or name is None:
            return None, Counter()
        row = self._conn.execute(postgres_sql.newest(self.stage, name)).fetchone()
        assert row is not None
        newest: CursorValue | None = row[0]
        nulls = Counter(null_cursor=row[1] if plan.null_cursors is None else plan.null_cursors)
        if plan.cursor_after == "clear":
            return None, nulls
        if plan.cursor_after == "keep":
            return plan.cursor.value, nulls
        # A full load that brought no cursor value must not keep an older one: rows below it that
        # come later would never be read. An increment may bring lower ones alone (lookback).
        low = plan.cursor.value
        if plan.incremental and low is not None and (newest is None or newest < low):
            return low, nulls
        return newest, nulls

    def _take_steps(self, plan: SyncPlan, *, staged: int) -> Counter[str]:
        """Publish by the statements of publish_sql. Returns what became of the rows."""
        counts: Counter[str] = Counter()
        began, first = state.began(self._conn, self._database.state_schema, attempt=self._attempt)
        for word, statement in publish_sql.steps(plan, self.stage, at=began, snapshot_at=first):
            done = self._conn.execute(statement).rowcount
            if word != publish_sql.UNCOUNTED:
                counts[word] += done
        if plan.creates_target:
            counts["inserted"] = staged - counts["duplicates"]
        if plan.publish is Mode.SNAPSHOT:
            self._all_written(counts["inserted"], staged=staged)
        return counts

    def _write_rows(self, plan: SyncPlan, *, staged: int) -> int:
        conn, stage = self._conn, self.stage
        if plan.publish is Mode.MERGE:
            return conn.execute(postgres_sql.merge(plan, stage)).rowcount
        if plan.publish is Mode.REPLACE and plan.key:
            staged -= conn.execute(postgres_sql.keep_newest(plan, stage)).rowcount
        if plan.creates_target:
            _run(conn, postgres_sql.become_target(stage, self.target))
            _run(conn, postgres_sql.finish_target(plan))
            return staged
        if plan.publish is Mode.REPLACE:
            conn.execute(postgres_sql.delete_all(self.target))
        written = conn.execute(postgres_sql.insert(plan, stage)).rowcount
        self._all_written(written, staged=staged)
        return written

    def _all_written(self, written: int, *, staged: int) -> None:
        if written != staged:
            raise VerifyError(
                self._where,
                met=f"{written} rows written to the target",
                expected=f"the {staged} staged",
                way_out="A trigger or rule of the target keeps rows out: remove it, or choose "
                "another target; nothing was published.",
            )

    @contextmanager
    def _interruptible(self, cancel: CancelToken) -> Iterator[None]:
        cancel.check(self._where)
        with (
            postgres_errors(self._where, cancel=cancel),
            cancel.interrupting(lambda: _interrupt(self._conn)),
        ):
            yield

    @contextmanager
    def _usable_connection(self) -> Iterator[psycopg.Connection[Any]]:
        """The session's connection, or a new one when it broke or was interrupted mid-statement."""
        if self._conn.info.transaction_status is not TransactionStatus.IDLE:
            _interrupt(self._conn)
            self._conn.close()
            with self._database.connection(name=f"clean {self.target}") as conn:
                yield conn
        else:
            yield self._conn


class CopySink:
    """One connection that copies streams of bytes into the staging table, one after another."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        statement: sql.Composed,
        *,
        where: str,
        cancel: CancelToken,
    ) -> None:
        self._conn, self._statement, self._where, self._cancel = conn, statement, where, cancel

    def copy(self, pieces: Iterable[bytes]) -> int:
        """One COPY of all pieces, in a transaction of its own. Returns the server's row count."""
        with postgres_errors(self._where, cancel=self._cancel):
            cursor = self._conn.cursor()
            with cursor.copy(self._statement) as copy:
                for piece in pieces:
                    copy.write(piece)
            return cursor.rowcount


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


def _describe(
    conn: psycopg.Connection[Any], target: TargetName, *, own_schema: str
) -> tuple[TargetFacts, CursorValue | None]:
    stored = state.read_cursor(conn, target)
    found = conn.execute(postgres_sql.FACTS, [target.schema, target.table]).fetchone()
    if found is None:
        version = conn.info.server_version
        facts = TargetFacts(kind=None, owned=stored.known, server_version=version)
        return facts, stored.last_synced_at
    oid, kind = found
    columns = tuple(TargetColumn(*row) for row in conn.execute(postgres_sql.COLUMNS, [oid]))
    keys = tuple(frozenset(row[0]) for row in conn.execute(postgres_sql.UNIQUE_KEYS, [oid]))
    facts = TargetFacts(
        kind=kind,
        columns=columns,
        has_rows=kind in ("r", "p") and _has_rows(conn, target),
        owned=stored.known,
        origin=state.read_origin(conn, own_schema, target),
        unique_keys=keys,
        null_keys=tuple(frozenset(row[0]) for row in conn.execute(postgres_sql.NULL_KEYS, [oid])),
        server_version=conn.info.server_version,
    )
    return facts, stored.last_synced_at


def _has_rows(conn: psycopg.Connection[Any], target: TargetName) -> bool:
    row = conn.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(postgres_sql.identifier(target))
    ).fetchone()
    return bool(row and row[0])


def _run(conn: psycopg.Connection[Any], statements: Iterable[sql.Composed]) -> None:
    for statement in statements:
        conn.execute(statement)


def _interrupt(conn: psycopg.Connection[Any]) -> None:
    """Ask the server to stop what the connection runs; a dead connection needs no asking."""
    if not conn.closed:
        # A server that cannot be asked must not keep the next connection from being asked.
        with suppress(psycopg.Error):
            conn.cancel_safe(timeout=5)
