"""One attempt at one table: its clock, its result, its record, its cleaning up.

Belongs here: what surrounds the steps of sync.py. Does not: the steps.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import BigQuerySource, job_id
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import (
    Bq2pgError,
    CancelledError,
    SourceError,
    StorageError,
    TargetError,
)
from bq2pg_assets.engine.feed import Store
from bq2pg_assets.engine.fingerprint import fingerprint
from bq2pg_assets.engine.meter import Copied
from bq2pg_assets.engine.model import (
    Export,
    ExportWay,
    Outcome,
    Resumed,
    RunId,
    SourceFacts,
    SyncPlan,
)
from bq2pg_assets.engine.profile import advice
from bq2pg_assets.engine.redact import redact
from bq2pg_assets.engine.results import Check, Progress, Spent, SyncResult
from bq2pg_assets.engine.session import TargetSession
from bq2pg_assets.engine.shards import GcsShards

log = logging.getLogger(__name__)
DENIED = "accessDenied"


class Attempt:
    """Who runs what, since when, and how long each phase took."""

    def __init__(
        self,
        table: TableConfig,
        *,
        run: RunId,
        cancel: CancelToken,
        report: Callable[[Progress], None],
        cost: Callable[[int], float],
    ) -> None:
        self.table, self.run, self.cancel, self.report = table, run, cancel, report
        self._cost = cost
        self.phases: dict[str, float] = {}
        self.job_id: str | None = None
        self.bytes_billed = 0
        self.keeps_export = False  # for the next attempt, should PostgreSQL fail
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the attempt began."""
        return time.monotonic() - self._start

    @contextmanager
    def phase(self, name: str, *, published: bool = False) -> Iterator[None]:
        """Time a phase and tell that it began.

        Raises CancelledError instead of beginning it, unless the rows are `published` already.
        """
        if not published:
            self.cancel.check(f"table {self.table.name}")
        self.report(Progress(table=self.table.name, phase=name))
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(time.monotonic() - start, 3)

    def exports(
        self, plan: SyncPlan, prefix: str, *, session: TargetSession, facts: SourceFacts
    ) -> None:
        """An export begins below `prefix`: remember what a later attempt needs to go on with it."""
        if plan.direct:
            return
        resumed = plan.resumes
        self.job_id = resumed.attempt.job_id if resumed else job_id(plan.table, self.run, "export")
        session.record_export(
            plan,
            job_id=self.job_id,
            prefix=prefix,
            fingerprint=fingerprint(plan) if self.table.resume else None,
            source_modified_at=facts.modified_at,
        )

    def exported(self, plan: SyncPlan, export: Export) -> None:
        """The export is finished."""
        self.bytes_billed += export.bytes_billed
        self.keeps_export = self.table.resume > 0 and fingerprint(plan) is not None

    @property
    def spent(self) -> Spent:
        """What has been used up so far."""
        return Spent(
            seconds=round(self.seconds, 3),
            phases=dict(self.phases),
            job_id=self.job_id,
            bytes_billed=self.bytes_billed,
            cost=self._cost(self.bytes_billed),
        )

    def result(
        self,
        plan: SyncPlan,
        facts: SourceFacts,
        *,
        export: Export | None = None,
        copied: Copied | None = None,
        checks: tuple[Check, ...] = (),
    ) -> SyncResult:
        """What the attempt has done so far; without an export there was nothing new."""
        before = plan.cursor.value if plan.cursor else None
        return SyncResult(
            table=plan.table,
            target=plan.target,
            outcome=Outcome.LOADED if export else Outcome.NOTHING_NEW,
            publish=plan.publish,
            rows=copied.rows if copied else 0,
            bytes=copied.bytes if copied else 0,
            shards=copied.shards if copied else 0,
            seconds=round(self.seconds, 3),
            phases=dict(self.phases),
            columns=plan.columns,
            checks=checks,
            cursor_before=before,
            cursor_after=before,
            job_id=export.job_id if export else None,
            prefix=export.place if export and plan.way is not ExportWay.READ_API else None,
            way=plan.way if export else None,
            bytes_processed=export.bytes_processed if export else 0,
            bytes_billed=self.bytes_billed,
            cost=self._cost(self.bytes_billed),
            location=plan.location,
            source=plan.source_sql,
            # A partial run is not up to that change: some rows may be left out.
            source_modified_at=None if plan.where or plan.limit else facts.modified_at,
            nul_bytes=copied.nul_bytes if copied else {},
            resumed_from=str(plan.resumes.attempt) if plan.resumes else None,
            row_counts={"null_cursor": plan.null_cursors} if plan.null_cursors else {},
            quarantined=len(copied.bad) if copied else 0,
            profile=copied.profile if copied else None,
        )

    def ended(self, result: SyncResult, *, target_rows: int | None) -> SyncResult:
        """The result with the whole time, and what to do about it."""
        return replace(
            result,
            seconds=round(self.seconds, 3),
            phases=dict(self.phases),
            target_rows=target_rows,
            advice=advice(result.profile, self.phases, publish=result.publish, way=result.way),
        )


@contextmanager
def recorded(session: TargetSession, attempt: Attempt) -> Iterator[None]:
    """Write a failure or a cancellation into sync_history and let it go on its way."""
    try:
        yield
    except BaseException as error:
        stopped = attempt.cancel.cancelled or not isinstance(error, Exception)
        stopped = stopped or isinstance(error, CancelledError)
        outcome = Outcome.CANCELLED if stopped else Outcome.FAILED
        told = redact(str(error)) or type(error).__name__
        _try(
            "record the failure",
            lambda: session.fail(told, outcome=outcome, spent=attempt.spent),
        )
        raise


@contextmanager
def cleaned(session: TargetSession, store: Store, prefix: str, attempt: Attempt) -> Iterator[None]:
    """Remove the staging table and the exported objects when the block ends, however it ends.

    They stay for the next attempt when PostgreSQL failed and may work again: nothing is wrong with
    what was exported. An export that BigQuery was denied wrote nothing. That its objects cannot be
    deleted either is no news then.
    """
    denied = kept = False
    try:
        yield
    except Bq2pgError as error:
        denied = isinstance(error, SourceError) and error.reason == DENIED
        sound = isinstance(error, TargetError) and error.retryable
        kept = sound and attempt.keeps_export and not attempt.cancel.cancelled
        raise
    finally:
        start = time.monotonic()
        if not kept:
            _clean(session, store, prefix, denied=denied)
        attempt.phases["clean"] = round(time.monotonic() - start, 3)


def _clean(session: TargetSession, store: Store, prefix: str, *, denied: bool) -> None:
    try:
        _try(f"drop staging table {session.stage}", session.drop_stage)
    finally:  # also when a second interrupt cuts the first cleaning short
        _try(f"delete {prefix}", lambda: _delete(session, store, prefix, denied=denied))


def _delete(session: TargetSession, store: Store, prefix: str, *, denied: bool) -> None:
    try:
        store.delete(prefix)
    except StorageError as error:
        if not (denied and error.reason == DENIED):
            raise
    session.forget_prefix(prefix)


def clear_dead(
    session: TargetSession, source: BigQuerySource, shards: GcsShards | None, *, but: Resumed | None
) -> None:
    """Delete what dead attempts at the target exported, except what `but` goes on with.

    A job that still writes is stopped first. What cannot be deleted is left for the next run.
    """
    if shards is None:
        return
    for left in session.left_exports(but=but):
        if left.prefix.startswith(shards.root):
            source.cancel(left.job_id, location=left.location)
            _try(
                f"delete {left.prefix}",
                partial(_delete, session, shards, left.prefix, denied=False),
            )


def analyzed(session: TargetSession) -> None:
    """Fresh statistics after publishing: the rows are in, so a failure is told and no more."""
    _try(f"analyze {session.target}", lambda: session.analyze(cancel=CancelToken()))


def completed(session: TargetSession, attempt: Attempt, result: SyncResult) -> SyncResult:
    """The result with the whole time and the target's size, also in sync_history.

    All is committed by now: what fails here is told and no more.
    """
    sizes: list[int | None] = []
    _try(f"count {session.target}", lambda: sizes.append(session.row_estimate()))
    whole = attempt.ended(result, target_rows=sizes[0] if sizes else None)
    _try("complete the record", lambda: session.finish(whole))
    return whole


def _try(what: str, action: Callable[[], object]) -> None:
    """A failed cleaning is told, and never hides the error it follows, whatever it raises."""
    try:
        action()
    except Bq2pgError as error:
        log.warning("could not %s: %s", what, redact(str(error)))
    except Exception as error:
        told = redact(f"{type(error).__name__}: {error}")
        log.warning("could not %s: unexpected %s", what, told, exc_info=True)
