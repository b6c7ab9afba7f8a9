"""The steps that publish a mirror, a snapshot or a history (scd2). Pure.

Belongs here: their statements, composed, each with the word its rows are counted by. Does not:
executing them (publish.py), deciding (plan.py), replace, append and merge (postgres_sql.py).

When the attempt began, by PostgreSQL's clock, is the time of whatever it finds changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.model import Column, Mode, SyncPlan, TargetName
from bq2pg_assets.engine.postgres_sql import identifier, names

TYPE = "timestamp with time zone"
# Types in which = takes different values for equal: 1 month and 30 days, 0.0 and -0.0, and in
# jsonb 1 and 1.0. Their text tells them apart.
LOOSE = ("interval", "double precision", "jsonb")
UNCOUNTED = ""
Step = tuple[str, sql.Composed]


def own_columns(plan: SyncPlan) -> tuple[str, ...]:
    """The names of the columns that the target has beside the source's."""
    if plan.publish is Mode.SNAPSHOT:
        return (plan.own.snapshot,)
    if plan.publish is Mode.SCD2:
        return plan.own.valid_from, plan.own.valid_to
    return (plan.own.deleted,) if plan.publish is Mode.MIRROR and plan.deletes == "soft" else ()


@dataclass(frozen=True, slots=True)
class Times:
    """When the attempt began, and when its run's first attempt did: that is the same in every
    attempt of a run, so that a run never adds its snapshot twice.
    """

    at: datetime
    snapshot_at: datetime


def steps(
    plan: SyncPlan, stage: TargetName, *, times: Times, present: sql.Composable
) -> list[Step]:
    """What publishes the staged rows, in order. `present` is a relation with the keys that the
    source has: the staging table, or that and some more.
    """
    if plan.creates_target:
        moved = postgres_sql.become_target(stage, plan.target)
        finished = [(UNCOUNTED, s) for s in (*moved, *_finish(plan, times=times))]
        return [*_dedupe(plan, stage), *finished]
    return [
        *clear(plan, stage, times=times, present=present),
        *bring(plan, stage, times=times),
    ]


def create(plan: SyncPlan, *, times: Times) -> list[sql.Composed]:
    """The target without a row."""
    return [*postgres_sql.create_stage(plan, plan.target), *_finish(plan, times=times)]


def clear(
    plan: SyncPlan, stage: TargetName, *, times: Times, present: sql.Composable
) -> list[Step]:
    """The steps for which all staged rows are needed together: what is superseded or gone."""
    if plan.publish is Mode.SNAPSHOT:
        # What an earlier attempt of the same run committed before it was killed.
        again = sql.SQL("DELETE FROM {} WHERE {} = {}").format(
            identifier(plan.target),
            sql.Identifier(plan.own.snapshot),
            sql.Literal(times.snapshot_at),
        )
        return [(UNCOUNTED, again)]
    gone = _versions_gone if plan.publish is Mode.SCD2 else _rows_gone
    return [
        *_dedupe(plan, stage),
        (UNCOUNTED, postgres_sql.analyze(stage)),
        *gone(plan, present, at=times.at),
    ]


def bring(plan: SyncPlan, stage: TargetName, *, times: Times) -> list[Step]:
    """The steps that bring staged rows in, all of them or some."""
    if plan.publish is Mode.SNAPSHOT:
        return _snapshot(plan, stage, at=times.snapshot_at)
    if plan.publish is Mode.SCD2:
        return _scd2(plan, stage, at=times.at)
    return _mirror(plan, stage)


def count_gone(plan: SyncPlan, present: sql.Composable) -> sql.Composed:
    """How many rows hold in the target, and how many of them lack their key in `present`."""
    gone = sql.SQL(" WHERE {}").format(_missing(plan, "t", present))
    query = "SELECT (SELECT count(*) FROM {target} AS t{alive}), count(*) FROM {target} AS t{gone}"
    alive = _alive(plan)
    return sql.SQL(query + "{and_alive}").format(
        target=identifier(plan.target),
        alive=sql.SQL(" WHERE {}").format(alive) if alive else sql.SQL(""),
        gone=gone,
        and_alive=sql.SQL(" AND {}").format(alive) if alive else sql.SQL(""),
    )


def count_left(plan: SyncPlan, stage: TargetName, *, staged: int) -> sql.Composed:
    """How many rows the target holds, and how many a replace by the staged ones would leave."""
    left: sql.Composable = sql.Literal(staged)
    if plan.key:  # of rows that share a key one stays
        left = sql.SQL("(SELECT count(*) FROM (SELECT DISTINCT {} FROM {}) AS k)").format(
            names(plan.key), identifier(stage)
        )
    return sql.SQL("SELECT (SELECT count(*) FROM {}), {}").format(identifier(plan.target), left)


def _dedupe(plan: SyncPlan, stage: TargetName) -> list[Step]:
    return [("duplicates", postgres_sql.keep_newest(plan, stage))] if plan.key else []


def _finish(plan: SyncPlan, *, times: Times) -> list[sql.Composed]:
    """What a new target lacks beside the source's columns; a constant default fills the times, no
    rewrite.
    """
    target, statements = plan.target, list[sql.Composed]()
    at = times.snapshot_at if plan.publish is Mode.SNAPSHOT else times.at
    began = {Mode.SNAPSHOT: plan.own.snapshot, Mode.SCD2: plan.own.valid_from}.get(plan.publish)
    for column in own_columns(plan):
        statements.append(postgres_sql.alter_table(target, [postgres_sql.add_column(column, TYPE)]))
        if column == began:
            statements[-1:] = _filled(target, column, at=at)
    if plan.publish is Mode.SNAPSHOT:
        statements.append(
            sql.SQL("CREATE INDEX ON {} ({})").format(
                identifier(target), sql.Identifier(plan.own.snapshot)
            )
        )
    if plan.publish is Mode.SCD2:
        statements.append(_one_current(plan))
    return statements + postgres_sql.finish_target(plan, key=_unique(plan))


def _filled(target: TargetName, column: str, *, at: datetime) -> list[sql.Composed]:
    added = sql.SQL("ADD COLUMN {} {} NOT NULL DEFAULT {}").format(
        sql.Identifier(column), sql.SQL(TYPE), sql.Literal(at)
    )
    dropped = sql.SQL("ALTER COLUMN {} DROP DEFAULT").format(sql.Identifier(column))
    return [postgres_sql.alter_table(target, [a]) for a in (added, dropped)]


def _unique(plan: SyncPlan) -> tuple[str, ...]:
    """What no two rows of the target share."""
    return (*plan.key, plan.own.valid_from) if plan.publish is Mode.SCD2 else plan.key


def _one_current(plan: SyncPlan) -> sql.Composed:
    """An index for finding the version that holds; there is one of each key."""
    equal = sql.SQL(" NULLS NOT DISTINCT" if plan.null_keys == "match" else "")
    return sql.SQL("CREATE UNIQUE INDEX ON {} ({}){} WHERE {} IS NULL").format(
        identifier(plan.target), names(plan.key), equal, sql.Identifier(plan.own.valid_to)
    )


def _snapshot(plan: SyncPlan, stage: TargetName, *, at: datetime) -> list[Step]:
    column, moment = sql.Identifier(plan.own.snapshot), sql.Literal(at)
    columns = names([c.name for c in plan.columns])
    return [
        (
            "inserted",
            sql.SQL("INSERT INTO {} ({}, {}) SELECT {}, {} FROM {}").format(
                identifier(plan.target), columns, column, columns, moment, identifier(stage)
            ),
        ),
    ]


def _rows_gone(plan: SyncPlan, present: sql.Composable, *, at: datetime) -> list[Step]:
    target, gone = identifier(plan.target), _missing(plan, "t", present)
    if not plan.full_refresh and not plan.whole:
        return []
    if plan.deletes == "soft" and not plan.full_refresh:
        deleted = sql.Identifier(plan.own.deleted)
        mark = "UPDATE {} AS t SET {} = {} WHERE {} IS NULL AND {}"
        return [("deleted", sql.SQL(mark).format(target, deleted, sql.Literal(at), deleted, gone))]
    return [("deleted", sql.SQL("DELETE FROM {} AS t WHERE {}").format(target, gone))]


def _mirror(plan: SyncPlan, stage: TargetName) -> list[Step]:
    target, soft = identifier(plan.target), plan.deletes == "soft"
    deleted, columns = sql.Identifier(plan.own.deleted), names([c.name for c in plan.columns])
    found: list[Step] = []
    rest = [c.name for c in plan.columns if c.name not in plan.key]
    sets = [sql.SQL("{} = s.{}").format(sql.Identifier(c), sql.Identifier(c)) for c in rest]
    differs = _differs(plan)
    if soft:
        sets.append(sql.SQL("{} = NULL").format(deleted))
        differs = sql.SQL("({} OR t.{} IS NOT NULL)").format(differs, deleted)
    if sets:
        update = "UPDATE {} AS t SET {} FROM {} AS s WHERE {} AND {}"
        changed = sql.SQL(update).format(
            target, sql.SQL(", ").join(sets), identifier(stage), _same_key(plan, "t", "s"), differs
        )
        found.append(("updated", changed))
    insert = "INSERT INTO {} ({}) SELECT {} FROM {} AS s WHERE {}"
    new = _missing(plan, "s", target)
    found.append(
        ("inserted", sql.SQL(insert).format(target, columns, columns, identifier(stage), new))
    )
    return found


def _versions_gone(plan: SyncPlan, present: sql.Composable, *, at: datetime) -> list[Step]:
    if not plan.whole:
        return []
    holds = sql.SQL("t.{} IS NULL").format(sql.Identifier(plan.own.valid_to))
    gone = sql.SQL("{} WHERE {} AND {}").format(
        _close(plan, at=at), holds, _missing(plan, "t", present)
    )
    return [("deleted", gone)]


def _close(plan: SyncPlan, *, at: datetime) -> sql.Composed:
    """Versions end and begin at one moment, never before they began: GREATEST minds a clock that
    was set back.
    """
    since, until = sql.Identifier(plan.own.valid_from), sql.Identifier(plan.own.valid_to)
    return sql.SQL("UPDATE {} AS t SET {} = GREATEST({}, t.{} + interval '1 microsecond')").format(
        identifier(plan.target), until, sql.Literal(at), since
    )


def _scd2(plan: SyncPlan, stage: TargetName, *, at: datetime) -> list[Step]:
    target, columns = identifier(plan.target), names([c.name for c in plan.columns])
    since, until = sql.Identifier(plan.own.valid_from), sql.Identifier(plan.own.valid_to)
    holds = sql.SQL("t.{} IS NULL").format(until)
    changed = sql.SQL("{} FROM {} AS s WHERE {} AND {} AND {}").format(
        _close(plan, at=at), identifier(stage), holds, _same_key(plan, "t", "s"), _differs(plan)
    )
    last = sql.SQL(
        "SELECT {keys}, max(t.{until}) AS at, bool_or(t.{until} IS NULL) AS holds "
        "FROM {target} AS t WHERE EXISTS (SELECT FROM {stage} AS s WHERE {same}) GROUP BY {keys}"
    ).format(
        keys=names(plan.key),
        until=until,
        target=target,
        stage=identifier(stage),
        same=_same_key(plan, "t", "s"),
    )
    opened = sql.SQL(
        "INSERT INTO {} ({}, {}) SELECT {}, GREATEST({}, l.at) FROM {} AS s LEFT JOIN ({}) AS l "
        "ON {} WHERE l.holds IS NOT TRUE"
    ).format(
        target,
        columns,
        since,
        sql.SQL(", ").join(sql.Identifier("s", c.name) for c in plan.columns),
        sql.Literal(at),
        identifier(stage),
        last,
        _same_key(plan, "l", "s"),
    )
    return [("closed", changed), ("inserted", opened)]


def _missing(plan: SyncPlan, alias: str, other: sql.Composable) -> sql.Composed:
    """That no row of `other` has the key of the row `alias`."""
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS o WHERE {})").format(
        other, _same_key(plan, alias, "o")
    )


def _same_key(plan: SyncPlan, one: str, other: str) -> sql.Composed:
    """Equal keys. Arrays of one element take NULL for equal to NULL, and unlike IS NOT DISTINCT
    FROM can be joined by hash.
    """
    kinds = {c.name: c.pg_type for c in plan.columns}
    pair = "ARRAY[{}::{kind}] = ARRAY[{}::{kind}]" if plan.null_keys == "match" else "{} = {}"
    return sql.SQL(" AND ").join(
        sql.SQL(pair).format(
            sql.Identifier(one, k), sql.Identifier(other, k), kind=sql.SQL(kinds[k])
        )
        for k in plan.key
    )


def _differs(plan: SyncPlan) -> sql.Composed:
    """Whether t and s hold different values in a column beside the key."""
    rest: Sequence[Column] = [c for c in plan.columns if c.name not in plan.key]
    pairs = [sql.SQL("{} IS DISTINCT FROM {}").format(_exact(c, "t"), _exact(c, "s")) for c in rest]
    return (
        sql.SQL("({})").format(sql.SQL(" OR ").join(pairs))
        if pairs
        else sql.SQL("{}").format(sql.SQL("false"))
    )


def _exact(column: Column, alias: str) -> sql.Composed:
    """A value such that equal ones are the same."""
    name, base = sql.Identifier(alias, column.name), column.pg_type.removesuffix("[]")
    if base in LOOSE:
        array = "[]" if column.pg_type != base else ""
        return sql.SQL("{}::{}::text{}").format(name, sql.SQL(column.pg_type), sql.SQL(array))
    # In another collation two texts may be equal and not the same.
    return sql.SQL('{} COLLATE "C"' if base == "text" else "{}").format(name)


def _alive(plan: SyncPlan) -> sql.Composed | None:
    """What holds of the rows that are not gone yet."""
    if plan.publish is Mode.SCD2:
        return sql.SQL("t.{} IS NULL").format(sql.Identifier(plan.own.valid_to))
    soft = plan.publish is Mode.MIRROR and plan.deletes == "soft"
    return sql.SQL("t.{} IS NULL").format(sql.Identifier(plan.own.deleted)) if soft else None
