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
from bq2pg_assets.engine import evolve, export_sql, postgres_sql, ways
from bq2pg_assets.engine.errors import ConfigError, TargetError, VerifyError
from bq2pg_assets.engine.model import (
    CURSOR_TYPES,
    Column,
    Cursor,
    CursorValue,
    ExportWay,
    Mode,
    NulBytes,
    Origin,
    Probe,
    RunOptions,
    SchemaChange,
    SourceFacts,
    SyncPlan,
    TargetFacts,
    TargetName,
    Window,
    origin_of,
)
from bq2pg_assets.engine.postgres_sql import HISTORY, SHARDS, STATE

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
    """What the run wants, before the source is probed: `probes` when a window must be found.

    `every_partition_of` is the column BigQuery asks for a filter on, unless a window filters it.
    """

    publish: Mode
    cursor: Cursor | None
    key: tuple[str, ...]
    probes: bool
    after: Literal["advance", "keep", "clear"]
    every_partition_of: str | None = None
    changes: tuple[SchemaChange, ...] = ()


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
    if publish is Mode.REPLACE:
        _refuse_few_for_all(table, target, options)
    changes = evolve.schema_changes(table, columns, target, publish=publish, key=key)
    if publish is Mode.MERGE:
        _refuse_without_unique_key(table, columns, target, key=key)
    probes = publish is not Mode.REPLACE and cursor is not None and cursor.value is not None
    if probes:
        _refuse_other_origin(table, target, now=origin_of(facts.sql, cursor, facts.shape))
    if probes and options.where and publish is Mode.APPEND:
        raise ConfigError(
            f"table {table.name}",
            met="where on an incremental append",
            expected="every row above the cursor",
            way_out="A row left out now would be left out for ever. Add full_refresh to "
            "replace the content by these rows alone, or use mode: merge.",
        )
    after = _after(cursor, probes=probes, options=options)
    every = facts.partition_filter_on
    if probes and cursor is not None and cursor.column == every:
        every = None
    return Intent(publish, cursor, key, probes, after, every, changes)


def make_plan(
    table: TableConfig,
    *,
    facts: SourceFacts,
    columns: tuple[Column, ...],
    target: TargetFacts,
    intent: Intent,
    options: RunOptions,
    probe: Probe | None,
    has_bucket: bool = True,
) -> SyncPlan:
    """The whole plan. `probe` is what was found above the cursor, None for a full load."""
    window = None
    if intent.probes and intent.cursor is not None:
        assert probe is not None
        window = Window(intent.cursor.value, probe.high)
    where = options.where
    out = ways.choose_way(
        table,
        facts=facts,
        columns=columns,
        window=window,
        where=where,
        limit=options.limit,
        every_partition_of=intent.every_partition_of,
        has_bucket=has_bucket,
    )
    expected = probe.rows if probe is not None else None if options.partial else facts.num_rows
    return SyncPlan(
        table=table.name,
        target=table.target_name,
        publish=intent.publish,
        creates_target=target.kind is None,
        way=out.way,
        reason=out.reason,
        source_sql=facts.sql,
        location=facts.location,
        columns=evolve.loaded(columns, intent.changes),
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
        nul_bytes=NulBytes(table.nul_bytes),
        # An extract job needs no filter, and a table that wants one is not read directly.
        every_partition_of=None if out.way is ExportWay.EXTRACT else intent.every_partition_of,
        comment=table.description or facts.description,
        direct=out.direct,
        changes=intent.changes,
        target_columns=target.columns,
        hides=facts.hides,
        shape=facts.shape,
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


def _cursor(table: TableConfig, facts: SourceFacts, *, value: CursorValue | None) -> Cursor | None:
    name = table.cursor_column
    if name is None:
        return None
    _refuse_changed_cursor(table, name)
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
    return Cursor(name, field.type, None if value is None else typed(value, field.type))


def _refuse_changed_cursor(table: TableConfig, name: str) -> None:
    """The window compares what BigQuery holds with what PostgreSQL has: it must be the same."""
    column = table.columns.get(name)
    met = ""
    if column is not None and column.exclude:
        met, way_out = "excluded", "Remove exclude from it."
    elif table.include is not None and name not in table.include:
        met, way_out = "not in include", "Add it to include."
    elif column is not None and column.shaped:
        met = "changed by expression, cast, default or mask"
        way_out = "Remove these from it, or use mode: replace."
    if met:
        raise ConfigError(
            f"table {table.name}",
            met=f"the cursor column {name} is {met}",
            expected="it among the columns as it is, to know how far the table is loaded",
            way_out=way_out,
        )


def typed(value: CursorValue, kind: str) -> CursorValue:
    """A stored cursor value, which has no zone, as one of its BigQuery type."""
    if kind == "DATE":
        return value.date() if isinstance(value, datetime) else value
    if kind == "TIMESTAMP" and isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _refuse_foreign_target(table: TableConfig, target: TargetFacts, *, full_refresh: bool) -> None:
    """A target that is no table, is bq2pg's own, or holds rows that bq2pg never loaded."""
    name = str(table.target_name)
    if table.target_name.table in (STATE, HISTORY, SHARDS):
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
            way_out="Choose another target, empty the table, or have its content replaced once: "
            f"{_full_load(table.target_name)}.",
        )


def _refuse_few_for_all(table: TableConfig, target: TargetFacts, options: RunOptions) -> None:
    """A partial run that would replace all rows of a target by the few it loads, unasked."""
    if options.partial and target.has_rows and not options.full_refresh:
        limit = f"limit {options.limit}" if options.limit is not None else ""
        given = " and ".join(filter(None, (limit, "where" if options.where else "")))
        raise ConfigError(
            f"table {table.name}",
            met=f"{given} on a full load would leave only these rows in {table.target_name}",
            expected="all rows, where there are rows already",
            way_out="If that is meant, add full_refresh (--full-refresh, full_refresh: true in "
            "Dagster); else load into another target, or without limit and where.",
        )


def _full_load(target: TargetName) -> str:
    """How to ask for one, also where there are no options."""
    statement = postgres_sql.forget_cursor(target).as_string()
    return (
        "with --full-refresh (full_refresh: true in Dagster); for bq-to-postgres, which has no "
        f"such option, run in the target's database: {statement}"
    )


def _refuse_other_origin(table: TableConfig, target: TargetFacts, *, now: Origin) -> None:
    """Rows that do not fit beside those that are there.

    Below a cursor that was read elsewhere, rows would never be loaded; and rows loaded before a
    column was masked would keep what the mask is to hide, under keys that no masked row has.
    """
    before = target.origin
    if before is None or before == now:
        return
    if before.shape != now.shape:
        met = (
            "columns that were masked, cast or made otherwise when the target was loaded, or "
            "hashed with another BQ2PG_MASK_SECRET"
        )
        expected = "rows that are all made alike"
    else:
        met = (
            f"cursor {now.cursor_column} of {now.source}, but the stored one was read from "
            f"{before.cursor_column} of {before.source}"
        )
        expected = "one source and one cursor column as long as rows are only added"
    raise ConfigError(
        f"table {table.name}",
        met=met,
        expected=expected,
        way_out=f"Choose another target, or load everything once: {_full_load(table.target_name)}.",
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
    made = {k: table.columns[k] for k in key if k in table.columns}
    merging = [
        f"{k} by {column.mask or 'expression, cast or default'}"
        for k, column in made.items()
        if column.has_value or column.mask not in (None, "sha256", "hmac")
    ]
    if merging:
        raise ConfigError(
            f"table {table.name}",
            met=f"the key changed: {', '.join(merging)}; rows would share it that are not the same",
            expected="a key that still identifies a row",
            way_out="Leave the key as it is, or mask it by hmac or sha256; a key that has to be "
            "made belongs into a query source.",
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
