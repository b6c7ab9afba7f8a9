"""The schedules, one per table that has a cron expression, and the job they share.

Belongs here: when tables are loaded by the clock. Does not: loading on change (sensors.py).
"""

import dagster as dg

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.spec import asset_key

# Placeholders are among the assets: a nightly run of all fails visibly while a file is broken.
SYNC_ALL = dg.define_asset_job(
    "sync_all", selection=dg.AssetSelection.all(), description="Load every table."
)


def build_schedule(table: TableConfig, *, running: bool) -> dg.ScheduleDefinition | None:
    """The schedule of one table, or None without a cron expression.

    `running` is whether it ticks without being switched on in the UI.
    """
    if table.schedule is None:
        return None
    key, status = asset_key(table), dg.DefaultScheduleStatus

    # All schedules select their table from one job: a job of its own for each of 1,000 schedules
    # takes Dagster 55 s and 920 MB to load instead of 4 s and 90 MB.
    @dg.schedule(
        name=f"{table.name}_schedule",
        job=SYNC_ALL,
        cron_schedule=table.schedule,
        execution_timezone=table.timezone,
        default_status=status.RUNNING if running else status.STOPPED,
        description=f"Loads {table.target_name} at {table.schedule} ({table.timezone}).",
    )
    def schedule() -> dg.RunRequest:
        return dg.RunRequest(asset_selection=[key])

    return schedule
