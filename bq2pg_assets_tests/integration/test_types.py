"""Every BigQuery type, in every position, by every way out: PostgreSQL holds the golden text.

Guards exactness. The values stand in cases/types.py; a type's table has one row for each of them,
with the value alone, in an ARRAY, in a STRUCT and in an ARRAY of STRUCT, then the rows in which
something is NULL or empty. What the emulator cannot hold enters as the shard BigQuery would write
(test_shard_types.py).
"""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy import copy_shards
from bq2pg_assets.engine.model import Column, RunId
from bq2pg_assets.engine.sync import plan_table
from bq2pg_assets.engine.typemap import RULES, TypeRule, map_columns
from bq2pg_assets_tests.cases.types import TYPES, Type, Value
from bq2pg_assets_tests.integration.helpers import World

WAYS = ("extract", "export_data", "read_api")


def by_name(name: str) -> Type:
    return next(t for t in TYPES if t.name == name)


def emulated(kind: Type) -> list[Value]:
    return [v for v in kind.values if v.emulated]


def make_source(world: World, kind: Type) -> None:
    """One row a value, then: all NULL, empty arrays, a struct of NULLs beside a NULL struct."""
    nested = (
        f", st STRUCT<f {kind.name}>, sa ARRAY<STRUCT<f {kind.name}>>" if kind.in_struct else ""
    )
    world.bq(f"CREATE TABLE {{d}}.source (id INT64, s {kind.name}, a ARRAY<{kind.name}>{nested})")
    rows = [
        f"{n}, {v.sql}, [{v.sql}, {v.sql}]"
        + (f", STRUCT({v.sql} AS f), [STRUCT({v.sql} AS f)]" if kind.in_struct else "")
        for n, v in enumerate(emulated(kind))
    ]
    rows.append("1000, NULL, []" + (", NULL, [STRUCT(NULL AS f)]" if kind.in_struct else ""))
    if kind.in_struct:
        rows.append("1001, NULL, [], STRUCT(NULL AS f), []")
    values = ", ".join(f"({row})" for row in rows)
    world.bq(f"INSERT INTO {{d}}.source VALUES {values}")


def expected(kind: Type) -> dict[int, tuple[Any, ...]]:
    """By id: the value's text, the array's elements' texts, the texts of struct and array."""
    found: dict[int, tuple[Any, ...]] = {}
    one_document = not RULES[kind.rule].array
    for n, v in enumerate(emulated(kind)):
        array = f"[{v.pg}, {v.pg}]" if one_document else [v.pg, v.pg]
        found[n] = (v.pg, array)
        if kind.in_struct:
            found[n] += (f'{{"f": {v.nested}}}', f'[{{"f": {v.nested}}}]')
    none: Any = "[]" if one_document else []
    found[1000] = (None, none)
    if kind.in_struct:
        found[1000] += (None, '[{"f": null}]')
        found[1001] = (None, none, '{"f": null}', "[]")
    return found


def landed(world: World, kind: Type) -> dict[int, tuple[Any, ...]]:
    array = "a::text" if not RULES[kind.rule].array else "a::text[]"
    nested = ", st::text, sa::text" if kind.in_struct else ""
    return {row[0]: row[1:] for row in world.pg(f"SELECT id, s::text, {array}{nested} FROM t")}


def carried_by_extract(kind: Type) -> bool:
    return RULES[kind.rule].select == "{}"


def broken(name: str) -> TypeRule:
    """The row with a SELECT that finds NULL."""
    return replace(RULES[name], select=f"IF(FALSE, {RULES[name].select}, NULL)")


def load_by_hand(
    world: World, source: BigQuerySource, table: TableConfig, columns: tuple[Column, ...]
) -> None:
    """Steps 5 and 6 of the flow with columns of another type table; then the stage is t."""
    run, store, cancel = RunId(uuid.uuid4().hex), world.shards(), CancelToken()
    plan, _ = plan_table(table, source=source, target=world.target(), run=run)
    plan, prefix = replace(plan, columns=columns), store.prefix("t", run)
    with world.target().locked(plan.target, run=run, table="t") as session:
        source.export(plan, prefix=prefix, run=run, cancel=cancel)
        session.create_stage(plan)
        copy_shards(
            plan,
            store.list(prefix),
            store=store,
            session=session,
            cancel=cancel,
            report=lambda _: None,
        )
        world.pg(f"CREATE TABLE t AS SELECT * FROM {session.stage}")


@pytest.mark.parametrize("name", RULES)
def test_a_broken_select_in_the_type_table_is_noticed(name: str, world: World) -> None:
    """The golden values would not pass if BigQuery were asked for something else.

    Only the column of single values (of a STRUCT: the struct) is broken: an ARRAY of NULL would
    be refused by BigQuery before anything could be compared.
    """
    kind = next(t for t in TYPES if t.rule == (name if name != "STRUCT" else "INT64"))
    make_source(world, kind)
    source, table = world.source(), world.table(export="export_data")
    fields, at = source.describe(table).fields, "st" if name == "STRUCT" else "s"
    wrong = {c.source: c for c in map_columns(table, fields, rules={**RULES, name: broken(name)})}
    columns = tuple(wrong[at] if c.source == at else c for c in map_columns(table, fields))
    load_by_hand(world, source, table, columns)
    assert landed(world, kind) != expected(kind)


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_each_way_out_lands_the_golden_values(kind: Type, world: World) -> None:
    make_source(world, kind)
    wanted = expected(kind)
    for way in WAYS:
        if way == "extract" and not carried_by_extract(kind):
            continue
        world.pg("DROP TABLE IF EXISTS t")
        result = world.sync(export=way)
        assert result.way == way
        assert landed(world, kind) == wanted, way
    world.no_leftovers()
