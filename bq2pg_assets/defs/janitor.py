"""The nightly cleaning: a job and its schedule.

Belongs here: when what dead runs left is removed. Does not: what is (engine/janitor.py).
"""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from bq2pg_assets.config.duration import seconds
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.failures import failure
from bq2pg_assets.defs.resources import BigQuery, Gcs, Postgres
from bq2pg_assets.engine import janitor
from bq2pg_assets.engine.janitor import Leftover

JOB = "bq2pg_clean"
NIGHTLY = "30 3 * * *"


class CleanConfig(dg.Config):
    """The run config of the cleaning."""

    dry_run: bool = Field(default=False, description="Only list what would be removed.")
    older_than: str | None = Field(
        default=None,
        description="Also delete exported files of runs that this database does not know, when "
        "they are older than this: 7d.",
    )


def build_janitor(tables: Sequence[TableConfig], *, running: bool) -> dg.ScheduleDefinition | None:
    """The nightly schedule with its job; None where no table could leave anything.

    `running` is whether it ticks without being switched on in the UI.
    """
    if not tables:
        return None
    resume = {str(table.target_name): table.resume for table in tables}

    # Names that no table has: an asset's step is named as its table.
    @dg.op(
        name="bq2pg_remove_leftovers",
        description="Remove prefixes, staging tables and jobs of dead runs.",
    )
    def remove_leftovers(
        context: dg.OpExecutionContext,
        config: CleanConfig,
        bigquery: BigQuery,
        gcs: Gcs,
        postgres: Postgres,
    ) -> None:
        age = None if config.older_than is None else seconds(config.older_than)
        with bigquery.source() as source, gcs.shards() as shards:
            done = janitor.clean(
                postgres.target(),
                source,
                shards,
                resume=resume,
                older_than=age,
                dry_run=config.dry_run,
            )
        context.add_output_metadata(
            {
                "removed": _listed(done.removed),
                "resumable": _listed(done.resumable),
                "unknown": _listed(done.unknown),
                "live": dg.MetadataValue.md("\n".join(f"- {target}" for target in done.live)),
                "bytes": dg.MetadataValue.int(sum(one.bytes for one in done.removed)),
            }
        )
        if done.errors:
            raise failure(done.errors[0]) from done.errors[0]

    @dg.job(
        name=JOB,
        executor_def=dg.in_process_executor,
        description="Remove what dead runs left: files, staging tables, jobs.",
    )
    def clean() -> None:
        remove_leftovers()

    status = dg.DefaultScheduleStatus
    return dg.ScheduleDefinition(
        name=f"{JOB}_nightly",
        job=clean,
        cron_schedule=NIGHTLY,
        default_status=status.RUNNING if running else status.STOPPED,
        description="Removes what dead runs left, every night.",
    )


def _listed(found: Sequence[Leftover]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {one.kind} {one.name}" for one in found))
