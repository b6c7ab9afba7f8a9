"""The schedules, one per table that has a cron expression, and the job they share.

Belongs here: when tables are loaded by the clock. Does not: loading on change (sensors.py).
"""

import dagster as dg

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.resources import Postgres
from bq2pg_assets.defs.spec import asset_key
from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.redact import redact

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
    def schedule(
        context: dg.ScheduleEvaluationContext, postgres: Postgres
    ) -> dg.RunRequest | dg.SkipReason:
        reason = None if table.circuit_breaker is None else _left_out(context, table, postgres)
        return dg.RunRequest(asset_selection=[key]) if reason is None else dg.SkipReason(reason)

    return schedule


def _left_out(
    context: dg.ScheduleEvaluationContext, table: TableConfig, postgres: Postgres
) -> str | None:
    """Why the table is not loaded at this tick, or None."""
    try:
        circuit = postgres.target().circuits([table])[table.name]
    except Bq2pgError as error:
        # The run meets the same error, tries again, and fails where people look.
        context.log.warning(f"{table.name}: loaded whatever its circuit: {redact(str(error))}")
        return None
    if circuit.state is not CircuitState.OPEN:
        return None
    return left_out(table, circuit)


def left_out(table: TableConfig, circuit: Circuit) -> str:
    """What is said of a table whose circuit is open."""
    last = redact(circuit.error or "no reason is recorded")
    way_out = f"Materialize it, or `bq2pg resume {table.name}`, to go on at once."
    return f"{table.name}: {circuit.sentence}. Last error: {last} {way_out}"
