"""The asset checks of a table: what the engine judged before it committed.

Belongs here: their specifications, and the engine's verdicts as Dagster's results. Does not: the
judging itself (the engine does it, where the rows still are in staging).

The checks live in the asset's own step. Dagster records a materialization even when a blocking
check of the same step failed, so a failed one is reported and then the step fails: nothing was
published, nothing is recorded as materialized (see assets.py).
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from bq2pg_assets.engine.checks import NULLS, ROW_COUNT
from bq2pg_assets.engine.guards import SHRINK
from bq2pg_assets.engine.model import Outcome
from bq2pg_assets.engine.results import CATALOG, Check, SyncResult

DESCRIPTIONS = {
    ROW_COUNT: "As many rows arrived in PostgreSQL as BigQuery exported.",
    NULLS: "No NULL in the key, in REQUIRED columns and in those that not_null names.",
    SHRINK: "No more rows go than max_shrink and max_deletes allow.",
    CATALOG: "A replaced table has all it had: indexes, keys, grants, policies, triggers, views, …",
}


def check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of one table's asset."""
    return [
        dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)
        for name, description in DESCRIPTIONS.items()
    ]


def check_results(checks: Iterable[Check], *, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The engine's verdicts. One that the asset does not declare is Dagster's error to refuse."""
    for check in checks:
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=check.name,
            passed=check.passed,
            description=check.says,
            metadata=dict(check.numbers),
        )


def checks_of(result: SyncResult) -> tuple[Check, ...]:
    """A verdict for every declared check, as Dagster wants from a step that succeeds.

    A check without a verdict had no row to judge: the table is as the last run left it, and that
    one had passed or published nothing.
    """
    judged = {check.name: check for check in result.checks}
    reason = "nothing new" if result.outcome is Outcome.NOTHING_NEW else "nothing to check"
    return tuple(
        judged.get(name, Check(name, passed=True, says=f"{reason}: no row was judged"))
        for name in DESCRIPTIONS
    )
