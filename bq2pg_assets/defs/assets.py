"""The assets: one per table, each a single call of the engine.

Belongs here: what a run can be told (SyncRunConfig), calling the engine and reporting what it
did. Does not: the asset's specification (spec.py), how errors translate (failures.py), metadata
(metadata.py).
"""

from collections.abc import Callable, Iterator

import dagster as dg
from pydantic import Field

from bq2pg_assets.config.load import TableProblem
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.cancel import call_cancellable, is_cancelled
from bq2pg_assets.defs.checks import check_results, check_specs, checks_of
from bq2pg_assets.defs.failures import RETRY_SECONDS, failure, retry_policy
from bq2pg_assets.defs.logs import ProgressLog, logged_to
from bq2pg_assets.defs.metadata import data_version, result_metadata
from bq2pg_assets.defs.resources import BigQuery, Gcs, Postgres
from bq2pg_assets.defs.spec import asset_spec
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import Bq2pgError, ConfigError, VerifyError
from bq2pg_assets.engine.model import Outcome, RunId, RunOptions
from bq2pg_assets.engine.results import SyncResult
from bq2pg_assets.engine.sync import sync_table

POOL = "postgres"
# Three parts: no table's key (schema, table) can be one of them.
PLACEHOLDER = ("bq2pg", "invalid")
DATA_VERSION = "dagster/data_version"
SyncTable = Callable[..., SyncResult]
Events = Iterator[dg.MaterializeResult[object] | dg.AssetCheckResult]


class SyncRunConfig(dg.Config):
    """What one run does differently from the table's YAML."""

    full_refresh: bool = Field(
        default=False,
        description="Ignore the cursor, read the whole source and replace the table's content; "
        "with limit or where, replace it by those rows alone.",
    )
    limit: int | None = Field(
        default=None,
        description="Stop after so many rows; rows with the same cursor value stay together. "
        "Needs full_refresh too where it would replace rows by fewer.",
    )
    where: str | None = Field(
        default=None,
        description="A BigQuery condition that narrows this run, for example country = 'NZ'. "
        "Needs full_refresh too where it would replace rows by fewer.",
    )
    wait: int = Field(
        default=0,
        description="How many seconds to wait for another run of the same table.",
    )
    allow_shrink: bool = Field(
        default=False,
        description="Let more rows go than max_shrink and max_deletes allow, this once.",
    )


def build_sync_asset(
    table: TableConfig, *, sync: SyncTable = sync_table, retry_seconds: float = RETRY_SECONDS
) -> dg.AssetsDefinition:
    """The asset of one table. `sync` is the engine's flow; tests pass another."""
    spec = asset_spec(table)

    @dg.multi_asset(
        name=table.name,
        specs=[spec],
        check_specs=check_specs(spec.key, table),
        retry_policy=retry_policy(table, seconds=retry_seconds),
        pool=POOL,
    )
    def sync_asset(
        context: dg.AssetExecutionContext,
        config: SyncRunConfig,
        bigquery: BigQuery,
        gcs: Gcs,
        postgres: Postgres,
    ) -> Events:
        run = _Run(context, table=table, spec=spec, config=config)
        yield from run.events(sync, bigquery=bigquery, gcs=gcs, postgres=postgres)

    return sync_asset


def build_placeholder(problem: TableProblem, *, step: str) -> dg.AssetsDefinition:
    """An asset in place of a table whose file cannot be read; materializing it fails with why."""
    spec = dg.AssetSpec(
        dg.AssetKey([*PLACEHOLDER, problem.table]),
        description="\n\n".join(problem.lines) or str(problem.error),
        group_name="invalid",
        kinds={"yaml"},
        metadata={"file": str(problem.file)},
    )

    @dg.multi_asset(name=step, specs=[spec])
    def placeholder() -> dg.MaterializeResult[object]:
        raise failure(problem.error) from problem.error

    return placeholder


def launcher(run: dg.DagsterRun) -> str:
    """Who asked for the run: a schedule, a sensor, or else a person."""
    tags = {"dagster/schedule_name": "schedule", "dagster/sensor_name": "sensor"}
    return next((word for tag, word in tags.items() if tag in run.tags), "dagster")


class _Run:
    """One attempt to load one table, as Dagster sees it."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        *,
        table: TableConfig,
        spec: dg.AssetSpec,
        config: SyncRunConfig,
    ) -> None:
        self._context, self._table, self._spec, self._config = context, table, spec, config
        self._run = RunId(
            context.run.run_id, attempt=context.retry_number, launcher=launcher(context.run)
        )

    def events(
        self, sync: SyncTable, *, bigquery: BigQuery, gcs: Gcs, postgres: Postgres
    ) -> Events:
        """Load the table; yields the checks and the materialization, or raises the failure.

        The engine judges the checks before it publishes. When one fails, nothing was published:
        the verdicts are reported, and the failure keeps Dagster from recording a materialization.
        """
        try:
            options = self._options()
            result, project, uri = call_cancellable(
                lambda token: self._sync(
                    sync, token, options=options, bigquery=bigquery, gcs=gcs, postgres=postgres
                ),
                run_id=self._run.id,
            )
        except Bq2pgError as error:
            if isinstance(error, VerifyError):
                yield from check_results(error.checks, key=self._spec.key)
            raise failure(error, cancelled=is_cancelled(self._run.id)) from error
        sources = [dep.asset_key for dep in self._spec.deps]
        yield dg.MaterializeResult(
            asset_key=self._spec.key,
            metadata=result_metadata(
                result,
                options=options,
                source_key=sources[0] if self._table.source else None,
                project=project,
                uri=uri,
            ),
            check_results=list(check_results(checks_of(result, self._table), key=self._spec.key)),
            data_version=data_version(
                result,
                options=options,
                code_version=self._spec.code_version or "",
                run_id=self._run.id,
                previous=self._previous_version(result),
            ),
        )

    def _options(self) -> RunOptions:
        try:
            return RunOptions(
                full_refresh=self._config.full_refresh,
                limit=self._config.limit,
                where=self._config.where,
                wait=self._config.wait,
                allow_shrink=self._config.allow_shrink,
            )
        except ValueError as error:
            raise ConfigError(
                f"table {self._table.name}, run config",
                met=str(error),
                expected="options that fit together",
                way_out="Launch it again with other run config.",
            ) from error

    def _sync(
        self,
        sync: SyncTable,
        token: CancelToken,
        *,
        options: RunOptions,
        bigquery: BigQuery,
        gcs: Gcs,
        postgres: Postgres,
    ) -> tuple[SyncResult, str, str]:
        """In the thread of the step: the engine's call, with all it needs."""
        log = self._context.log
        with (
            logged_to(log),
            ProgressLog(log.info).speaking_soon() as progress,
            bigquery.source() as source,
            gcs.shards() as shards,
        ):
            result = sync(
                self._table,
                source=source,
                shards=shards,
                target=postgres.target(),
                run=self._run,
                options=options,
                cancel=token,
                report=progress,
            )
            return result, source.client.project, postgres.uri(self._table.target_name)

    def _previous_version(self, result: SyncResult) -> str | None:
        if result.outcome is not Outcome.NOTHING_NEW:
            return None  # not asked for, and the question costs a tenth of a small table's run
        event = self._context.instance.get_latest_materialization_event(self._spec.key)
        last = event.asset_materialization if event else None
        return (last.tags or {}).get(DATA_VERSION) if last else None
