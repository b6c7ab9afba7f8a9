"""What one run does to one target while it holds the target's lock.

Belongs here: its transactions, over the connection that has the lock; copying uses connections of
its own. Does not: taking the lock (postgres.py), what happens within the publishing transaction
(publish.py, swap.py), SQL texts (postgres_sql.py), the state tables' content (state.py), Arrow.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from bq2pg_assets.engine import (
    leftovers,
    own_tables,
    postgres_sql,
    publish,
    quarantine,
    state,
    target_facts,
)
from bq2pg_assets.engine.bad_rows import refusal_of
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.connecting import Connections, interrupt
from bq2pg_assets.engine.copy_sink import CopySink
from bq2pg_assets.engine.errors import TargetError
from bq2pg_assets.engine.leftovers import LeftExport
from bq2pg_assets.engine.model import (
    BadRow,
    Column,
    CursorValue,
    DeadAttempt,
    Outcome,
    Resumed,
    RunId,
    Shard,
    StagedShard,
    SyncPlan,
    TargetFacts,
    TargetName,
)
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.publish_sql import Times
from bq2pg_assets.engine.results import Spent, SyncResult
from bq2pg_assets.engine.swap import Swap

log = logging.getLogger(__name__)
LOCK_TIMEOUT = "10s"  # the longest wait for other sessions' locks before giving way to them
# Long values cost the server less than half the time that pglz takes (make bench --only nested). A
# column that was given a compression keeps it.
COMPRESS = "SET default_toast_compression = lz4"
LIMIT_LOCK_WAITS = sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT)


class TargetSession:
    """What one run may do while it holds the lock of one target."""

    def __init__(
        self,
        database: Connections,
        conn: psycopg.Connection[Any],
        *,
        own_schema: str,
        target: TargetName,
        run: RunId,
        table: str,
    ) -> None:
        self._database, self._conn, self._schema = database, conn, own_schema
        self.target, self.run = target, run
        self._where = f"target {target}"
        self._swap: Swap | None = None  # once there is a staging table to swap
        self._isolating = False  # whether the target refused staged rows
        with postgres_errors(self._where), conn.transaction():
            own_tables.ensure(conn, target_schema=target.schema, own_schema=own_schema)
            self._attempt = state.begin(conn, own_schema, run=run, table=table, target=target)
        self.stage = postgres_sql.stage_name(target, schema=own_schema, run=run)

    def dead_attempt(self, *, within: int, run_id: str | None = None) -> DeadAttempt | None:
        """The newest attempt at the target that died with an export at most `within` seconds old.

        Of the run `run_id`, if it is named; None after a load, or when there is none.
        """
        with postgres_errors(self._where):
            return leftovers.newest_dead(
                self._conn,
                self._schema,
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
        comment = postgres_sql.stage_comment(self.target)
        kept = but.attempt.stage if but else None
        with self._interruptible(cancel):
            for (name,) in self._conn.execute(
                postgres_sql.LEFTOVERS, [self._schema, comment]
            ).fetchall():
                if name == kept:
                    continue
                with suppress(LockNotAvailable), self._conn.transaction():
                    self._limit_lock_waits()
                    leftovers.drop(self._conn, self._schema, TargetName(self._schema, name))
            leftovers.forget_shards(self._conn, self._schema, self.target)

    def left_exports(self, *, but: Resumed | None = None) -> list[LeftExport]:
        """What attempts that died exported, except that of `but`, which is gone on with."""
        kept = but.attempt.prefix if but else None
        with postgres_errors(self._where):
            left = leftovers.left_exports(
                self._conn, self._schema, self.target, before=self._attempt
            )
        return [export for export in left if export.prefix != kept]

    def forget_prefix(self, prefix: str) -> None:
        """Nothing is left below it."""
        with self._usable_connection() as conn, postgres_errors(self._where):
            leftovers.forget_prefix(conn, self._schema, self.target, prefix)

    def describe(self) -> tuple[TargetFacts, CursorValue | None]:
        """What is there now, and how far it is loaded."""
        with postgres_errors(self._where):
            return target_facts.describe(self._conn, self.target, own_schema=self._schema)

    def record_plan(self, plan: SyncPlan) -> None:
        """Show in sync_history what was decided."""
        with postgres_errors(self._where):
            state.record_plan(self._conn, self._schema, attempt=self._attempt, plan=plan)

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
                self._schema,
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

        Empty, or that of the attempt the plan resumes, as far as it holds some of `shards`, and for
        a swap only if the target is still what it was made for.
        """
        staged: tuple[StagedShard, ...] = ()
        with postgres_errors(self._where):
            if plan.swaps:
                self._swap = Swap(self._conn, plan, stage=self.stage, where=self._where)
                leftovers.record_made_for(
                    self._conn, self._schema, attempt=self._attempt, made_for=self._swap.made_for
                )
            if plan.resumes is not None:
                with suppress(LockNotAvailable), self._conn.transaction():
                    self._limit_lock_waits()
                    staged = self._adopt(plan.resumes.attempt, shards)
            if not staged:
                with self._conn.transaction():
                    swapped = self._swap.create_stage() if self._swap else None
                    made = swapped or postgres_sql.create_stage(plan, self.stage)
                    self._conn.execute(postgres_sql.at_once(made))
        return staged

    def _adopt(self, dead: DeadAttempt, shards: Sequence[Shard]) -> tuple[StagedShard, ...]:
        swap = self._swap
        staged = leftovers.adopt(
            self._conn,
            self._schema,
            dead=dead,
            stage=self.stage,
            shards=shards,
            made_for=swap.made_for if swap else None,
        )
        if staged and swap:
            swap.adopt(dead.stage)
        return staged

    @contextmanager
    def copying(self, columns: Sequence[Column], *, cancel: CancelToken) -> Iterator["CopySink"]:
        """A connection of its own for COPY; cancelling interrupts it."""
        statement = postgres_sql.copy_in(self.stage, columns)
        with (
            self._database.patient_connection(
                name=f"copy {self.target}", lock=False, cancel=cancel
            ) as conn,
            cancel.interrupting(lambda: interrupt(conn)),
        ):
            # Servers before 14 do not know the setting, some builds not the value.
            with suppress(psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue):
                conn.execute(COMPRESS)
            note = partial(leftovers.note_shard, conn, self._schema, self.stage)
            yield CopySink(conn, statement, note=note, where=self._where, cancel=cancel)

    def count_shrink(
        self,
        plan: SyncPlan,
        *,
        staged: int,
        bad: Sequence[BadRow] = (),
        cancel: CancelToken,
    ) -> tuple[int, int]:
        """The rows that hold in the target, and how many of them would go."""
        with self._interruptible(cancel):
            return publish.count_shrink(self._conn, plan, self.stage, staged=staged, bad=bad)

    def build_indexes(self, plan: SyncPlan, *, cancel: CancelToken) -> None:
        """Make the staging table as the target is, before anybody has to wait for it.

        When an index refuses rows and the plan quarantines such, the rows are brought into the
        target instead, where they are told apart.
        """
        assert self._swap is not None
        try:
            with self._interruptible(cancel), self._conn.transaction():
                self._swap.build_indexes()
        except TargetError as error:
            self._look_for_bad_rows(plan, error)

    def publish(
        self,
        plan: SyncPlan,
        *,
        result: SyncResult,
        bad: Sequence[BadRow] = (),
        cancel: CancelToken,
    ) -> SyncResult:
        """The plan's changes, rows, cursor and history in one transaction.

        Returns the result with what was written filled in. The token is looked at last thing before
        the commit: a run shown as cancelled never commits afterwards. `bad` were refused before
        they were staged. When the target refuses staged rows too and the plan allows it, all is
        rolled back and done again in pieces.
        """
        if not self._isolating:
            try:
                return self._publish(plan, result=result, bad=bad, cancel=cancel)
            except TargetError as error:
                self._look_for_bad_rows(plan, error)
        return self._publish(plan, result=result, bad=bad, cancel=cancel)

    def _look_for_bad_rows(self, plan: SyncPlan, error: TargetError) -> None:
        """From now on. Raises the error when no row is to blame, or none may be left out."""
        if plan.max_bad_rows is None or refusal_of(error) is None:
            raise error
        log.info("%s refuses rows, looking for them: %s", self._where, error.met)
        self._isolating, self._swap = True, None

    def _publish(
        self, plan: SyncPlan, *, result: SyncResult, bad: Sequence[BadRow], cancel: CancelToken
    ) -> SyncResult:
        conn, schema = self._conn, self._schema
        with self._interruptible(cancel), conn.transaction():
            self._limit_lock_waits()
            target_facts.refuse_changed(conn, plan, where=self._where)
            cursor, counts = publish.new_cursor(conn, plan, self.stage, bad=bad)
            times = Times(*state.began(conn, schema, attempt=self._attempt))
            if self._swap is not None:
                written = self._swap.publish(staged=result.rows, cancel=cancel)
            else:
                written = publish.write(
                    conn,
                    plan,
                    self.stage,
                    staged=result.rows,
                    times=times,
                    bad=bad,
                    cancel=cancel,
                    isolating=self._isolating,
                )
            bad = (*bad, *written.bad)
            quarantine.keep(conn, schema, plan=plan, times=times, run=self.run, bad=bad)
            if plan.cursor_after != "keep":
                state.write_cursor(conn, self.target, cursor)
            counts.update(written.counts)
            final = replace(
                result,
                cursor_after=cursor,
                rows=written.rows,
                checks=(*result.checks, *written.checks),
                schema_changes=plan.changes,
                quarantined=len(bad),
                row_counts={word: count for word, count in counts.items() if count},
            )
            state.finish(conn, schema, attempt=self._attempt, result=final)
            cancel.check(self._where)
        for change in final.schema_changes:
            log.info("%s: column %s", self._where, change)
        if bad:
            listed = f"bq2pg quarantine list {plan.table}"
            log.warning("%s refused %d rows: see %s", self._where, len(bad), listed)
        if written.asked_at is None:
            return final
        return replace(final, lock_seconds=round(time.monotonic() - written.asked_at, 3))

    def finish(self, result: SyncResult) -> None:
        """Close the attempt, or complete the figures of one that published."""
        with postgres_errors(self._where):
            state.finish(self._conn, self._schema, attempt=self._attempt, result=result)

    def fail(self, error: str, *, outcome: Outcome, spent: Spent) -> None:
        """Close the attempt of a run that failed, over a new connection if need be."""
        with self._usable_connection() as conn, postgres_errors(self._where):
            state.fail(
                conn,
                self._schema,
                attempt=self._attempt,
                outcome=outcome,
                error=error,
                spent=spent,
            )

    def analyze(self, *, cancel: CancelToken) -> None:
        """Fresh statistics for the planner. Raises TargetError when the table stays locked.

        A table that took the target's place has them already.
        """
        if self._swap is not None and self._swap.brings_statistics:
            return
        with self._interruptible(cancel), self._conn.transaction():
            self._limit_lock_waits()
            self._conn.execute(postgres_sql.analyze(self.target))

    def row_estimate(self) -> int | None:
        """The target's rows, as the last ANALYZE saw them."""
        with postgres_errors(self._where):
            return state.row_estimate(self._conn, self.target)

    def drop_stage(self) -> None:
        """Remove the staging table, if it is there; no attempt goes on with this export."""
        with (
            self._usable_connection() as conn,
            postgres_errors(self._where),
            conn.transaction(),
        ):
            conn.execute(LIMIT_LOCK_WAITS)
            leftovers.drop(conn, self._schema, self.stage)
            leftovers.forget_exports(conn, self._schema, self.target)

    def _limit_lock_waits(self) -> None:
        """For the rest of the transaction."""
        self._conn.execute(LIMIT_LOCK_WAITS)

    @contextmanager
    def _interruptible(self, cancel: CancelToken) -> Iterator[None]:
        cancel.check(self._where)
        with (
            postgres_errors(self._where, cancel=cancel),
            cancel.interrupting(lambda: interrupt(self._conn)),
        ):
            yield

    @contextmanager
    def _usable_connection(self) -> Iterator[psycopg.Connection[Any]]:
        """The session's connection, or a new one when it broke or was interrupted mid-statement."""
        if self._conn.info.transaction_status is not TransactionStatus.IDLE:
            interrupt(self._conn)
            self._conn.close()
            with self._database.reconnected(
                name=f"clean {self.target}", cancel=CancelToken()
            ) as conn:
                yield conn
        else:
            yield self._conn
