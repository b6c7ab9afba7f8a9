"""What a run would do, in words and as JSON; pure.

Belongs here: rendering a SyncPlan and its Estimate. Does not: making one, printing.
"""

import textwrap
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from bq2pg_assets.cli import wording
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.model import Column, Estimate, ExportWay, Guard, Mode, SyncPlan

QUERY_WIDTH = 90
PUBLISH = {
    Mode.REPLACE: "replace: all rows anew, in one transaction",
    Mode.APPEND: "append: the new rows are added",
    Mode.MERGE: "merge: rows are inserted or updated by ({key})",
    Mode.MIRROR: "mirror: rows that differ are inserted or updated by ({key})",
    Mode.SNAPSHOT: "snapshot: all rows are added, with the time in {own.snapshot}",
    Mode.SCD2: "scd2: versions by ({key}) are closed and opened, in {own.valid_from} and "
    "{own.valid_to}",
}
WAY = {
    ExportWay.EXTRACT: "extract job",
    ExportWay.EXPORT_DATA: "EXPORT DATA statement",
    ExportWay.READ_API: "Storage Read API",
}
CURSOR_AFTER = {
    "advance": "moves on",
    "keep": "stays: --where may leave rows out",
    "clear": "is cleared: the content is not whole",
}


def plan_lines(plan: SyncPlan, estimate: Estimate, *, verbose: bool) -> list[str]:
    """The plan of one table, title first."""
    facts = [("source", _one_line(plan.source_sql, verbose=verbose)), ("window", _window(plan))]
    if plan.where:
        facts.append(("condition", plan.where))
    if plan.every_partition_of is not None and not plan.where:
        wanted = f"BigQuery wants a filter on {plan.every_partition_of}"
        facts.append(("partitions", f"every one is read: {wanted}, and the window gives none"))
    if plan.limit is not None:
        facts.append(("limit", f"{wording.count(plan.limit)} rows"))
    if plan.nothing_new:
        facts.append(("outcome", "nothing new: a sync would start no export"))
    else:
        facts += [
            ("publish", _publish(plan) + _creation(plan)),
            ("way out", f"{WAY[plan.way]} ({plan.reason})"),
            ("expects", _expects(plan)),
            ("price", _price(plan, estimate)),
        ]
        if plan.guard is not None:
            facts.append(("guard", _guard(plan.guard)))
    if plan.null_cursors:
        facts.append(("no cursor", _without_cursor(plan)))
    if plan.cursor is not None and not plan.nothing_new:
        facts.append(("cursor", f"{plan.cursor.column} {CURSOR_AFTER[plan.cursor_after]}"))
    if plan.max_bad_rows is not None and not plan.nothing_new:
        most = wording.plural(plan.max_bad_rows, "row")
        facts.append(("bad rows", f"quarantined, {most} at most"))
    later = ", with the next rows" if plan.nothing_new else ""
    facts += [("schema", f"{change}{later}") for change in plan.changes]
    facts.append(("columns", f"{len(plan.columns)}" + ("" if verbose else " (see --verbose)")))
    lines = [f"{plan.table} → {plan.target}", *(f"  {name:<10} {says}" for name, says in facts)]
    return lines + (column_lines(plan.columns) if verbose else [])


def column_lines(columns: tuple[Column, ...]) -> list[str]:
    """One line per column: what it is there and here, and the expression where it is not plain."""
    names = [c.source if c.source == c.name else f"{c.source} → {c.name}" for c in columns]
    width = max(map(len, names), default=0)
    types = [f"{c.source_type} → {c.pg_type}{' NOT NULL' if c.not_null else ''}" for c in columns]
    wide = max(map(len, types), default=0)
    selects = ["" if c.plain else _one_line(c.select, verbose=True) for c in columns]
    return [
        f"    {name:<{width}}  {kind:<{wide}}  {select}".rstrip()
        for name, kind, select in zip(names, types, selects, strict=True)
    ]


def plan_json(plan: SyncPlan, estimate: Estimate) -> dict[str, Any]:
    """The plan as JSON can hold it; `estimate` has `bytes` and `cost` in US dollars."""
    return {**_plain(asdict(plan)), "target": str(plan.target), "estimate": asdict(estimate)}


def error_json(table: str, error: Bq2pgError) -> dict[str, Any]:
    """A table that cannot be planned."""
    return {
        "table": table,
        "error": {
            "kind": type(error).__name__,
            "where": error.where,
            "met": error.met,
            "expected": error.expected,
            "way_out": error.way_out,
        },
    }


def _one_line(sql: str, *, verbose: bool) -> str:
    """A query as a line; not shortened when everything is asked for."""
    line = " ".join(sql.split())
    return line if verbose else textwrap.shorten(line, QUERY_WIDTH, placeholder=" …")


def _window(plan: SyncPlan) -> str:
    if plan.window is None or plan.cursor is None:
        return "all rows"
    column, low, high = plan.cursor.column, plan.window.low, plan.window.high
    lower = f" above {wording.moment(low)}" if low is not None else ""
    upper = f" up to {wording.moment(high)}" if high is not None else ""
    nulls = " or NULL" if plan.window.nulls else ""
    return f"{column}{lower}{upper}{nulls}" if lower or upper else f"{column} not NULL"


def _publish(plan: SyncPlan) -> str:
    says = PUBLISH[plan.publish].format(key=", ".join(plan.key), own=plan.own)
    if not plan.publish.by_key or plan.publish is Mode.MERGE or plan.creates_target:
        return says
    if not plan.whole and not plan.full_refresh:
        return f"{says}; rows that are gone stay, for not all are read"
    if plan.publish is Mode.SCD2:
        return f"{says}; those that are gone are closed"
    soft = plan.deletes == "soft" and not plan.full_refresh
    marked = f"get the time in {plan.own.deleted}" if soft else "are deleted"
    return f"{says}, those that are gone {marked}; every run reads all rows"


def _guard(guard: Guard) -> str:
    if guard.allowed:
        return f"none: allow_shrink overrides {guard.rule}"
    return f"refused when more than {guard.limit:.4g} of the rows would go ({guard.rule})"


def _without_cursor(plan: SyncPlan) -> str:
    count = wording.plural(plan.null_cursors or 0, "row")
    read = plan.window is None or plan.window.nulls
    return f"{count} with NULL in it {'are read' if read else 'are left out'}"


def _creation(plan: SyncPlan) -> str:
    return "; creates the table" if plan.creates_target else ""


def _expects(plan: SyncPlan) -> str:
    if plan.expected_rows is None:
        return "a number of rows BigQuery does not tell beforehand"
    return wording.plural(plan.expected_rows, "row")


def _price(plan: SyncPlan, estimate: Estimate) -> str:
    cost = wording.price(estimate.cost)
    if plan.way is ExportWay.EXTRACT:
        return f"{cost} for {wording.size(estimate.bytes)}" if estimate.bytes else cost
    if plan.direct:
        size = wording.size(estimate.bytes)
        return f"{cost} for at most {size}, up to 300 TiB a month; then $1.10 per TiB"
    cap = plan.max_bytes_billed
    capped = f"; never more than {wording.size(cap)}" if cap is not None else ""
    return f"{cost} on demand for {wording.size(estimate.bytes)}{capped}"


def _plain(value: Any) -> Any:
    """Dates as text, tuples as lists; the rest is JSON already."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date | datetime) else value
