"""From loaded configuration to Dagster's Definitions.

Belongs here: putting the parts together, and keeping one bad table from taking the others away.
Does not: the parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from bq2pg_assets.config.load import LoadedTables, TableProblem
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.assets import SyncTable, build_placeholder, build_sync_asset
from bq2pg_assets.defs.failures import RETRY_SECONDS
from bq2pg_assets.defs.janitor import build_janitor
from bq2pg_assets.defs.resources import BigQuery, Gcs, Postgres
from bq2pg_assets.defs.schedules import SYNC_ALL, build_schedule
from bq2pg_assets.defs.sensors import build_source_sensor
from bq2pg_assets.defs.spec import source_specs
from bq2pg_assets.defs.threads import threads_executor
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.sync import sync_table


def build_definitions(
    loaded: LoadedTables,
    *,
    resources: Mapping[str, object] | None = None,
    sync: SyncTable = sync_table,
    retry_seconds: float = RETRY_SECONDS,
    running: bool = False,
) -> dg.Definitions:
    """An asset per table, a placeholder per problem, and what starts them.

    `running` is whether schedules and the sensor tick without being switched on. `resources`,
    `sync` and `retry_seconds` replace the real ones, for tests.
    """
    built: dict[dg.AssetKey, _Built] = {}
    problems = list(loaded.problems)
    for table in loaded.tables:
        try:
            asset = build_sync_asset(table, sync=sync, retry_seconds=retry_seconds)
            one = _Built.of(table, asset, running=running)
            if one.asset.key in built:
                raise ValueError(f"asset {one.asset.key.to_user_string()} exists already")
            built[one.asset.key] = one
        except Exception as error:
            # Whatever Dagster refuses in one table, such as an owner that is no e-mail address:
            # raised from here it would take every table's asset away.
            problems.append(_problem(table, error))
    return _definitions(
        list(built.values()),
        placeholders=_placeholders(problems, tables=loaded.tables),
        resources={
            "bigquery": BigQuery(),
            "gcs": Gcs(),
            "postgres": Postgres(),
            **(resources or {}),
        },
        running=running,
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """What one table brings with it."""

    table: TableConfig
    asset: dg.AssetsDefinition
    sources: Sequence[dg.AssetSpec]
    schedule: dg.ScheduleDefinition | None

    @classmethod
    def of(cls, table: TableConfig, asset: dg.AssetsDefinition, *, running: bool) -> "_Built":
        return cls(
            table=table,
            asset=asset,
            sources=source_specs(table),
            schedule=build_schedule(table, running=running),
        )


def _definitions(
    built: Sequence[_Built],
    *,
    placeholders: Sequence[dg.AssetsDefinition],
    resources: Mapping[str, object],
    running: bool,
) -> dg.Definitions:
    assets = [one.asset for one in built] + list(placeholders)
    # Two tables may read one source: it takes the group of the first.
    sources = {spec.key: spec for one in reversed(built) for spec in one.sources}
    sensor = build_source_sensor([one.table for one in built], running=running)
    schedules = [one.schedule for one in built if one.schedule is not None]
    janitor = build_janitor([one.table for one in built], running=running)
    return dg.Definitions(
        assets=[*assets, *sources.values()],
        jobs=[SYNC_ALL] if assets else [],
        schedules=schedules if janitor is None else [*schedules, janitor],
        sensors=[] if sensor is None else [sensor],
        resources=resources,
        executor=threads_executor,
    )


def _placeholders(
    problems: Sequence[TableProblem], *, tables: Sequence[TableConfig]
) -> list[dg.AssetsDefinition]:
    taken, built = {table.name for table in tables}, []
    for problem in problems:
        step = f"invalid__{problem.table}"
        while step in taken:
            step += "_"
        built.append(build_placeholder(problem, step=step))
    return built


def _problem(table: TableConfig, error: Exception) -> TableProblem:
    wrong = ConfigError(
        f"table {table.name}",
        met=f"Dagster refuses it: {error}",
        expected="names, owners, tags and times that Dagster knows",
        way_out=f"Correct {table.name}'s YAML, then reload the code location.",
    )
    return TableProblem(table.name, Path(f"{table.name}.yaml"), wrong, (str(wrong),))
