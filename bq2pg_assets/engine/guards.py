"""Guards: how much of a target one run may take away. Pure.

Belongs here: which guard a run has, and its verdict. Does not: counting rows (publish.py),
verdicts on the staged rows themselves (checks.py).
"""

from fractions import Fraction

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import Guard, Mode, RunOptions, SyncPlan, TargetFacts
from bq2pg_assets.engine.results import Check

SHRINK = "shrink"


def guard_of(
    table: TableConfig, target: TargetFacts, *, publish: Mode, options: RunOptions
) -> Guard | None:
    """The guard of a run, or None where nothing goes.

    Whoever replaces the content by some rows, or takes over rows that bq2pg never loaded, has
    already said so: full_refresh is needed for both.
    """
    if not target.has_rows or not target.owned or options.partial:
        return None
    if publish is Mode.REPLACE:
        return Guard("max_shrink", table.max_shrink, options.allow_shrink)
    if publish in (Mode.MIRROR, Mode.SCD2):
        return Guard("max_deletes", table.max_deletes, options.allow_shrink)
    return None


def refuse_empty(table: TableConfig, plan: SyncPlan, *, rows: int | None) -> None:
    """Raise VerifyError when a source read as a whole has no row. `rows` None means not known."""
    of_all = plan.publish is Mode.REPLACE or (plan.publish.by_steps and plan.whole)
    if rows == 0 and of_all and table.empty_source == "fail":
        raise VerifyError(
            f"table {table.name}, source {table.source or 'query'}",
            met="no rows",
            expected="some: the target's content would be replaced by nothing",
            way_out="If empty is right, say empty_source: allow in the table's YAML.",
        )


def refuse_null_cursor(table: TableConfig, *, count: int) -> None:
    """Raise VerifyError when the table wants no NULL cursor and there are some."""
    if count and table.null_cursor == "fail":
        raise VerifyError(
            f"table {table.name}",
            met=f"{count} rows with NULL in the cursor column {table.cursor_column}",
            expected="none: null_cursor is fail",
            way_out="Correct the source, or say null_cursor: include or skip in the table's YAML.",
        )


def judge_shrink(plan: SyncPlan, *, before: int, gone: int, staged: int) -> Check:
    """The verdict: `gone` of the target's `before` rows would go. At the limit they may.

    Nothing staged is not judged here: who says `empty_source: allow` means all rows.
    """
    assert plan.guard is not None
    limit = Fraction(repr(plan.guard.limit))  # as it is written: 0.57 of 100 rows is 57
    within = gone <= limit * before or staged == 0
    says = f"{gone} of {before} rows go; {plan.guard.rule} is {plan.guard.limit:g}"
    if not within and plan.guard.allowed:
        says += ", and allow_shrink lets them go"
    return Check(
        SHRINK,
        passed=within or plan.guard.allowed,
        says=says,
        numbers={"before": before, "gone": gone},
    )


def way_out(plan: SyncPlan) -> str:
    """What to do when the verdict is no."""
    assert plan.guard is not None
    return (
        "If that many should go, run once with --allow-shrink (allow_shrink: true in Dagster), or "
        f"raise {plan.guard.rule} in the table's YAML; for bq-to-postgres, which has neither, "
        f"empty {plan.target} first. Nothing was published."
    )
