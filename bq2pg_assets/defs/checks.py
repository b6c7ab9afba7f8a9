"""The asset checks of a table: what the engine judged before it committed.

Belongs here: their specifications, and the engine's verdicts as Dagster's results. Does not: the
judging itself (the engine does it, where the rows still are in staging).

The checks live in the asset's own step. Dagster records a materialization even when a blocking
check of the same step failed, so a failed one is reported and then the step fails: nothing was
published, nothing is recorded as materialized (see assets.py).
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.checks import NULLS, ROW_COUNT
from bq2pg_assets.engine.guards import SHRINK
from bq2pg_assets.engine.model import Outcome
from bq2pg_assets.engine.results import CATALOG, Check, SyncResult

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
QUARANTINE = "quarantine"
NONE_BAD = "PostgreSQL refused no row of the last load; those it refuses are in sync_quarantine."
DESCRIPTIONS = {
    ROW_COUNT: "As many rows arrived in PostgreSQL as BigQuery exported.",
    NULLS: "No NULL in the key, in REQUIRED columns and in those that not_null names.",
    SHRINK: "No more rows go than max_shrink and max_deletes allow.",
    CATALOG: "A replaced table has all it had: indexes, keys, grants, policies, triggers, views, …",
}


def check_specs(key: dg.AssetKey, table: TableConfig) -> list[dg.AssetCheckSpec]:
    """The checks of one table's asset."""
    specs = [
        dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)
        for name, description in DESCRIPTIONS.items()
    ]
    if table.bad_rows == "quarantine":
        specs.append(dg.AssetCheckSpec(QUARANTINE, asset=key, description=NONE_BAD))
    return specs


def check_results(checks: Iterable[Check], *, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The engine's verdicts. One that the asset does not declare is Dagster's error to refuse."""
    for check in checks:
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=check.name,
            passed=check.passed,
            # Its rows are published, all but the bad ones: worth a look, no failure.
            severity=WARN if check.name == QUARANTINE else ERROR,
            description=check.says,
            metadata=dict(check.numbers),
        )


def checks_of(result: SyncResult, table: TableConfig) -> tuple[Check, ...]:
    """A verdict for every declared check, as Dagster wants from a step that succeeds.

    A check without a verdict had no row to judge: the table is as the last run left it, and that
    one had passed or published nothing.
    """
    judged = {check.name: check for check in result.checks}
    reason = "nothing new" if result.outcome is Outcome.NOTHING_NEW else "nothing to check"
    verdicts = tuple(
        judged.get(name, Check(name, passed=True, says=f"{reason}: no row was judged"))
        for name in DESCRIPTIONS
    )
    return (*verdicts, _none_bad(result)) if table.bad_rows == "quarantine" else verdicts


def _none_bad(result: SyncResult) -> Check:
    count = result.quarantined
    return Check(
        QUARANTINE,
        passed=not count,
        says=f"{count} rows quarantined: bq2pg quarantine list {result.table}"
        if count
        else "no row was refused",
        numbers={"quarantined": count},
    )
