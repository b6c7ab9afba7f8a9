"""Decides everything about a run before a byte moves. Pure.

Belongs here: full or incremental, the window, the way out of BigQuery, how rows are published,
and every reason to refuse. Does not: asking BigQuery or PostgreSQL (the facts come in), SQL.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import export_sql
from bq2pg_assets.engine.errors import ConfigError, MappingError, TargetError, VerifyError
from bq2pg_assets.engine.model import (
    CURSOR_TYPES,
    Column,
    Cursor,
    CursorValue,
    ExportWay,
    Mode,
    Origin,
    Probe,
    RunOptions,
    SourceFacts,
    SyncPlan,
    TargetFacts,
    Window,
    origin_of,
)
from bq2pg_assets.engine.postgres_sql import HISTORY, STATE

KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "c": "a composite type",
}


@dataclass(frozen=True, slots=True)
class Intent:
    """What the run wants, before the source is probed: `probes` when a window must be found."""

    publish: Mode
    cursor: Cursor | None
    key: tuple[str, ...]
    probes: bool
    after: Literal["advance", "keep", "clear"]


def decide(
    table: TableConfig,
    *,
    facts: SourceFacts,
    columns: tuple[Column, ...],
    target: TargetFacts,
    cursor_value: CursorValue | None,
    options: RunOptions,
) -> Intent:
    """Full or incremental, and by which key. Raises ConfigError, MappingError or TargetError."""
    if options.where:
        export_sql.checked_condition(options.where)
    cursor = _cursor(table, facts, value=None if options.full_refresh else cursor_value)
    _refuse_foreign_target(table, target, full_refresh=options.full_refresh)
    key = _key(table, facts, columns)
    publish = _publish(table, target, cursor=cursor, options=options)
    _refuse_mismatch(table, columns, target)
    if publish is Mode.MERGE:
        _refuse_without_unique_key(table, columns, target, key=key)
    probes = publish is not Mode.REPLACE and cursor is not None and cursor.value is not None
    if probes:
        _refuse_other_origin(table, target, now=origin_of(facts.sql, cursor))
    if probes and options.where and publish is Mode.APPEND:
        raise ConfigError(
            f"table {table.name}",
            met="where on an incremental append",
            expected="every row above the cursor",
            way_out="A row left out now would be left out for ever. Add full_refresh to load "
            "only these rows, or use mode: merge.",
        )
    return Intent(publish, cursor, key, probes, _after(cursor, probes=probes, options=options))


def make_plan(
    table: TableConfig,
    *,
    facts: SourceFacts,
    columns: tuple[Column, ...],
    target: TargetFacts,
    intent: Intent,
    options: RunOptions,
    probe: Probe | None,
) -> SyncPlan:
    """The whole plan. `probe` is what was found above the cursor, None for a full load."""
    window = None
    if intent.probes and intent.cursor is not None:
        assert probe is not None
        window = Window(intent.cursor.value, probe.high)
    where = options.where
    way, reason = choose_way(
        table, facts=facts, columns=columns, window=window, where=where, limit=options.limit
    )
    expected = probe.rows if probe is not None else None if options.partial else facts.num_rows
    return SyncPlan(
        table=table.name,
        target=table.target_name,
        publish=intent.publish,
        creates_target=target.kind is None,
        way=way,
        reason=reason,
        source_sql=facts.sql,
        location=facts.location,
        columns=columns,
        cursor=intent.cursor,
        window=window,
        where=where,
        limit=options.limit,
        cursor_after=intent.after,
        key=intent.key,
        snapshot_at=probe.at if probe is not None and facts.kind == "TABLE" else None,
        expected_rows=expected,
        nothing_new=probe is not None and probe.high is None,
        source_bytes=facts.num_bytes,
        bytes_probed=probe.bytes_billed if probe is not None else 0,
        max_bytes_billed=table.max_bytes_billed,
        parallelism=table.parallelism,
    )


def refuse_empty(table: TableConfig, publish: Mode, *, rows: int | None) -> None:
    """Raise VerifyError when a replace would leave nothing. `rows` None means not known."""
    if rows == 0 and publish is Mode.REPLACE and table.empty_source == "fail":
        raise VerifyError(
            f"table {table.name}, source {table.source or 'query'}",
            met="no rows",
            expected="some: the target's content would be replaced by nothing",
            way_out="If empty is right, say empty_source: allow in the table's YAML.",
        )


def choose_way(
    table: TableConfig,
    *,
    facts: SourceFacts,
    columns: tuple[Column, ...],
    window: Window | None,
    where: str | None,
    limit: int | None,
) -> tuple[ExportWay, str]:
    """The cheapest way out that is right, and why. Raises ConfigError for an impossible one.

    An extract job is free but reads one whole plain table, writes what Parquet carries, and
    misses rows of the streaming buffer (bigquery-facts: 1.1, 5.3).
    """
    needs = []
    if facts.kind != "TABLE":
        needs.append(f"the source is a {facts.kind.replace('_', ' ').lower()}")
    if window is not None:
        needs.append("only rows above the cursor are read")
    if where:
        needs.append("a condition is given")
    if limit is not None:
        needs.append("a limit is given")
    if facts.streaming:
        needs.append("rows wait in the streaming buffer")
    shaped = [c.source for c in columns if not c.plain]
    if shaped:
        needs.append(f"Parquet cannot carry {', '.join(shaped)} as they are")
    excluded = [f.name for f in facts.fields if f.name not in {c.source for c in columns}]
    if excluded:
        needs.append(f"{', '.join(excluded)} must stay in BigQuery")
    if table.export == "extract" and needs:
        raise ConfigError(
            f"table {table.name}",
            met=f"export: extract, but {'; '.join(needs)}",
            expected="a whole plain table",
            way_out="Use export: auto; EXPORT DATA bills the bytes it reads, up to "
            "max_bytes_billed.",
        )
    if needs or table.export == "export_data":
        return ExportWay.EXPORT_DATA, "; ".join(needs) or "asked for"
    return ExportWay.EXTRACT, "a whole plain table: free"


def _cursor(table: TableConfig, facts: SourceFacts, *, value: CursorValue | None) -> Cursor | None:
    name = table.cursor_column
    if name is None:
        return None
    field = next((f for f in facts.fields if f.name == name), None)
    if field is None or field.mode == "REPEATED" or field.type not in CURSOR_TYPES:
        usable = [f.name for f in facts.fields if f.type in CURSOR_TYPES and f.mode != "REPEATED"]
        met = f"no column {name}" if field is None else f"column {name} is {field.type}"
        best = get_close_matches(name, usable, n=1) or usable[:1]
        offer = f"Set cursor: {best[0]}, or" if best else "It has no such column:"
        raise ConfigError(
            f"table {table.name}, source {table.source or 'query'}",
            met=met,
            expected="a TIMESTAMP, DATETIME or DATE column that grows with every change",
            way_out=f"{offer} use mode: replace, which needs none.",
        )
    if table.columns.get(name) is not None and table.columns[name].exclude:
        raise ConfigError(
            f"table {table.name}",
            met=f"the cursor column {name} is excluded",
            expected="it among the columns, to know how far the table is loaded",
            way_out="Remove exclude from it.",
        )
    return Cursor(name, field.type, None if value is None else _typed(value, field.type))


def _typed(value: CursorValue, kind: str) -> CursorValue:
    """A stored cursor, which has no zone, as a value of its BigQuery type."""
    if kind == "DATE":
        return value.date() if isinstance(value, datetime) else value
    if kind == "TIMESTAMP" and isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _refuse_foreign_target(table: TableConfig, target: TargetFacts, *, full_refresh: bool) -> None:
    """A target that is no table, is bq2pg's own, or holds rows that bq2pg never loaded."""
    name = str(table.target_name)
    if table.target_name.table in (STATE, HISTORY):
        raise ConfigError(
            f"table {table.name}",
            met=f"target {name}, where bq2pg keeps its own books",
            expected="a table of another name",
            way_out="Choose another target.",
        )
    if target.kind in KINDS:
        raise TargetError(
            f"target {name}",
            met=f"{KINDS[target.kind]} of that name",
            expected="a table, or nothing yet",
            way_out="Choose another target.",
        )
    if target.has_rows and not target.owned and not full_refresh:
        raise TargetError(
            f"target {name}",
            met="a table with rows that bq2pg did not load",
            expected="an empty table, or none",
            way_out="Choose another target, empty the table, or replace its content once: with "
            "--full-refresh (full_refresh: true in Dagster), or by giving it a row in sync_state "
            "with NULL as last_synced_at.",
        )


def _refuse_other_origin(table: TableConfig, target: TargetFacts, *, now: Origin) -> None:
    """A cursor that was read elsewhere: rows below it here would never be loaded."""
    if target.origin is not None and target.origin != now:
        before = target.origin
        raise ConfigError(
            f"table {table.name}",
            met=f"cursor {now.cursor_column} of {now.source}, but the stored one was read from "
            f"{before.cursor_column} of {before.source}",
            expected="one source and one cursor column as long as rows are only added",
            way_out="Load everything once with --full-refresh (full_refresh: true in Dagster), "
            "or choose another target.",
        )


def _key(table: TableConfig, facts: SourceFacts, columns: tuple[Column, ...]) -> tuple[str, ...]:
    if table.mode != "merge":
        return ()
    key = table.key or facts.primary_key
    names = {c.source: c.name for c in columns}
    if not key or any(k not in names for k in key):
        raise ConfigError(
            f"table {table.name}",
            met=f"key {', '.join(key)} is not among the columns" if key else "merge without a key",
            expected="the columns that identify a row",
            way_out="Name them with key: [column, …].",
        )
    return tuple(names[k] for k in key)


def _publish(
    table: TableConfig, target: TargetFacts, *, cursor: Cursor | None, options: RunOptions
) -> Mode:
    """A full load replaces; so a run after a kill never adds rows twice."""
    if table.mode == "replace" or options.full_refresh or target.kind is None:
        return Mode.REPLACE
    if cursor is not None and cursor.value is None:
        return Mode.REPLACE
    return Mode(table.mode)


def _after(
    cursor: Cursor | None, *, probes: bool, options: RunOptions
) -> Literal["advance", "keep", "clear"]:
    """What becomes of the stored cursor: a partial full load must not claim to be whole."""
    if cursor is None:
        return "clear"
    if probes:
        return "keep" if options.where else "advance"
    return "clear" if options.partial else "advance"


def _refuse_mismatch(table: TableConfig, columns: tuple[Column, ...], target: TargetFacts) -> None:
    if target.kind is None:
        return
    have = {c.name: c for c in target.columns}
    problems = [
        f"column {c.name} ({c.pg_type}) is missing in the target"
        if c.name not in have
        else f"column {c.name} is {have[c.name].type} in the target, {c.pg_type} from the source"
        for c in columns
        if c.name not in have or have[c.name].type != c.pg_type
    ]
    ours = {c.name for c in columns}
    problems += [
        f"column {c.name} of the target is NOT NULL without a default, and the source lacks it"
        for c in target.columns
        if c.name not in ours and c.not_null and not c.has_default
    ]
    if problems:
        raise MappingError(
            f"table {table.name}, target {table.target_name}",
            problems,
            way_out="Alter the target to fit, or drop it and run again to have it made anew.",
        )


def _refuse_without_unique_key(
    table: TableConfig,
    columns: tuple[Column, ...],
    target: TargetFacts,
    *,
    key: Iterable[str],
) -> None:
    key = tuple(key)
    if frozenset(key) not in target.unique_keys:
        listed = ", ".join(key)
        raise TargetError(
            f"target {table.target_name}",
            met=f"no unique index on ({listed})",
            expected="one: INSERT … ON CONFLICT needs it",
            way_out=f"Add it: ALTER TABLE {table.target_name} ADD PRIMARY KEY ({listed}).",
        )
