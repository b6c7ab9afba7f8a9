"""Every golden value as a shard of the real service's schema, through the encoder into PostgreSQL.

Guards exactness: COPY BINARY does not check that bytes fit their column, so only the server can say
that they do. Shards are as BigQuery writes them (timestamps without zone in microseconds,
`list<element>`, decimal256(76, 38)), in small row groups: once with bare nested columns, as an
extract job leaves them, once with the texts that the export SELECT makes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.copy_sink import CopySink
from bq2pg_assets.engine.encode import Encoder
from bq2pg_assets.engine.model import Column, NulBytes, SourceField, TargetName
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.typemap import RULES, TypeRule, map_columns
from bq2pg_assets_tests.blobs import fetched, parquet
from bq2pg_assets_tests.cases.types import TYPES, Type
from bq2pg_assets_tests.unit.plans import a_plan

TABLE = TableConfig.model_validate({"name": "t", "source": "d.t"})
STAGE = TargetName("public", "stage")
Form = Literal["bare", "text"]


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with PostgresTarget(dsn).connection(name="test") as conn:
        yield conn


def carry(
    conn: psycopg.Connection[Any],
    table: pa.Table,
    columns: tuple[Column, ...],
    *,
    policy: NulBytes = NulBytes.FAIL,
    key: tuple[str, ...] = (),
) -> dict[str, int]:
    """The table as a shard, encoded and copied into a staging table made anew."""
    conn.execute(postgres_sql.drop(STAGE))
    for statement in postgres_sql.create_stage(a_plan(columns=columns), STAGE):
        conn.execute(statement)
    with fetched(parquet(table, group=3)) as shard, shard.parts(1)[0].open() as opened:
        encoder = Encoder(columns, opened.schema, where="table t", policy=policy, key=key)
        pieces = (piece for piece, _ in encoder.stream(opened.batches([c.source for c in columns])))
        sink = CopySink(
            conn,
            postgres_sql.copy_in(STAGE, columns),
            note=lambda _: None,
            where="x",
            cancel=CancelToken(),
        )
        assert sink.copy(pieces) == table.num_rows
    return dict(encoder.nul_bytes)


def fields_of(kind: Type) -> tuple[SourceField, ...]:
    inner = (kind.field("f"),)
    alone = (SourceField("n", "INT64", "REQUIRED"), kind.field("s"), kind.field("a", "REPEATED"))
    nested = (
        SourceField("st", "STRUCT", fields=inner),
        SourceField("sa", "STRUCT", "REPEATED", fields=inner),
    )
    return alone + nested if kind.in_struct else alone


def shard_of(kind: Type, form: Form) -> pa.Table:
    """One row a value, then one of NULL and empty arrays, one of a struct of NULL."""
    none = [None, None]
    values = [v.arrow for v in kind.values]
    n = pa.array(range(len(values) + 2), pa.int64())
    s = pa.array([*values, *none], kind.arrow)
    if RULES[kind.rule].array:
        element = pa.list_(pa.field("element", kind.arrow, nullable=False))
        a = pa.array([*([v, v] for v in values), [], []], element)
    else:
        a = pa.array([*(f"[{v},{v}]" for v in values), "[]", "[]"])
    if not kind.in_struct:
        return pa.table({"n": n, "s": s, "a": a})
    if form == "text":
        st: Any = [f'{{"f":{v.nested}}}' for v in kind.values] + [None, '{"f":null}']
        sa: Any = [f'[{{"f":{v.nested}}}]' for v in kind.values] + ["[]", '[{"f":null}]']
        return pa.table({"n": n, "s": s, "a": a, "st": pa.array(st), "sa": pa.array(sa)})
    struct = pa.struct([("f", kind.arrow)])
    st = pa.array([*({"f": v} for v in values), None, {"f": None}], struct)
    sa = pa.array([*([{"f": v}] for v in values), [], [{"f": None}]], pa.list_(struct))
    return pa.table({"n": n, "s": s, "a": a, "st": st, "sa": sa})


def golden(kind: Type) -> list[tuple[Any, ...]]:
    """What PostgreSQL must say: the columns' types, then row by row."""
    one_document = not RULES[kind.rule].array
    rows: list[tuple[Any, ...]] = [
        (
            v.pg,
            f"[{v.pg}, {v.pg}]" if one_document else [v.pg, v.pg],
            f'{{"f": {v.nested}}}',
            f'[{{"f": {v.nested}}}]',
        )
        for v in kind.values
    ]
    none: Any = "[]" if one_document else []
    rows += [(None, none, None, "[]"), (None, none, '{"f": null}', '[{"f": null}]')]
    types = (kind.pg, kind.pg_array, "jsonb", "jsonb")
    return [row[: 4 if kind.in_struct else 2] for row in (types, *rows)]


def said(conn: psycopg.Connection[Any], kind: Type) -> list[tuple[Any, ...]]:
    array = sql.SQL("a::text[]" if RULES[kind.rule].array else "a::text")
    nested = sql.SQL(", st::text, sa::text" if kind.in_struct else "")
    statement = sql.SQL("SELECT s::text, {}{} FROM {} ORDER BY n")
    stage = postgres_sql.identifier(STAGE)
    types = conn.execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'stage'::regclass AND attnum > 1 ORDER BY attnum"
    )
    found = tuple(row[0] for row in types)
    return [found, *conn.execute(statement.format(array, nested, stage)).fetchall()]


def land(
    conn: psycopg.Connection[Any],
    kind: Type,
    *,
    form: Form,
    rules: Mapping[str, TypeRule] = RULES,
) -> list[tuple[Any, ...]]:
    columns = map_columns(TABLE, fields_of(kind), rules=rules)
    carry(conn, shard_of(kind, form), columns)
    return said(conn, kind)


FORMS: list[tuple[Type, Form]] = [
    *[(kind, "text") for kind in TYPES],
    *[(kind, "bare") for kind in TYPES if RULES[kind.rule].select == "{}"],
]


def test_every_row_of_the_type_table_has_golden_values() -> None:
    # A STRUCT is proved in every type's table, by the columns st and sa.
    assert {kind.rule for kind in TYPES} == set(RULES) - {"STRUCT"}


@pytest.mark.parametrize(("kind", "form"), FORMS, ids=str)
def test_a_shard_lands_the_golden_values(kind: Type, form: Form, postgres_dsn: str) -> None:
    with connected(postgres_dsn) as conn:
        found = land(conn, kind, form=form)
    assert found == golden(kind)


def mutations() -> Iterator[tuple[str, str, TypeRule]]:
    """Each row of the type table with each of its cells made another's."""
    names = list(RULES)
    for at, (name, rule) in enumerate(RULES.items()):
        others = [RULES[names[(at + step) % len(names)]] for step in range(1, len(names))]
        other_type = next(o.pg_type for o in others if o.pg_type != rule.pg_type)
        yield name, "pg_type", replace(rule, pg_type=other_type)
        yield name, "wire", replace(rule, wire="numeric" if rule.wire == "jsonb" else "jsonb")
        yield name, "array", replace(rule, array=not rule.array)


@pytest.mark.parametrize(
    ("name", "broken"),
    [pytest.param(name, rule, id=f"{name} {cell}") for name, cell, rule in mutations()],
)
def test_a_broken_row_of_the_type_table_is_noticed(
    name: str, broken: TypeRule, postgres_dsn: str
) -> None:
    """The golden values would not pass if this row said something else."""
    proofs = [(k, f) for k, f in FORMS if name in (k.rule, "STRUCT")]
    with connected(postgres_dsn) as conn:
        noticed = [_noticed(conn, kind, form, {**RULES, name: broken}) for kind, form in proofs]
    assert any(noticed)


def _noticed(
    conn: psycopg.Connection[Any],
    kind: Type,
    form: Form,
    rules: Mapping[str, TypeRule],
) -> bool:
    try:
        return land(conn, kind, form=form, rules=rules) != golden(kind)
    except Exception:  # refused in whatever way is noticed as well
        return True
