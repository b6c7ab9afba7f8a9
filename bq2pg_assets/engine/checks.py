"""Step 7: is what was copied what was exported, and may it be published?

Belongs here: verdicts on the staged rows. Does not: loading, publishing, Dagster's checks, which
show these verdicts.
"""

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import guards
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.meter import Copied
from bq2pg_assets.engine.model import Export, SyncPlan
from bq2pg_assets.engine.results import Check
from bq2pg_assets.engine.session import TargetSession

ROW_COUNT = "row_count"
NULLS = "nulls"


def verify_counts(
    plan: SyncPlan, *, export: Export, copied: Copied, unchanged_rows: int | None
) -> None:
    """Raise VerifyError unless every exported object was read and every exported row copied.

    EXPORT DATA counts its rows. An extract job does not: then the table's own count stands in,
    when the table did not change meanwhile (`unchanged_rows`) and all of it was asked for.
    """
    if export.files is not None and copied.shards < export.files:
        raise VerifyError(
            f"table {plan.table}",
            met=f"{copied.shards} objects found",
            expected=f"{export.files}, as BigQuery exported",
            way_out="Run again; nothing was published.",
            retryable=True,
        )
    expected = export.rows
    if expected is None and plan.window is None and plan.where is None and plan.limit is None:
        expected = unchanged_rows
    if expected is not None and copied.rows + len(copied.bad) != expected:
        raise VerifyError(
            f"table {plan.table}",
            met=f"{copied.rows} rows copied",
            expected=f"{expected}, as BigQuery exported",
            way_out="Run again; nothing was published.",
            retryable=True,
            checks=(
                Check(
                    ROW_COUNT,
                    passed=False,
                    says=f"{copied.rows} rows copied, {_bad(copied)}{expected} exported",
                    numbers={"copied": copied.rows, "exported": expected, **_bad_number(copied)},
                ),
            ),
        )


def judge(
    table: TableConfig,
    plan: SyncPlan,
    *,
    session: TargetSession,
    export: Export,
    copied: Copied,
    cancel: CancelToken,
) -> tuple[Check, ...]:
    """The verdicts on the staged rows. Raises VerifyError, holding them, when one failed.

    The rows are those that PostgreSQL said each COPY took, the NULLs those that were sent: the
    staging table is not read again for what is known.
    """
    columns = _never_null(table, plan)
    staged, nulls = copied.rows, [copied.nulls.get(name, 0) for name, _ in columns]
    # An extract job does not count its rows; the footers of what it wrote do.
    exported = copied.in_shards if export.rows is None else export.rows
    checks: tuple[Check, ...] = (
        Check(
            ROW_COUNT,
            passed=staged + len(copied.bad) == exported,
            says=f"{staged} rows staged, {_bad(copied)}{exported} exported",
            numbers={"staged": staged, "exported": exported, **_bad_number(copied)},
        ),
        _judge_nulls([source for _, source in columns], nulls),
    )
    out = (
        "Correct the source, or change not_null, key, null_keys or null_cursor in the table's "
        "YAML; nothing was published."
    )
    if plan.guard is not None and all(c.passed for c in checks):
        before, gone = session.count_shrink(plan, staged=staged, bad=copied.bad, cancel=cancel)
        read = staged + len(copied.bad)
        checks += (guards.judge_shrink(plan, before=before, gone=gone, staged=read),)
        out = guards.way_out(plan)
    failed = [c for c in checks if not c.passed]
    if failed:
        raise VerifyError(
            f"table {table.name}",
            met="; ".join(c.says for c in failed),
            expected="every check to pass",
            way_out=out,
            checks=checks,
        )
    return checks


def _bad(copied: Copied) -> str:
    return f"{len(copied.bad)} refused, " if copied.bad else ""


def _bad_number(copied: Copied) -> dict[str, int]:
    return {"refused": len(copied.bad)} if copied.bad else {}


def _never_null(table: TableConfig, plan: SyncPlan) -> list[tuple[str, str]]:
    """The columns in which no NULL may be: asked for, REQUIRED, part of the key, or the cursor."""
    asked = set(table.not_null)
    if plan.cursor is not None and table.null_cursor == "fail":
        asked.add(plan.cursor.column)
    key = plan.key if plan.null_keys == "refuse" else ()
    return [
        (c.name, c.source) for c in plan.columns if c.not_null or c.source in asked or c.name in key
    ]


def _judge_nulls(columns: list[str], nulls: list[int]) -> Check:
    found = {name: count for name, count in zip(columns, nulls, strict=True) if count}
    says = ", ".join(f"{count} NULL in {name}" for name, count in found.items())
    return Check(
        NULLS,
        passed=not found,
        says=says or (f"no NULL in {', '.join(columns)}" if columns else "no column to check"),
        numbers=dict(zip(columns, nulls, strict=True)),
    )
