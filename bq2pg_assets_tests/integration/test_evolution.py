"""A source whose columns change between two runs, and what its target is afterwards.

Belongs here: changes through a whole sync, and every pair of types against a real server: what is
accepted keeps each value, and what is refused is told a statement that heals it. Does not: the
table of pairs (unit/test_evolve.py).
"""

import itertools
import json
import logging
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, date
from decimal import Decimal
from typing import Any, LiteralString, cast

import psycopg
import pytest
from google.cloud import bigquery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from bq2pg_assets.cli.plan_text import plan_json, plan_lines
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.metadata import result_metadata
from bq2pg_assets.engine import evolve, postgres_sql
from bq2pg_assets.engine.errors import MappingError, TargetError
from bq2pg_assets.engine.model import (
    Column,
    Mode,
    RunId,
    RunOptions,
    SchemaChange,
    TargetColumn,
    TargetFacts,
    TargetName,
)
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.results import SyncResult
from bq2pg_assets.engine.sync import plan_table
from bq2pg_assets_tests.integration.helpers import Snapshot, World, moment, refused
from bq2pg_assets_tests.unit.plans import a_plan

Field = bigquery.SchemaField
ID, AT = Field("id", "INT64", "REQUIRED"), Field("max_ingested_at", "TIMESTAMP")
MODES: list[dict[str, Any]] = [{"mode": "append"}, {"mode": "merge", "key": ["id"]}]
both_modes = pytest.mark.parametrize("how", MODES, ids=["append", "merge"])
DAY = "TIMESTAMP '2024-01-0{} 10:00:00+00'"
STAYS = ("public.t", moment("2024-01-01T10:00:00"))


def make(world: World, fields: Sequence[bigquery.SchemaField], *rows: str) -> None:
    """The source anew, with these columns between id and max_ingested_at; one row a day."""
    name = f"{world.client.project}.{world.dataset}.source"
    world.client.delete_table(name, not_found_ok=True)
    world.client.create_table(bigquery.Table(name, [ID, *fields, AT]))
    values = (f"({n}, {row}{DAY.format(n)})" for n, row in enumerate(rows, 1))
    world.bq(f"INSERT INTO {{d}}.source VALUES {', '.join(values)}")


def columns(world: World) -> dict[str, tuple[str, bool]]:
    """Each column of the target: its type and whether it is NOT NULL."""
    found = world.pg(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return {name: (kind, not_null) for name, kind, not_null in found}


def told(world: World) -> Any:
    return world.history()[-1]["schema_changes"]


@both_modes
def test_a_new_column_comes_with_its_rows_and_is_null_in_the_old_ones(
    world: World, how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    make(world, [], "")
    world.sync(**how)
    assert told(world) == []
    make(world, [Field("new", "STRING", "REQUIRED", description="it's new")], "'a', ", "'b', ")
    with caplog.at_level(logging.INFO, logger="bq2pg_assets"):
        result = world.sync(**how)
    change = SchemaChange("added", "new", None, "text")
    assert (result.rows, result.schema_changes) == (1, (change,))
    assert "target public.t: column new is added as text" in caplog.messages
    assert told(world) == [{"kind": "added", "column": "new", "before": None, "after": "text"}]
    assert world.pg("SELECT id, new FROM t ORDER BY 1") == [(1, None), (2, "b")]
    assert columns(world)["new"] == ("text", False)
    comment = "SELECT col_description('t'::regclass, attnum) FROM pg_attribute "
    assert world.pg(f"{comment} WHERE attrelid = 't'::regclass AND attname = 'new'") == [
        ("it's new",)
    ]
    assert world.cursor() == moment("2024-01-02T10:00:00")
    world.no_leftovers()


@both_modes
def test_a_widened_column_holds_old_and_new_values(world: World, how: dict[str, Any]) -> None:
    before = [Field("n", "INT64"), Field("d", "NUMERIC", precision=4, scale=2)]
    make(world, [*before, Field("l", "INT64", "REPEATED")], "9223372036854775807, 12.34, [1, 2], ")
    world.sync(**how)
    after = [Field("n", "NUMERIC"), Field("d", "NUMERIC", precision=20, scale=4)]
    row = "NUMERIC '0.000000001', NUMERIC '1234567.0001', [NUMERIC '0.5'], "
    make(world, [*after, Field("l", "NUMERIC", "REPEATED")], row, row)
    result = world.sync(**how)
    assert {c.kind for c in result.schema_changes} == {"widened"}
    assert [columns(world)[c][0] for c in ("n", "d", "l")] == [
        *("numeric(38,9)", "numeric(20,4)", "numeric(38,9)[]"),
    ]
    assert world.pg("SELECT n, d, l FROM t ORDER BY id") == [
        (Decimal(2**63 - 1), Decimal("12.34"), [1, 2]),
        (Decimal("0.000000001"), Decimal("1234567.0001"), [Decimal("0.5")]),
    ]
    assert world.sync(**how).schema_changes == ()
    world.no_leftovers()


def test_a_length_grows_with_bigquerys(world: World) -> None:
    world.pg("CREATE TABLE t (id bigint, v varchar(3), w varchar(3), max_ingested_at timestamptz)")
    lengths = [Field("v", "STRING", max_length=5), Field("w", "STRING", max_length=3)]
    make(world, lengths, "'abcde', 'abc', ")
    (change,) = world.sync(mode="append").schema_changes
    assert change == SchemaChange("widened", "v", "character varying(3)", "character varying(5)")
    assert world.pg("SELECT v, w FROM t") == [("abcde", "abc")]


def test_a_widened_key_still_tells_rows_apart(world: World) -> None:
    world.sync(query=f"SELECT 1 AS id, 'a' AS v, {DAY.format(1)} AS max_ingested_at", **MODES[1])
    rows = ", ".join(f"(NUMERIC '{n}', 'b', {DAY.format(2)})" for n in ("1", "1.5"))
    struct = "STRUCT<id NUMERIC, v STRING, max_ingested_at TIMESTAMP>"
    world.sync(query=f"SELECT * FROM UNNEST(ARRAY<{struct}>[{rows}])", **MODES[1])
    assert columns(world)["id"] == ("numeric(38,9)", True)
    assert world.pg("SELECT id, v FROM t ORDER BY 1") == [(1, "b"), (Decimal("1.5"), "b")]


@both_modes
def test_a_dropped_column_stays_and_is_null_in_new_rows(world: World, how: dict[str, Any]) -> None:
    make(world, [Field("old", "STRING", "REQUIRED")], "'a', ")
    world.sync(**how)
    make(world, [], "", "")
    result = world.sync(**how)
    assert [c.kind for c in result.schema_changes] == ["kept", "nullable"]
    assert world.pg("SELECT id, old FROM t ORDER BY 1") == [(1, "a"), (2, None)]


@both_modes
def test_required_that_became_nullable_takes_null(world: World, how: dict[str, Any]) -> None:
    make(world, [Field("v", "STRING", "REQUIRED")], "'a', ")
    world.sync(**how)
    assert columns(world)["v"] == ("text", True)
    make(world, [Field("v", "STRING")], "'a', ", "NULL, ")
    world.sync(**how)
    assert world.pg("SELECT id, v FROM t ORDER BY 1") == [(1, "a"), (2, None)]
    assert columns(world) == {
        "id": ("bigint", True),
        "v": ("text", False),
        "max_ingested_at": ("timestamp with time zone", False),
    }


def test_a_full_load_changes_the_columns_of_an_existing_table_too(world: World) -> None:
    make(world, [Field("v", "STRING")], "'a', ")
    world.sync()
    make(world, [Field("n", "FLOAT64")], "0.5, ")
    assert [c.kind for c in world.sync().schema_changes] == ["added", "kept"]
    assert world.pg("SELECT id, v, n FROM t") == [(1, None, 0.5)]


@both_modes
def test_a_changed_type_is_refused_with_the_statement_that_heals_it(
    world: World, how: dict[str, Any]
) -> None:
    make(world, [Field("v", "STRING"), Field("n", "NUMERIC")], "'7', 1.5, ")
    world.sync(**how)
    make(world, [Field("v", "INT64"), Field("n", "FLOAT64")], "7, 1.5, ", "8, 2.5, ")
    error = refused(
        world,
        MappingError,
        says="column v is text in the target, bigint from the source",
        way_out="columns: {its name: {name: new_name}}",
        retryable=False,
        **how,
    )
    assert isinstance(error, MappingError)
    assert columns(world)["v"] == ("text", False)
    assert world.pg("SELECT * FROM sync_state") == [STAYS]
    for problem in error.problems:
        world.pg(problem.partition("source: ")[2])
    world.sync(**how)
    assert world.pg("SELECT v, n FROM t ORDER BY id") == [(7, 1.5), (8, 2.5)]


@both_modes
def test_a_frozen_target_is_loaded_as_far_as_it_goes(world: World, how: dict[str, Any]) -> None:
    make(world, [Field("a", "STRING"), Field("b", "INT64")], "'x', 1, ")
    world.sync(**how)
    before = columns(world)
    make(world, [Field("b", "INT64"), Field("c", "JSON")], "1, JSON '1', ", "2, JSON '2', ")
    result = world.sync(**how, schema_changes="freeze")
    assert [c.kind for c in result.schema_changes] == ["not_loaded", "kept"]
    assert told(world)[0] == {
        "kind": "not_loaded",
        "column": "c",
        "before": None,
        "after": None,
    }
    assert columns(world) == before
    assert world.pg("SELECT a, b FROM t ORDER BY id") == [("x", 1), (None, 2)]
    make(world, [Field("b", "NUMERIC")], "1, ", "2, ", "3, ")
    refused(
        world,
        MappingError,
        says="column b is bigint in the target, numeric(38,9) from the source",
        way_out="schema_changes: evolve",
        retryable=False,
        **how,
        schema_changes="freeze",
    )
    world.no_leftovers()


@pytest.mark.parametrize("export", ["extract", "export_data"])
def test_a_full_load_of_a_frozen_target_leaves_the_new_column_behind(
    world: World, export: str
) -> None:
    make(world, [], "")
    world.sync()
    make(world, [Field("new", "STRING")], "'a', ", "'b', ")
    world.sync(schema_changes="freeze", export=export)
    assert world.pg("SELECT id FROM t ORDER BY 1") == [(1,), (2,)]
    assert "new" not in columns(world)


def test_fail_stops_at_the_first_difference(world: World) -> None:
    make(world, [], "")
    world.sync(mode="append", schema_changes="fail")
    world.pg("ALTER TABLE t ADD mine bigint GENERATED ALWAYS AS IDENTITY, ADD by text DEFAULT 'me'")
    make(world, [], "", "")
    assert world.sync(mode="append", schema_changes="fail").rows == 1
    make(world, [Field("new", "STRING")], "'a', ", "'b', ", "'c', ")
    refused(
        world,
        MappingError,
        says='"public"."t" ADD COLUMN "new" text',
        way_out="schema_changes: evolve (or freeze)",
        retryable=False,
        mode="append",
        schema_changes="fail",
    )


@both_modes
def test_a_publish_that_fails_takes_the_new_column_back(world: World, how: dict[str, Any]) -> None:
    make(world, [Field("n", "INT64")], "1, ")
    world.sync(**how)
    before = columns(world)
    world.pg("ALTER TABLE t ADD CHECK (n < 2)")
    row = "2, 'x', "
    make(world, [Field("n", "NUMERIC"), Field("new", "STRING")], row, row)
    refused(
        world,
        TargetError,
        says="violates check constraint",
        way_out="A CHECK of the target",
        retryable=False,
        **how,
    )
    assert columns(world) == before
    assert world.pg("SELECT * FROM sync_state") == [STAYS]
    assert [h["outcome"] for h in world.history()] == ["loaded", "failed"]
    assert told(world) is None


def test_a_view_on_a_column_to_be_widened_is_named_with_a_way_out(world: World) -> None:
    make(world, [Field("n", "INT64")], "1, ")
    world.sync(mode="append")
    world.pg("CREATE VIEW twice AS SELECT 2 * n AS n FROM t")
    make(world, [Field("n", "NUMERIC"), Field("new", "STRING")], "1, 'a', ", "2.5, 'b', ")
    error = refused(
        world,
        TargetError,
        says='used by a view or rule (rule _RETURN on view twice depends on column "n")',
        way_out="dropped before the run and created again after it; schema_changes: freeze",
        retryable=False,
        mode="append",
    )
    assert isinstance(error, TargetError)
    assert error.sqlstate == "0A000"
    assert "new" not in columns(world)


def test_a_plan_tells_the_changes_and_makes_none(world: World) -> None:
    make(world, [], "")
    world.sync(mode="append")
    make(world, [Field("new", "STRING")], "'a', ", "'b', ")
    before = Snapshot.of(world), columns(world)
    plan, estimate = plan_table(
        world.table(mode="append"),
        source=world.source(),
        target=world.target(),
        run=RunId(uuid.uuid4().hex),
    )
    assert "  schema     new is added as text" in plan_lines(plan, estimate, verbose=False)
    assert json.loads(json.dumps(plan_json(plan, estimate)))["changes"] == [
        {"kind": "added", "column": "new", "before": None, "after": "text"}
    ]
    assert (Snapshot.of(world), columns(world)) == before


def test_nothing_new_changes_nothing_yet(world: World) -> None:
    make(world, [], "")
    world.sync(mode="append")
    make(world, [Field("new", "STRING")], "'a', ")
    assert world.sync(mode="append").schema_changes == ()
    assert "new" not in columns(world)
    assert told(world) == []


def test_the_assets_metadata_tells_what_changed(world: World) -> None:
    def shown(result: SyncResult) -> Any:
        found = result_metadata(
            result, options=RunOptions(), source_key=None, project="p", uri="postgresql://h/d"
        )
        return found["schema_changes"].value if "schema_changes" in found else None

    make(world, [Field("old", "INT64")], "1, ")
    assert shown(world.sync()) is None
    make(world, [Field("new", "STRING")], "'a', ")
    lines = "- new is added as text\n- old stays, NULL in new rows: the source lacks it"
    assert shown(world.sync()) == lines


# Types as PostgreSQL spells them, and their values.
def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda n: Decimal(f"{n}e-{scale}"))  # never rounds


def _texts(most: int) -> st.SearchStrategy[str]:
    # Blanks at the end are cut by character varying(n), as the SQL standard wants it.
    letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return st.text(letters, max_size=most).map(lambda text: text.rstrip(" "))


FINITE = st.floats(allow_nan=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "numeric": _decimals(60, 30),
    "numeric(5,0)": _decimals(5, 0),
    "numeric(10,2)": _decimals(10, 2),
    "numeric(12,4)": _decimals(12, 4),
    "numeric(38,9)": _decimals(38, 9),
    "real": st.floats(width=32, allow_nan=False),
    "double precision": FINITE,
    "boolean": st.booleans(),
    "text": _texts(12),
    "character varying": _texts(12),
    "character varying(5)": _texts(5),
    "character varying(9)": _texts(9),
    "character(4)": _texts(4),
    "bytea": st.binary(max_size=9),
    "date": st.dates(min_value=date(1900, 1, 1)),
    "time without time zone": st.times(),
    "time(2) without time zone": st.times().map(lambda t: t.replace(microsecond=120_000)),
    "timestamp without time zone": st.datetimes(),
    "timestamp(3) without time zone": st.datetimes().map(lambda d: d.replace(microsecond=5_000)),
    "timestamp with time zone": st.datetimes(timezones=st.just(UTC)),
    "json": st.integers() | st.booleans(),
    "jsonb": st.integers() | st.booleans(),
}
TYPES = [*VALUES, *(f"{kind}[]" for kind in VALUES)]
POLICIES = ["evolve", "freeze"]


def _table(policy: str) -> TableConfig:
    return TableConfig.model_validate({"name": "t", "source": "d.t", "schema_changes": policy})


def _source(kind: str, name: str = "c") -> Column:
    return Column(name, name, "X", kind, False, f"`{name}`", True, "native")


def _changes(have: str, want: str, policy: str) -> tuple[SchemaChange, ...]:
    """Raises MappingError."""
    there = TargetFacts("r", (TargetColumn("c", have, False, False),), True, True)
    return evolve.schema_changes(_table(policy), [_source(want)], there, publish=Mode.APPEND)


def _accepted(have: str, want: str, policy: str) -> bool:
    try:
        _changes(have, want, policy)
    except MappingError:
        return False
    return True


PAIRS = [
    (have, want, policy)
    for have, want, policy in itertools.product(TYPES, TYPES, POLICIES)
    if have != want and _accepted(have, want, policy)
]
REFUSED = [
    (have, want)
    for have, want in itertools.product(TYPES, TYPES)
    if not _accepted(have, want, "evolve")
]


def _values(kind: str) -> st.SearchStrategy[Any]:
    one = VALUES[kind.removesuffix("[]")]
    return st.lists(one, max_size=3) if kind.endswith("[]") else one


@st.composite
def _cases(draw: st.DrawFn) -> tuple[str, str, str, Any, Any]:
    have, want, policy = draw(st.sampled_from(PAIRS))
    return have, want, policy, draw(_values(have)), draw(_values(want))


def _bound(kind: str, value: Any) -> Any:
    if kind.startswith("json"):
        return json.dumps(value) if not kind.endswith("[]") else [json.dumps(v) for v in value]
    return value


def _make(conn: psycopg.Connection[Any], name: TargetName, kind: str, n: int, value: Any) -> None:
    """A table of one row."""
    conn.execute(
        sql.SQL("CREATE TEMP TABLE {} (n int, c {})").format(
            sql.Identifier(name.table), sql.SQL(cast(LiteralString, kind))
        )
    )
    conn.execute(
        sql.SQL("INSERT INTO {} VALUES (%s, %s::{})").format(
            sql.Identifier(name.table), sql.SQL(cast(LiteralString, kind))
        ),
        [n, _bound(kind, value)],
    )


@settings(
    max_examples=300,
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=_cases())
def test_what_is_accepted_keeps_every_value_or_is_an_error(
    postgres_dsn: str, case: tuple[str, str, str, Any, Any]
) -> None:
    have, want, policy, old, new = case
    changes = _changes(have, want, policy)
    columns = (_source("integer", "n"), _source(want))
    target, stage = TargetName("pg_temp", "t"), TargetName("pg_temp", "stage")
    plan = a_plan(target=target, columns=columns, changes=changes)
    with PostgresTarget(postgres_dsn).connection(name="test") as conn:
        _make(conn, target, have, 0, old)
        _make(conn, stage, want, 1, new)
        for statement in postgres_sql.evolve_target(plan):
            conn.execute(statement)
        expected, too_large = {0: old, 1: new}, None
        try:
            conn.execute(postgres_sql.insert(plan, stage))
        except psycopg.DataError as error:
            expected, too_large = {0: old}, error.sqlstate
        assert dict(conn.execute("SELECT n, c FROM pg_temp.t").fetchall()) == expected
    # A type that was widened holds everything.
    assert too_large is None or (too_large in ("22003", "22001") and not changes)


@pytest.mark.parametrize("kind", ["", "[]"])
def test_every_refusal_names_a_statement_that_heals_it(postgres_dsn: str, kind: str) -> None:
    pairs = [(h, w) for h, w in REFUSED if h.endswith("[]") == bool(kind)]
    assert len(pairs) > 400
    with PostgresTarget(postgres_dsn).connection(name="test") as conn:
        for have, want in pairs:
            with pytest.raises(MappingError) as caught:
                _changes(have, want, "evolve")
            (problem,) = caught.value.problems
            conn.execute(cast(LiteralString, f"CREATE TABLE t (c {have})"))
            conn.execute(cast(LiteralString, problem.partition("source: ")[2]))
            after = conn.execute(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = 't'::regclass AND attname = 'c'"
            ).fetchone()
            assert after is not None
            assert _changes(after[0], want, "evolve") == ()
            conn.execute("DROP TABLE t")
