"""Rows among the staged ones that the target refuses, found while the others are written.

Belongs here: publishing in pieces within the *caller's* transaction, the keys of bad rows. Does
not: keeping bad rows (quarantine.py), SQL texts (quarantine_sql.py), publishing undisturbed
(postgres.py).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from bq2pg_assets.engine import postgres_sql, publish_sql, quarantine_sql
from bq2pg_assets.engine.bad_rows import hold_limit, isolate, joined, refusal_of
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import TargetError
from bq2pg_assets.engine.model import BadRow, Mode, Refusal, SyncPlan, TargetName
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets.engine.publish_sql import Step, Times
from bq2pg_assets.engine.quarantine_sql import Piece


class StagedRows:
    """The staged rows of a plan, some of which the target refuses. Lives in one transaction.

    `counts` tells what became of the good ones; `bad` are the others.
    """

    def __init__(
        self,
        conn: Connection[Any],
        plan: SyncPlan,
        *,
        stage: TargetName,
        times: Times,
        where: str,
        cancel: CancelToken,
    ) -> None:
        self._conn, self._plan, self._stage, self._times = conn, plan, stage, times
        self._where, self._cancel = where, cancel
        self._steps = _steps(plan, quarantine_sql.piece_name(stage), times=times)
        self.counts: Counter[str] = Counter()
        self.bad: list[BadRow] = []

    @property
    def written(self) -> int:
        """The good rows that are in the target now and were not before."""
        return self.counts["inserted"] + self.counts["updated"]

    def write(self, *, bad_before: Sequence[BadRow]) -> None:
        """Write the good ones into the target.

        `bad_before` were refused before they were staged: the limit counts them too. A row may be
        refused only because another, later one is not there yet: it is tried again.
        """
        conn, plan = self._conn, self._plan
        self._prepare(present(conn, plan, self._stage, bad=bad_before))
        check_at_once(conn, plan.target)
        conn.execute(quarantine_sql.create_piece(self._stage))
        refused = []
        everything = quarantine_sql.whole(self._blocks())
        for piece, refusal in isolate(everything, take=self._take, halves=quarantine_sql.halves):
            refused.append((piece, refusal))
            hold_limit(plan, len(bad_before) + len(refused), last=refusal)
        for piece, refusal in self._still_refused(refused):
            self.bad.append(BadRow(self._text(piece), refusal))
        conn.execute(quarantine_sql.drop_piece(self._stage))

    def _still_refused(self, refused: list[tuple[Piece, Refusal]]) -> list[tuple[Piece, Refusal]]:
        while True:
            again = [(piece, self._take(piece)) for piece, _ in refused]
            left = [(piece, refusal) for piece, refusal in again if refusal is not None]
            if len(left) == len(refused):
                return left
            refused = left

    def _prepare(self, present: sql.Composable) -> None:
        """What needs all staged rows together; the target made or emptied."""
        plan = self._plan
        if plan.creates_target:
            self._run(self._dedupe())
            for statement in self._created():
                self._conn.execute(statement)
        elif plan.publish.by_steps:
            self._run(publish_sql.clear(plan, self._stage, times=self._times, present=present))
        else:
            self._run(self._dedupe())
            if plan.publish is Mode.REPLACE:
                self._conn.execute(postgres_sql.delete_all(plan.target))

    def _dedupe(self) -> list[Step]:
        """Pieces must not bring an older row over a newer one."""
        plan = self._plan
        return [("duplicates", postgres_sql.keep_newest(plan, self._stage))] if plan.key else []

    def _created(self) -> list[sql.Composed]:
        plan = self._plan
        if plan.publish.by_steps:
            return publish_sql.create(plan, times=self._times)
        return [
            *postgres_sql.create_stage(plan, plan.target),
            *postgres_sql.finish_target(plan),
        ]

    def _run(self, steps: Sequence[Step]) -> None:
        done = Counter[str]()
        for word, statement in steps:
            done[word] += self._conn.execute(statement).rowcount
        del done[publish_sql.UNCOUNTED]
        self.counts.update(done)

    def _blocks(self) -> int:
        name = postgres_sql.identifier(self._stage).as_string()
        row = self._conn.execute(quarantine_sql.BLOCKS, [name]).fetchone()
        assert row is not None
        return int(row[0])

    def _take(self, piece: Piece) -> Refusal | None:
        self._cancel.check(self._where)
        low, high = (quarantine_sql.tid(position) for position in piece)
        done = Counter[str]()
        try:
            with (
                postgres_errors(self._where, cancel=self._cancel),
                self._conn.transaction(),
            ):
                self._conn.execute(quarantine_sql.SET_PIECE, [low, high])
                for word, statement in self._steps:
                    done[word] += self._conn.execute(statement).rowcount
        except TargetError as error:
            refusal = refusal_of(error)
            alone = quarantine_sql.halves(piece) is None
            # What refuses even no row is a trigger of the whole statement.
            if refusal is None or (alone and self._texts(piece) is None):
                raise
            return refusal
        self.counts.update(done)
        return None

    def _texts(self, piece: Piece) -> Sequence[str | None] | None:
        return self._conn.execute(
            quarantine_sql.staged_row(self._plan, self._stage, piece[0])
        ).fetchone()

    def _text(self, piece: Piece) -> str:
        texts = self._texts(piece)
        assert texts is not None
        return joined(zip([c.source for c in self._plan.columns], texts, strict=True))


def check_at_once(conn: Connection[Any], target: TargetName) -> None:
    """Have the target's deferrable constraints checked by each statement of this transaction."""
    name = postgres_sql.identifier(target).as_string()
    if found := conn.execute(quarantine_sql.DEFERRABLE, [name]).fetchall():
        conn.execute(quarantine_sql.check_at_once([(str(s), str(n)) for s, n in found]))


def present(
    conn: Connection[Any], plan: SyncPlan, stage: TargetName, *, bad: Sequence[BadRow]
) -> sql.Composable:
    """A relation with the keys that the source has: of the staged rows, and of the bad ones.

    A key that PostgreSQL cannot hold is left out: no row of a target has it.
    """
    held: list[str] = []

    def take(piece: list[str]) -> Refusal | None:
        try:
            with postgres_errors(f"target {plan.target}"), conn.transaction():
                conn.execute(quarantine_sql.keys(plan, piece))
        except TargetError as error:
            if (refusal := refusal_of(error)) is None:
                raise
            return refusal
        held.extend(piece)
        return None

    deletes = plan.publish in (Mode.MIRROR, Mode.SCD2)
    objects = [one.key for one in bad if one.key] if deletes else []
    if objects:
        for _ in isolate(objects, take=take, halves=_halves):
            pass
    return quarantine_sql.present(plan, stage, held)


def _halves(objects: list[str]) -> tuple[list[str], list[str]] | None:
    middle = len(objects) // 2
    return (objects[:middle], objects[middle:]) if middle else None


def _steps(plan: SyncPlan, piece: TargetName, *, times: Times) -> list[Step]:
    if plan.publish.by_steps:
        return publish_sql.bring(plan, piece, times=times)
    statement = postgres_sql.merge if plan.publish is Mode.MERGE else postgres_sql.insert
    return [("inserted", statement(plan, piece))]
