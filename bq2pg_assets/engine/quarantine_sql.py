"""The SQL of bad rows, composed, never sent here.

Belongs here: pieces of the staging table, the table sync_quarantine, writing one of its rows into
its target. Does not: the statements of an undisturbed run (postgres_sql.py), connections.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from bq2pg_assets.engine.errors import TargetError
from bq2pg_assets.engine.model import Mode, SyncPlan, TargetName
from bq2pg_assets.engine.postgres_sql import cursor_name, identifier, names
from bq2pg_assets.engine.publish_sql import Times

CREATE = """
CREATE TABLE IF NOT EXISTS {} (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id        text NOT NULL,
  table_name    text NOT NULL,
  target        text NOT NULL,
  row           text NOT NULL,
  shape         jsonb NOT NULL,
  error         text NOT NULL,
  sqlstate      text,
  at            timestamptz NOT NULL DEFAULT clock_timestamp(),
  replayed_at   timestamptz,
  replay_run_id text,
  superseded_at timestamptz
)"""
OPEN = "replayed_at IS NULL AND superseded_at IS NULL"
# A constraint of the target may wait until the commit: then no piece would be refused.
DEFERRABLE = """
SELECT n.nspname, c.conname FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.conrelid = to_regclass(%s) AND c.condeferrable"""
BLOCKS = "SELECT pg_relation_size(to_regclass(%s)) / current_setting('block_size')::bigint"
SET_PIECE = "SELECT set_config('bq2pg.low', %s, true), set_config('bq2pg.high', %s, true)"
TYPE = re.compile(r"[a-z][a-z0-9 ]*(\(\d+(,\d+)?\))?( with(out)? time zone)?(\[\])?")
PAGE = 2048  # more rows than a page of PostgreSQL's largest block size holds

Piece = tuple[int, int]


def whole(blocks: int) -> Piece:
    """All rows of a table of so many blocks. A position counts PAGE rows to a block."""
    return 0, blocks * PAGE


def halves(piece: Piece) -> tuple[Piece, Piece] | None:
    """Two pieces, cut between blocks as long as there are several; None of a single row."""
    low, high = piece
    if high - low == 1:
        return None
    middle = (low + high) // 2
    if high - low > PAGE:
        middle -= middle % PAGE
    return (low, middle), (middle, high)


def tid(position: int) -> str:
    """A position as PostgreSQL's row address."""
    return f"({position // PAGE},{position % PAGE})"


def piece_name(stage: TargetName) -> TargetName:
    """The view that shows one piece of a staging table."""
    return TargetName(stage.schema, f"piece_{stage.table.rpartition('_')[2]}")


def create_piece(stage: TargetName) -> sql.Composed:
    """A view of the staged rows between two addresses, which SET_PIECE names.

    So a mode's own statement writes a piece as it writes the staging table.
    """
    return sql.SQL(
        "CREATE VIEW {} AS SELECT * FROM {} WHERE ctid >= current_setting('bq2pg.low')::tid "
        "AND ctid < current_setting('bq2pg.high')::tid"
    ).format(identifier(piece_name(stage)), identifier(stage))


def drop_piece(stage: TargetName) -> sql.Composed:
    """Remove the view before the staging table goes."""
    return sql.SQL("DROP VIEW {}").format(identifier(piece_name(stage)))


def check_at_once(constraints: Sequence[tuple[str, str]]) -> sql.Composed:
    """Have constraints (schema, name) checked by each statement, for the rest of a transaction."""
    listed = sql.SQL(", ").join(sql.Identifier(*one) for one in constraints)
    return sql.SQL("SET CONSTRAINTS {} IMMEDIATE").format(listed)


def staged_row(plan: SyncPlan, stage: TargetName, position: int) -> sql.Composed:
    """Each column of one staged row as JSON text; NULL where it is NULL."""
    texts = sql.SQL(", ").join(
        sql.SQL("to_json({})::text").format(sql.Identifier(c.name)) for c in plan.columns
    )
    return sql.SQL("SELECT {} FROM {} WHERE ctid = {}::tid").format(
        texts, identifier(stage), sql.Literal(tid(position))
    )


def keys(plan: SyncPlan, objects: Sequence[str]) -> sql.Composed:
    """A query for the keys that JSON objects by source column names hold."""
    rows = sql.SQL(", ").join(sql.SQL("({}::json)").format(sql.Literal(one)) for one in objects)
    of = {c.name: c for c in plan.columns}
    values = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(_value(of[k].source, of[k].pg_type), sql.Identifier(k))
        for k in plan.key
    )
    return sql.SQL("SELECT {} FROM (VALUES {}) AS q (doc)").format(values, rows)


def present(plan: SyncPlan, stage: TargetName, objects: Sequence[str]) -> sql.Composable:
    """A relation with the keys of the staged rows and those that the objects hold."""
    if not objects:
        return identifier(stage)
    return sql.SQL("(SELECT {} FROM {} UNION ALL {})").format(
        names(plan.key), identifier(stage), keys(plan, objects)
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """How a quarantined row is written: columns (source, name, type), and by which key.

    `own` are the values of the columns that the target has beside the source's. `versions` names
    where a version's time begins and ends, in mode scd2. `null_keys` says that NULLs are equal.
    """

    columns: tuple[tuple[str, str, str], ...]
    key: tuple[str, ...]
    cursor: str | None
    own: Mapping[str, str | None] = field(default_factory=dict)
    versions: tuple[str, str] | None = None
    null_keys: bool = False

    @classmethod
    def of(cls, plan: SyncPlan, *, times: Times) -> "Shape":
        """As the plan's rows are."""
        columns = tuple((c.source, c.name, c.pg_type) for c in plan.columns)
        own: dict[str, str | None] = {}
        versions = None
        if plan.publish is Mode.SNAPSHOT:
            own = {plan.own.snapshot: times.snapshot_at.isoformat()}
        elif plan.publish is Mode.SCD2:
            versions = plan.own.valid_from, plan.own.valid_to
            own = {plan.own.valid_from: times.at.isoformat(), plan.own.valid_to: None}
        elif plan.publish is Mode.MIRROR and plan.deletes == "soft":
            own = {plan.own.deleted: None}
        # Whatever a mirror brings later makes the row obsolete: there is nothing newer.
        cursor = None if plan.publish is Mode.MIRROR else cursor_name(plan)
        return cls(columns, plan.key, cursor, own, versions, plan.null_keys == "match")

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Shape":
        """As it is stored. Raises TargetError for what bq2pg does not write."""
        columns = tuple((str(s), str(n), str(t)) for s, n, t in stored["columns"])
        if strange := [kind for _, _, kind in columns if not TYPE.fullmatch(kind)]:
            raise TargetError(
                "sync_quarantine",
                met=f"type {strange[0]!r}",
                expected="a type that bq2pg wrote",
                way_out="Somebody changed the row: delete it, and load the table again.",
            )
        return cls(
            columns,
            tuple(stored["key"]),
            stored["cursor"],
            dict(stored["own"]),
            tuple(stored["versions"]) if stored["versions"] else None,
            stored["null_keys"],
        )


def replay(target: TargetName, shape: Shape, row: str) -> list[sql.Composed]:
    """Write one quarantined row: inserted, or by key where the run would have done so.

    A row of the target whose cursor is as high or higher is left alone. Without a cursor the
    quarantined row is the newer one: the next whole load would have superseded it. The last
    statement writes the row, or none.
    """
    values = {name: _value(source, kind) for source, name, kind in shape.columns}
    own = {
        name: sql.SQL("{}::timestamptz").format(sql.Literal(value))
        for name, value in shape.own.items()
    }
    doc = sql.SQL("(SELECT {}::json AS doc) AS q").format(sql.Literal(row))
    if shape.versions:
        return _new_version(target, shape, values | own, doc)
    listed = [*values, *own]
    insert = sql.SQL("INSERT INTO {} AS t ({}) SELECT {} FROM {}{}").format(
        identifier(target),
        names(listed),
        sql.SQL(", ").join([*values.values(), *own.values()]),
        doc,
        _on_conflict(shape, [n for n in listed if n not in shape.key]),
    )
    return [insert]


def _new_version(
    target: TargetName, shape: Shape, values: Mapping[str, sql.Composed], doc: sql.Composed
) -> list[sql.Composed]:
    """The version that held when the row was read ends, and the row's begins, unless the target
    knows of a later one.
    """
    assert shape.versions is not None
    since, until = (sql.Identifier("t", name) for name in shape.versions)
    at, listed = values[shape.versions[0]], sql.SQL(", ").join(values.values())
    equal = "t.{} IS NOT DISTINCT FROM {}" if shape.null_keys else "t.{} = {}"
    same = sql.SQL(" AND ").join(
        sql.SQL(equal).format(sql.Identifier(k), values[k]) for k in shape.key
    )
    close = sql.SQL(
        "UPDATE {} AS t SET {} = {} FROM {} WHERE {} IS NULL AND {} < {} AND {}"
    ).format(identifier(target), sql.Identifier(shape.versions[1]), at, doc, until, since, at, same)
    insert = sql.SQL(
        "INSERT INTO {} ({}) SELECT {} FROM {} WHERE NOT EXISTS "
        "(SELECT FROM {} AS t WHERE ({} IS NULL OR {} > {}) AND {})"
    ).format(
        identifier(target),
        names(list(values)),
        listed,
        doc,
        identifier(target),
        until,
        until,
        at,
        same,
    )
    return [close, insert]


def _on_conflict(shape: Shape, rest: Sequence[str]) -> sql.Composed:
    if not shape.key:
        return sql.Composed([])
    if not rest:
        return sql.SQL(" ON CONFLICT ({}) DO NOTHING").format(names(shape.key))
    newer = sql.Composed([])
    if shape.cursor is not None:
        newer = sql.SQL(" WHERE t.{0} IS NULL OR t.{0} < EXCLUDED.{0}").format(
            sql.Identifier(shape.cursor)
        )
    update = sql.SQL(", ").join(
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in rest
    )
    return sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}{}").format(names(shape.key), update, newer)


def _value(source: str, kind: str) -> sql.Composed:
    """The value of one column, of the type that it was staged with."""
    name = sql.Literal(source)
    if kind == "jsonb":
        return sql.SQL("(q.doc -> {})::jsonb").format(name)
    if kind.endswith("[]"):
        return sql.SQL(
            "CASE WHEN q.doc -> {0} IS NOT NULL THEN ARRAY(SELECT e.v::{1} FROM "
            "json_array_elements_text(q.doc -> {0}) WITH ORDINALITY AS e(v, n) ORDER BY e.n) END"
        ).format(name, sql.SQL(kind.removesuffix("[]")))
    return sql.SQL("(q.doc ->> {})::{}").format(name, sql.SQL(kind))
