"""Decides everything about a run before a byte moves. Pure.

Belongs here: full or incremental, the window, the way out of BigQuery, how rows are published,
and every reason to refuse. Does not: asking BigQuery or PostgreSQL (the facts come in), SQL.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Literal

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import evolve, export_sql, guards, postgres_sql, ways
from bq2pg_assets.engine.errors import ConfigError, TargetError
from bq2pg_assets.engine.model import (
    CURSOR_TYPES,
    Column,
    Cursor,
    CursorValue,
    ExportWay,
    Mode,
    NulBytes,
    Origin,
    OwnColumns,
    Probe,
    ReplaceStrategy,
    RunOptions,
    SchemaChange,
    SourceFacts,
    SyncPlan,
    TargetFacts,
    TargetName,
    Window,
    origin_of,
)
from bq2pg_assets.engine.postgres_sql import HISTORY, QUARANTINE, SHARDS, STATE

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

    `looked` is the cursor with the value above which the probe looks, None for every row;
    `incremental` says that only those above the stored value are wanted. `every_partition_of` is
    the column BigQuery asks for a filter on, unless a window filters it.
    """

    publish: Mode
    cursor: Cursor | None
    key: tuple[str, ...]
    probes: bool
    after: Literal["advance", "keep", "clear"]
    every_partition_of: str | None = None
    changes: tuple[SchemaChange, ...] = ()
    incremental: bool = False
    looked: Cursor | None = None


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
    mode = Mode(table.mode)
    anew = options.full_refresh or (mode is Mode.SCD2 and target.kind is None)
    cursor = _cursor(table, facts, value=None if anew else cursor_value)
    _refuse_foreign_target(table, target, full_refresh=options.full_refresh)
    if mode is Mode.SNAPSHOT:
        _refuse_options_of_snapshot(table, options)
    key = _key(table, facts, columns)
    publish = _publish(table, target, cursor=cursor, options=options)
    if publish is Mode.REPLACE:
        _refuse_few_for_all(table, target, options)
        _refuse_unswappable(table, target)
    own = own_columns(table)
    _refuse_own_columns(table, columns, target, own=own)
    rest = replace(target, columns=tuple(c for c in target.columns if c.name not in own))
    changes = evolve.schema_changes(table, columns, rest, publish=publish, key=key)
    if table.null_keys == "match" and target.server_version < 150000:
        raise TargetError(
            f"target {table.target_name}",
            met=f"PostgreSQL {target.server_version // 10000}",
            expected="15 or later for null_keys: match",
            way_out="Upgrade it, or use null_keys: refuse.",
        )
    if publish.by_key and target.kind is not None:
        unique = (*key, table.valid_from_column) if publish is Mode.SCD2 else key
        _refuse_without_unique_key(table, target, key=unique)
    windowed = cursor is not None and mode in (Mode.APPEND, Mode.MERGE, Mode.SCD2)
    stored = cursor is not None and cursor.value is not None
    incremental = windowed and stored and publish is not Mode.REPLACE
    probes = incremental or (windowed and bool(table.lag or table.null_cursor == "skip"))
    if incremental:
        _refuse_other_origin(table, target, now=origin_of(facts.sql, cursor, facts.shape))
    if incremental and options.where and publish is Mode.APPEND:
        raise ConfigError(
            f"table {table.name}",
            met="where on an incremental append",
            expected="every row above the cursor",
            way_out="A row left out now would be left out for ever. Add full_refresh to "
            "replace the content by these rows alone, or use mode: merge.",
        )
    after = _after(cursor, incremental=incremental, options=options)
    every = facts.partition_filter_on
    if probes and cursor is not None and cursor.column == every and (incremental or table.lag):
        every = None
    low = _below(cursor, table.lookback) if incremental and cursor is not None else None
    return Intent(
        publish,
        cursor,
        key,
        probes,
        after,
        every,
        changes,
        incremental=incremental,
        looked=replace(cursor, value=low) if cursor is not None else None,
    )


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
    if probe is not None:
        guards.refuse_null_cursor(table, count=probe.nulls)
        window = _window(table, intent, probe, limit=options.limit)
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
    expected = None if options.partial else facts.num_rows
    if probe is not None:
        expected = probe.rows + (probe.nulls if window is not None and window.nulls else 0)
    nulls_only = window is not None and window.nulls
    share = table.share
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
        nothing_new=intent.incremental
        and probe is not None
        and probe.high is None
        and not nulls_only,
        source_bytes=facts.num_bytes,
        bytes_probed=probe.bytes_billed if probe is not None else 0,
        max_bytes_billed=table.max_bytes_billed,
        parallelism=share.workers,
        piece_bytes=share.piece,
        nul_bytes=NulBytes(table.nul_bytes),
        # An extract job needs no filter, and a table that wants one is not read directly.
        every_partition_of=None if out.way is ExportWay.EXTRACT else intent.every_partition_of,
        comment=table.description or facts.description,
        direct=out.direct,
        changes=intent.changes,
        target_columns=target.columns,
        hides=facts.hides,
        shape=facts.shape,
        null_keys=table.null_keys,
        deletes=table.deletes,
        own=_own(table),
        full_refresh=options.full_refresh,
        null_cursors=probe.nulls if probe is not None else None,
        guard=guards.guard_of(table, target, publish=intent.publish, options=options),
        max_bad_rows=table.max_bad_rows if table.bad_rows == "quarantine" else None,
        strategy=ReplaceStrategy(table.replace_strategy),
    )


def own_columns(table: TableConfig) -> tuple[str, ...]:
    """The columns that the target has beside the source's, by the table's mode."""
    if table.mode == "snapshot":
        return (table.snapshot_column,)
    if table.mode == "scd2":
        return table.valid_from_column, table.valid_to_column
    return (table.deleted_column,) if table.deletes == "soft" else ()


def _own(table: TableConfig) -> OwnColumns:
    return OwnColumns(
        deleted=table.deleted_column,
        snapshot=table.snapshot_column,
        valid_from=table.valid_from_column,
        valid_to=table.valid_to_column,
    )


def _below(cursor: Cursor, lookback: timedelta | None) -> CursorValue | None:
    """The stored value less `lookback`; None below the first moment there is."""
    value = cursor.value
    if value is None or lookback is None:
        return value
    if not isinstance(value, datetime):  # a date has no shorter step than a day
        lookback = timedelta(days=-(-lookback // timedelta(days=1)))
    try:
        return value - lookback
    except OverflowError:
        return None


def _window(table: TableConfig, intent: Intent, probe: Probe, *, limit: int | None) -> Window:
    """What is read. Rows without a cursor value come again with every window that holds them, so
    only windows by key do.
    """
    assert intent.looked is not None
    low, high = intent.looked.value, probe.high
    nulls = table.null_cursor == "include" and limit is None
    if intent.incremental:
        nulls = nulls and intent.publish.by_key and probe.nulls > 0
        return Window(low, low if nulls and high is None else high, nulls)
    if limit is None or high is None:
        high = _bound(probe.at, table.lag, intent.looked.type)
    return Window(None, high, nulls)


def _bound(at: datetime, lag: timedelta | None, kind: str) -> CursorValue | None:
    """What `export_sql.ago` says to BigQuery, as a value."""
    if lag is None:
        return None
    moment: datetime = at.astimezone(UTC) - lag
    if kind == "DATE":
        day: date = moment.date()
        return day - timedelta(days=1)
    return moment.replace(tzinfo=None) if kind == "DATETIME" else moment


def _cursor(table: TableConfig, facts: SourceFacts, *, value: CursorValue | None) -> Cursor | None:
    name = table.cursor_column
    if name is None or (table.mode == "mirror" and "cursor" not in table.model_fields_set):
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
    if table.target_name.table in (STATE, HISTORY, QUARANTINE, SHARDS):
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
    keeps = table.mode in ("snapshot", "scd2")
    if target.has_rows and not target.owned and (keeps or not full_refresh):
        once = f", or have its content replaced once: {_full_load(table.target_name)}."
        raise TargetError(
            f"target {name}",
            met="a table with rows that bq2pg did not load",
            expected="an empty table, or none",
            way_out="Choose another target, or empty the table."
            if keeps
            else f"Choose another target, empty the table{once}",
        )


def _refuse_options_of_snapshot(table: TableConfig, options: RunOptions) -> None:
    """A part of the rows that would pass for all of them, or the loss of all earlier ones."""
    if options.partial or options.full_refresh:
        given = "limit or where" if options.partial else "full_refresh"
        raise ConfigError(
            f"table {table.name}",
            met=f"{given} with mode: snapshot",
            expected="all rows of the source, added to what is there",
            way_out="Run it without; to begin anew, empty or drop the target.",
        )


def _refuse_own_columns(
    table: TableConfig, columns: tuple[Column, ...], target: TargetFacts, *, own: tuple[str, ...]
) -> None:
    """Columns of the mode's own that the source has too, or an existing target lacks."""
    taken = [name for name in own if name in {c.name for c in columns}]
    if taken:
        raise ConfigError(
            f"table {table.name}",
            met=f"the source has {', '.join(taken)}, which mode {table.mode} writes itself",
            expected="a name that is free",
            way_out="Rename it on its way (columns: {its name: {name: new_name}}), or name "
            "another column for the mode (…_column).",
        )
    there = {c.name: c.type for c in target.columns}
    wrong = [name for name in own if there.get(name) != "timestamp with time zone"]
    if target.kind is not None and wrong:
        fix = postgres_sql.alter_table(
            table.target_name, [postgres_sql.add_column(n, "timestamptz") for n in wrong]
        ).as_string()
        raise TargetError(
            f"target {table.target_name}",
            met=f"no column {' and '.join(wrong)} of type timestamptz",
            expected=f"what mode {table.mode} writes",
            way_out=f"Choose another target, or add what is missing: {fix}.",
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


def _refuse_unswappable(table: TableConfig, target: TargetFacts) -> None:
    """A target that no other table can take the place of without losing something."""
    if table.replace_strategy == "swap" and target.swap_obstacles:
        raise TargetError(
            f"target {table.target_name}",
            met=f"a table that cannot be swapped: {'; '.join(target.swap_obstacles)}",
            expected="one whose successor can take over everything",
            way_out="Say replace_strategy: truncate in the table's YAML: the rows are replaced "
            "within the table, which nobody can read meanwhile.",
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
    if not Mode(table.mode).by_key:
        return ()
    key = table.key or facts.primary_key
    names = {c.source: c.name for c in columns}
    if not key or any(k not in names for k in key):
        raise ConfigError(
            f"table {table.name}",
            met=f"key {', '.join(key)} is not among the columns"
            if key
            else f"{table.mode} without a key",
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
    if Mode(table.mode).by_steps:
        return Mode(table.mode)
    if table.mode == "replace" or options.full_refresh or target.kind is None:
        return Mode.REPLACE
    if cursor is not None and cursor.value is None:
        return Mode.REPLACE
    return Mode(table.mode)


def _after(
    cursor: Cursor | None, *, incremental: bool, options: RunOptions
) -> Literal["advance", "keep", "clear"]:
    """What becomes of the stored cursor: a partial full load must not claim to be whole."""
    if cursor is None:
        return "clear"
    if incremental:
        return "keep" if options.where else "advance"
    return "clear" if options.partial else "advance"


def _refuse_without_unique_key(
    table: TableConfig, target: TargetFacts, *, key: tuple[str, ...]
) -> None:
    match = table.null_keys == "match"
    if frozenset(key) not in (target.null_keys if match else target.unique_keys):
        listed, also = ", ".join(key), " NULLS NOT DISTINCT" if match else ""
        fix = postgres_sql.add_key(table.target_name, key, null_keys=table.null_keys).as_string()
        freed = "Drop a primary key on it, let its columns be NULL, and add" if match else "Add"
        raise TargetError(
            f"target {table.target_name}",
            met=f"no unique index on ({listed}){also}",
            expected="one: INSERT … ON CONFLICT needs it"
            if table.mode == "merge"
            else "one, so that no two rows share a key",
            way_out=f"{freed} it: {fix}.",
        )
