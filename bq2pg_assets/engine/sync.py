"""THE FLOW: what happens to one table, in order, and nothing else.

Belongs here: the ten steps and what is true when each fails. Does not: how a step is done.

Killed anywhere, run again, the target is as after an undisturbed run: before step 8 nothing but
exported objects and a staging table exist, and step 8 is one transaction.
"""

from collections.abc import Callable

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import checks, guards
from bq2pg_assets.engine import plan as planning
from bq2pg_assets.engine.attempt import Attempt, analyzed, cleaned, completed, recorded
from bq2pg_assets.engine.bigquery import BigQuerySource, job_id
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy import Store, copy_shards
from bq2pg_assets.engine.model import (
    CursorValue,
    Estimate,
    ExportWay,
    RunId,
    RunOptions,
    SourceFacts,
    SyncPlan,
    TargetFacts,
)
from bq2pg_assets.engine.postgres import PostgresTarget, TargetSession
from bq2pg_assets.engine.read_api import ReadStreams
from bq2pg_assets.engine.results import Progress, SyncResult
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
    case but the death of the process.
    """
    attempt = Attempt(
        table, run=run, cancel=cancel or CancelToken(), report=report, cost=source.cost
    )
    with (
        target.locked(table.target_name, run=run, table=table.name) as session,  # 1 lock
        recorded(session, attempt),
    ):
        with attempt.phase("plan"):
            session.drop_leftovers(cancel=attempt.cancel)  # of killed runs
            there, cursor = session.describe()  # 2 read the cursor
            plan, facts = _plan(  # 3 describe, 4 plan
                table,
                source,
                there,
                cursor,
                options=options,
                has_bucket=shards is not None,
                run=run,
                cancel=attempt.cancel,
            )
            session.record_plan(plan)
            attempt.bytes_billed = plan.bytes_probed
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
    prefix = store.prefix(table.name, attempt.run)
    with cleaned(session, store, prefix, attempt):  # 10 clean, whatever happens
        with attempt.phase("export"):  # 5 export
            attempt.job_id = None if plan.direct else job_id(table.name, attempt.run, "export")
            export = source.export(plan, prefix=prefix, run=attempt.run, cancel=cancel)
            attempt.bytes_billed += export.bytes_billed
            exported = store.list(export.place)
        with attempt.phase("copy"):  # 6 copy
            session.create_stage(plan)
            copied = copy_shards(
                plan, exported, store=store, session=session, cancel=cancel, report=attempt.report
            )
        with attempt.phase("verify"):  # 7 verify
            still = source.unchanged_rows(table, facts)
            checks.verify_counts(plan, export=export, copied=copied, unchanged_rows=still)
            guards.refuse_empty(table, plan, rows=copied.rows)
            verdicts = checks.judge(
                table, plan, session=session, export=export, copied=copied, cancel=cancel
            )
        with attempt.phase("publish"):  # 8 publish and write the cursor, in one transaction
            result = attempt.result(plan, facts, export=export, copied=copied, checks=verdicts)
            result = session.publish(plan, result=result, cancel=cancel)
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
) -> tuple[SyncPlan, Estimate]:
    """Steps 2 to 4 without a lock and without writing anything, and what they would process.

    `run` names the query that looks above the cursor; no attempt is recorded.
    """
    there, cursor = target.describe(table.target_name)
    plan, _ = _plan(
        table,
        source,
        there,
        cursor,
        options=options,
        has_bucket=has_bucket,
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
    run: RunId,
    cancel: CancelToken,
) -> tuple[SyncPlan, SourceFacts]:
    facts = source.describe(table)
    columns = map_columns(table, facts.fields)
    intent = planning.decide(
        table, facts=facts, columns=columns, target=there, cursor_value=cursor, options=options
    )
    probe = None
    if intent.probes and intent.looked is not None:
        probe = source.probe(
            facts,
            intent.looked,
            table=table,
            where=options.where,
            limit=options.limit,
            every_partition_of=intent.every_partition_of,
            run=run,
            cancel=cancel,
        )
    plan = planning.make_plan(
        table,
        facts=facts,
        columns=columns,
        target=there,
        intent=intent,
        options=options,
        probe=probe,
        has_bucket=has_bucket,
    )
    return plan, facts


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
