"""PostgreSQL: the locked session of one sync, its staging table, publishing.

Belongs here: connections and transactions. Does not: SQL texts (postgres_sql.py), the state
tables' content (state.py), Arrow.

One connection holds the table's advisory lock for the whole run and publishes: as long as it
lives, no other run writes the table. Copying uses connections of its own.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NoReturn

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.pq import TransactionStatus

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import leftovers, postgres_sql, publish_sql, state
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.circuit import Circuit, judge
from bq2pg_assets.engine.connections import ConnectionLimit
from bq2pg_assets.engine.errors import ConfigError, LockedError, TargetError, VerifyError
from bq2pg_assets.engine.model import (
    Column,
    CursorValue,
    DeadAttempt,
    Mode,
    Outcome,
    Resumed,
    RunId,
    Shard,
    StagedShard,
    SyncPlan,
    TargetColumn,
    TargetFacts,
    TargetName,
)
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.redact import redact
from bq2pg_assets.engine.results import Spent, SyncResult, TableStatus
from bq2pg_assets.engine.retrying import Again, Patience, call_patiently

log = logging.getLogger(__name__)
LOCK_TIMEOUT = "10s"  # the longest wait for other sessions' locks before giving way to them
LIMIT_LOCK_WAITS = sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT)
# Some 10 to 15 s, which a server that restarts, or whose connections are all taken, may need. One
# that does not even refuse takes connect_timeout each time: that is tried twice at most.
CONNECTING = Patience(calls=5, first=0.7, longest=6.0, within=25.0)
# PostgreSQL 14 and later. The first notices a client that died while its session waited for a lock:
# its own locks, the advisory one too, would stay until the wait ends. The lock's session idles
# while others copy.
SINCE_14 = "SET client_connection_check_interval = '5s'", "SET idle_session_timeout = 0"


class PostgresTarget:
    """The PostgreSQL database that tables are copied into.

    `conninfo` is a libpq connection string and may hold a password: it is never shown.
    `state_schema` holds sync_history and staging tables. `limit` counts the connections; targets
    that share it open no more than that together.
    """

    def __init__(
        self, conninfo: str, *, state_schema: str = "bq2pg", limit: ConnectionLimit | None = None
    ) -> None:
        self._conninfo, self.state_schema = conninfo, state_schema
        self._limit = limit or ConnectionLimit()

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
                for statement in SINCE_14 if conn.info.server_version >= 140000 else ():
                    # A server on a system that cannot tell refuses the first of them.
                    with suppress(pg_errors.InvalidParameterValue):
                        conn.execute(statement)
            except BaseException:
                conn.close()
                raise
        return conn

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
                yield TargetSession(self, conn, target=target, run=run, table=table)

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
            return _describe(conn, target, own_schema=self.state_schema)

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
            leftovers.ensure(conn, database.state_schema)
            self._attempt = state.begin(
                conn, database.state_schema, run=run, table=table, target=target
            )
        self.stage = postgres_sql.stage_name(target, schema=database.state_schema, run=run)

    def dead_attempt(self, *, within: int, run_id: str | None = None) -> DeadAttempt | None:
        """The newest attempt at the target that died with an export at most `within` seconds old.

        Of the run `run_id`, if it is named; None after a load, or when there is none.
        """
        with postgres_errors(self._where):
            return leftovers.newest_dead(
                self._conn,
                self._database.state_schema,
                self.target,
                within=within,
                before=self._attempt,
                run_id=run_id,
            )

    def drop_leftovers(self, *, cancel: CancelToken, but: Resumed | None = None) -> None:
        """Remove the staging tables of killed runs: under the lock they have no living owner.

        That of the attempt `but`, which is gone on with, stays. One that some other session still
        holds, such as a COPY whose client died unseen, stays for the next run.
        """
        schema, comment = self._database.state_schema, postgres_sql.stage_comment(self.target)
        kept = but.attempt.stage if but else None
        with self._interruptible(cancel):
            for (name,) in self._conn.execute(postgres_sql.LEFTOVERS, [schema, comment]).fetchall():
                if name == kept:
                    continue
                with suppress(psycopg.errors.LockNotAvailable), self._conn.transaction():
                    self._limit_lock_waits()
                    leftovers.drop(self._conn, schema, TargetName(schema, name))

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

    def record_export(
        self,
        plan: SyncPlan,
        *,
        job_id: str,
        prefix: str,
        fingerprint: str | None,
        source_modified_at: datetime | None,
    ) -> None:
        """Write down, before the job begins, what the next attempt needs should this one die."""
        with postgres_errors(self._where):
            leftovers.record_export(
                self._conn,
                self._database.state_schema,
                attempt=self._attempt,
                plan=plan,
                job_id=job_id,
                prefix=prefix,
                stage=self.stage,
                fingerprint=fingerprint,
                source_modified_at=source_modified_at,
            )

    def create_stage(self, plan: SyncPlan, shards: Sequence[Shard] = ()) -> tuple[StagedShard, ...]:
        """A staging table, visible to the copying connections; returns what it holds already.

        Empty, or that of the attempt the plan resumes, as far as it holds some of `shards`.
        """
        schema = self._database.state_schema
        staged: tuple[StagedShard, ...] = ()
        with postgres_errors(self._where):
            if plan.resumes is not None:
                dead = plan.resumes.attempt
                with suppress(psycopg.errors.LockNotAvailable), self._conn.transaction():
                    self._limit_lock_waits()
                    staged = leftovers.adopt(
                        self._conn, schema, dead=dead, stage=self.stage, shards=shards
                    )
            if not staged:
                with self._conn.transaction():
                    _run(self._conn, postgres_sql.create_stage(plan, self.stage))
        return staged

    @contextmanager
    def copying(self, columns: Sequence[Column], *, cancel: CancelToken) -> Iterator["CopySink"]:
        """A connection of its own for COPY; cancelling interrupts it."""
        statement = postgres_sql.copy_in(self.stage, columns)
        with (
            self._database.patient_connection(
                name=f"copy {self.target}", lock=False, cancel=cancel
            ) as conn,
            cancel.interrupting(lambda: _interrupt(conn)),
        ):
            note = partial(leftovers.note_shard, conn, self._database.state_schema, self.stage)
            yield CopySink(conn, statement, note=note, where=self._where, cancel=cancel)

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
        """Remove the staging table, if it is there; no attempt goes on with this export."""
        schema = self._database.state_schema
        with (
            self._usable_connection() as conn,
            postgres_errors(self._where),
            conn.transaction(),
        ):
            conn.execute(LIMIT_LOCK_WAITS)
            leftovers.drop(conn, schema, self.stage)
            leftovers.forget_exports(conn, schema, self.target)

    def _limit_lock_waits(self) -> None:
        """For the rest of the transaction."""
        self._conn.execute(LIMIT_LOCK_WAITS)

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
            with self._database.reconnected(
                name=f"clean {self.target}", cancel=CancelToken()
            ) as conn:
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
        note: Callable[[StagedShard], None],
        where: str,
        cancel: CancelToken,
    ) -> None:
        self._conn, self._statement, self._where, self._cancel = conn, statement, where, cancel
        self._note = note

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is copied and noted inside is kept when the block ends well, else none of it."""
        with postgres_errors(self._where, cancel=self._cancel), self._conn.transaction():
            yield

    def note(self, shard: StagedShard) -> None:
        """Remember that the shard is staged."""
        with postgres_errors(self._where, cancel=self._cancel):
            self._note(shard)

    def copy(self, pieces: Iterable[bytes]) -> int:
        """One COPY of all pieces. Returns the server's row count."""
        with postgres_errors(self._where, cancel=self._cancel):
            cursor = self._conn.cursor()
            with cursor.copy(self._statement) as copy:
                for piece in pieces:
                    copy.write(piece)
            return cursor.rowcount


def _lock(
    conn: psycopg.Connection[Any], target: TargetName, *, wait: int, cancel: CancelToken
) -> bool:
    """Take the target's advisory lock, which the session keeps. False when it stays taken."""
    if (free := _try_lock(conn, target)) or not wait:
        return free
    with cancel.interrupting(lambda: _interrupt(conn)), suppress(pg_errors.LockNotAvailable):
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
            if not conn.closed:
                conn.rollback()
                conn.execute(
                    "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [f"bq2pg:{target}"]
                )


def _note(again: Again) -> None:
    met = redact(again.error.met)
    log.warning("%s; connecting again in %.1f s", met, again.seconds)


def _try_lock(conn: psycopg.Connection[Any], target: TargetName) -> bool:
    """Take the lock that a run holds as long as its session lives, if nobody has it."""
    row = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"bq2pg:{target}"]
    ).fetchone()
    return bool(row and row[0])


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
