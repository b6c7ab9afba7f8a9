"""Replaces a table by its staging table under a short lock, and sees that nothing was lost.

Belongs here: the transactions and the lock of a swap. Does not: what is carried over (carry.py),
reading the catalogue (catalog.py), the cursor and the history (session.py).
"""

import random
import time
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable

from bq2pg_assets.engine import carry, catalog, postgres_sql
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.carry import Catalog
from bq2pg_assets.engine.errors import TargetError, VerifyError
from bq2pg_assets.engine.model import SyncPlan, TargetName
from bq2pg_assets.engine.results import CATALOG, Check, Written

# Readers queue behind a lock that is asked for, so it is asked for briefly and again. Shorter than
# deadlock_timeout (1 s): where two wait for each other it is this run that gives way.
LOCK_WAIT = "500ms"
LOCK_TRIES = 10
PAUSE = (0.3, 1.0)  # seconds, at random, so that two who collide do not do it again
HOLDERS = """
SELECT DISTINCT format('%%s (%%s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename))
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.relation IN (SELECT to_regclass(name) FROM unnest(%s::text[]) name) 
  AND l.granted AND l.pid <> pg_backend_pid() ORDER BY 1"""


class Swap:
    """One replacement of one table: its staging table, then the exchange."""

    def __init__(
        self, conn: psycopg.Connection[Any], plan: SyncPlan, *, stage: TargetName, where: str
    ) -> None:
        self._conn, self._plan, self._stage, self._where = conn, plan, stage, where
        self._oid = catalog.find(conn, plan.target)
        self._found = catalog.read(conn, self._oid)
        self._staged = catalog.read_for_stage(conn, self._oid, stage=stage)
        self._superseded = 0  # staged rows of which a newer one has the key
        self._built = False

    @property
    def made_for(self) -> str:
        """What tells the target, with all that hangs on it, from any other and from itself after
        a change: a staging table is made for one of them.
        """
        return carry.fingerprint(self._found, self._staged, stem=catalog.stem(self._stage))

    @property
    def brings_statistics(self) -> bool:
        """Whether the planner's statistics are whole; extended ones come last, and empty."""
        return not carry.makes(self._staged, ("statistics",))

    def create_stage(self) -> list[sql.Composed]:
        """What makes an empty staging table that takes and refuses the rows the target would."""
        return carry.create_stage(self._plan, self._stage, self._staged)

    def adopt(self, dead: str) -> None:
        """Go on with the staging table of a dead attempt, made for the same target and renamed
        already. What belongs to it is renamed as well; its indexes are all there or none is.
        """
        old, new = (
            catalog.stem(TargetName(self._stage.schema, n)) for n in (dead, self._stage.table)
        )
        self._built = catalog.rename_all(self._conn, self._stage.schema, old=old, new=new)

    def build_indexes(self) -> None:
        """All that takes long, before any lock, in the caller's transaction.

        The planner's statistics come along: a table without them would be read by bad plans.
        """
        if self._built:
            return
        if self._plan.key:
            dedupe = postgres_sql.keep_newest(self._plan, self._stage)
            self._superseded = self._conn.execute(dedupe).rowcount
        for statement in carry.makes(self._staged, carry.INDEXING):
            self._conn.execute(statement)
        self._conn.execute(postgres_sql.analyze(self._stage))

    def publish(self, *, staged: int, cancel: CancelToken) -> Written:
        """The exchange, within the caller's transaction, of a table with `staged` rows copied.

        Raises TargetError when the lock was not to be had or the table changed meanwhile, and
        VerifyError when something was not carried over: the caller's transaction must then end.
        """
        self._refuse_changed()
        # The tables it refers to are locked against writers while its rows are looked up there.
        _run(self._conn, carry.makes(self._staged, carry.LINKING))
        for attempt in range(1, LOCK_TRIES + 1):
            started = time.monotonic()
            try:
                with self._conn.transaction():
                    self._conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_WAIT))
                    self._exchange()
                break
            except (LockNotAvailable, DeadlockDetected) as error:
                if attempt == LOCK_TRIES:
                    raise self._not_had() from error
            pause = random.uniform(*PAUSE)  # noqa: S311 - no secret
            cancel.wait(pause, where=self._where)
        rows = staged - self._superseded
        return Written(rows, checks=(self._compare(),), asked_at=started)

    def _refuse_changed(self) -> None:
        """From here on no other session changes the table's definition; reading and writing go on.

        What it says of grants and views, which take no such lock, is compared again at the end.
        """
        target = self._plan.target
        self._conn.execute(
            sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(
                postgres_sql.identifier(target)
            )
        )
        now = catalog.read(self._conn, catalog.find(self._conn, target))
        if changed := carry.differences(self._found, now):
            raise TargetError(
                self._where,
                met=f"changed while the rows were copied: {'; '.join(changed)}",
                expected="the table for which the staging table was made",
                way_out="Run again; nothing was published.",
                retryable=True,
            )

    def _exchange(self) -> None:
        """In two round trips: under the lock they count."""
        target, found, staged = self._plan.target, self._found, self._staged
        _run_at_once(self._conn, carry.release(target, found, staged))
        # Row security then filters what a materialized view's owner may see, as REFRESH does.
        settings = [sql.SQL("SET LOCAL row_security = {}").format(on) for on in ("on", "off")]
        made = carry.take_over(target, found, staged, self._stage)
        _run_at_once(self._conn, [settings[0], *made, settings[1]])

    def _compare(self) -> Check:
        now = catalog.read(self._conn, catalog.find(self._conn, self._plan.target))
        verdict = compared(self._found, now, self._plan)
        if not verdict.passed:
            raise VerifyError(
                self._where,
                met=verdict.says,
                expected="all that the table was and had, but its rows",
                way_out="Say replace_strategy: truncate in the table's YAML, and tell the makers "
                "of bq2pg; nothing was published.",
                checks=(verdict,),
            )
        return verdict

    def _not_had(self) -> TargetError:
        names = sorted({item.of for item in self._found})
        holders = ", ".join(h for (h,) in self._conn.execute(HOLDERS, [names]))
        return TargetError(
            self._where,
            met=f"locked by others at each of {LOCK_TRIES} tries of {LOCK_WAIT}"
            + (f", now by process {holders}" if holders else ""),
            expected="a moment in which nobody reads or writes it",
            way_out="A reader or writer held the table for too long: run again when it has ended; "
            "nothing was published.",
            retryable=True,
            sqlstate=LockNotAvailable.sqlstate or "",
        )


def compared(before: Catalog, after: Catalog, plan: SyncPlan) -> Check:
    """The verdict on two readings of the catalogue."""
    changed = carry.differences(before, after, plan.changes)
    count = len(list(before))
    return Check(
        CATALOG,
        passed=not changed,
        says="; ".join(changed) or f"{count} things of the table and its readers are as before",
        numbers={"compared": count, "changed": len(changed)},
    )


def _run(conn: psycopg.Connection[Any], statements: Iterable[sql.Composed]) -> None:
    for statement in statements:
        conn.execute(statement)


def _run_at_once(conn: psycopg.Connection[Any], statements: Iterable[sql.Composed]) -> None:
    conn.execute(postgres_sql.at_once(statements))
