"""THE FLOW: what happens to one table, in order, and nothing else.

Belongs here: the ten steps and what is true when each fails. Does not: how a step is done.

Killed anywhere, run again, the target is as after an undisturbed run: before step 8 nothing but
exported objects and a staging table exist, and step 8 is one transaction.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import bad_rows, checks, guards, resume
from bq2pg_assets.engine import plan as planning
from bq2pg_assets.engine.attempt import Attempt, analyzed, cleaned, clear_dead, completed, recorded
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy import copy_shards
from bq2pg_assets.engine.feed import Store
from bq2pg_assets.engine.model import (
    CursorValue,
    DeadAttempt,
    Estimate,
    ExportWay,
    RunId,
    RunOptions,
    SourceFacts,
    SyncPlan,
    TargetFacts,
)
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.read_api import ReadStreams
from bq2pg_assets.engine.results import Progress, SyncResult
from bq2pg_assets.engine.session import TargetSession
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.typemap import map_columns

NO_OPTIONS = RunOptions()


def sync_table(
    table: TableConfig,
    *,
    source: BigQuerySource,
    shards: GcsShards | None,
    target: PostgresTarget,
    run: RunId,
    options: RunOptions = NO_OPTIONS,
    cancel: CancelToken | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> SyncResult:
    """Bring one target table up to date with its source.

    `shards` is the bucket, None where there is none. Raises a Bq2pgError; the live table and its
    cursor are then as before. The exported objects and the staging table are removed in every
    case but two: the process died, or PostgreSQL failed in a way that may pass. Then the next run
    goes on with them.
    """
    attempt = Attempt(
        table, run=run, cancel=cancel or CancelToken(), report=report, cost=source.cost
    )
    with (
        target.locked(  # 1 lock
            table.target_name, run=run, table=table.name, wait=options.wait, cancel=attempt.cancel
        ) as session,
        recorded(session, attempt),
    ):
        with attempt.phase("plan"):
            there, cursor = session.describe()  # 2 read the cursor
            plan, facts = _plan(  # 3 describe, 4 plan
                table,
                source,
                there,
                cursor,
                options=options,
                has_bucket=shards is not None,
                shards=shards,
                dead=session.dead_attempt(
                    within=table.resume, run_id=run.id if options.full_refresh else None
                ),
                run=run,
                cancel=attempt.cancel,
            )
            attempt.bytes_billed = plan.bytes_probed
            session.drop_leftovers(cancel=attempt.cancel, but=plan.resumes)  # of dead runs
            clear_dead(session, source, shards, but=plan.resumes)
            session.record_plan(plan)
        if plan.nothing_new:
            return _nothing_new(session, attempt, plan, facts)
        store = _store(plan, source, shards)
        return _load(attempt, plan, facts, source=source, store=store, session=session)


def _load(
    attempt: Attempt,
    plan: SyncPlan,
    facts: SourceFacts,
    *,
    source: BigQuerySource,
    store: Store,
    session: TargetSession,
) -> SyncResult:
    table, cancel = attempt.table, attempt.cancel
    guards.refuse_empty(table, plan, rows=None if facts.streaming else facts.num_rows)
    resumes = plan.resumes.attempt if plan.resumes else None
    prefix = resumes.prefix if resumes else store.prefix(table.name, attempt.run)
    with cleaned(session, store, prefix, attempt):  # 10 clean, whatever happens
        with attempt.phase("export"):  # 5 export
            attempt.exports(plan, prefix, session=session, facts=facts)
            export = source.export(plan, prefix=prefix, run=attempt.run, cancel=cancel)
            attempt.exported(plan, export)
            exported = store.list(export.place)
        with attempt.phase("copy"):  # 6 copy
            staged = session.create_stage(plan, exported)
            copied = copy_shards(
                plan,
                exported,
                store=store,
                session=session,
                cancel=cancel,
                report=attempt.report,
                staged=staged,
            )
        with attempt.phase("verify"):  # 7 verify
            still = source.unchanged_rows(table, facts)
            checks.verify_counts(plan, export=export, copied=copied, unchanged_rows=still)
            guards.refuse_empty(table, plan, rows=copied.rows + len(copied.bad))
            bad_rows.refuse_none_left(plan, written=copied.rows, bad=len(copied.bad))
            verdicts = checks.judge(
                table, plan, session=session, export=export, copied=copied, cancel=cancel
            )
        if plan.swaps:
            with attempt.phase("index"):
                session.build_indexes(plan, cancel=cancel)
        with attempt.phase("publish"):  # 8 publish and write the cursor, in one transaction
            result = attempt.result(plan, facts, export=export, copied=copied, checks=verdicts)
            result = session.publish(plan, result=result, bad=copied.bad, cancel=cancel)
        with attempt.phase("after", published=True):  # 9 after: a cancel comes too late
            analyzed(session)
    return completed(session, attempt, result)


def plan_table(
    table: TableConfig,
    *,
    source: BigQuerySource,
    target: PostgresTarget,
    run: RunId,
    options: RunOptions = NO_OPTIONS,
    has_bucket: bool = True,
    shards: GcsShards | None = None,
) -> tuple[SyncPlan, Estimate]:
    """Steps 2 to 4 without a lock and without writing anything, and what they would process.

    `run` names the query that looks above the cursor; no attempt is recorded. With `shards` an
    export that a run would use again is looked for.
    """
    there, cursor = target.describe(table.target_name)
    looks = shards is not None and not options.full_refresh
    plan, _ = _plan(
        table,
        source,
        there,
        cursor,
        options=options,
        has_bucket=has_bucket,
        shards=shards,
        dead=target.dead_attempt(table.target_name, within=table.resume) if looks else None,
        run=run,
        cancel=CancelToken(),
    )
    return plan, source.estimate(plan)


def _plan(
    table: TableConfig,
    source: BigQuerySource,
    there: TargetFacts,
    cursor: CursorValue | None,
    *,
    options: RunOptions,
    has_bucket: bool,
    shards: GcsShards | None,
    dead: DeadAttempt | None,
    run: RunId,
    cancel: CancelToken,
) -> tuple[SyncPlan, SourceFacts]:
    facts = source.describe(table)
    columns = map_columns(table, facts.fields)
    intent = planning.decide(
        table, facts=facts, columns=columns, target=there, cursor_value=cursor, options=options
    )
    above = intent.looked if intent.probes else None
    make = partial(
        planning.make_plan,
        table,
        facts=facts,
        columns=columns,
        target=there,
        intent=intent,
        options=options,
        has_bucket=has_bucket,
    )
    if dead is not None and shards is not None:
        plan = resume.resumed(dead, above, make, source=source, shards=shards)
        if plan is not None:
            return plan, replace(facts, modified_at=dead.source_modified_at)
    probe = None
    if above is not None:
        probe = source.probe(
            facts,
            above,
            table=table,
            where=options.where,
            limit=options.limit,
            every_partition_of=intent.every_partition_of,
            run=run,
            cancel=cancel,
        )
    return make(probe=probe), facts


def _store(plan: SyncPlan, source: BigQuerySource, shards: GcsShards | None) -> Store:
    """Where the rows wait between BigQuery and PostgreSQL."""
    if plan.way is ExportWay.READ_API:
        return ReadStreams(source.read_client, plan, project=source.client.project)
    assert shards is not None  # or the plan would not take this way
    return shards


def _nothing_new(
    session: TargetSession, attempt: Attempt, plan: SyncPlan, facts: SourceFacts
) -> SyncResult:
    size = session.row_estimate()
    result = attempt.ended(attempt.result(plan, facts), target_rows=size)
    session.finish(result)
    return result
