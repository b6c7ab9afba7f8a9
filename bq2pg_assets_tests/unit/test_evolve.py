"""What becomes of a target whose columns are no longer the source's, pair by pair of types.

That the statements do what they promise is seen in integration/test_evolution.py.
"""

from dataclasses import replace
from typing import Any

import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.evolve import PgType, loaded, schema_changes
from bq2pg_assets.engine.model import (
    Column,
    ExportWay,
    Mode,
    SchemaChange,
    SourceField,
    TargetColumn,
    TargetFacts,
    TargetName,
)
from bq2pg_assets_tests.unit.planned import APPEND, FACTS, FIELDS, MERGE, OURS, THERE, plan_of
from bq2pg_assets_tests.unit.plans import ID, a_plan

STAMP, MOMENT = "timestamp without time zone", "timestamp with time zone"
TIME = "time without time zone"
ANY, NINE = "character varying", "character varying(9)"


def source(name: str, kind: str, *, not_null: bool = False, field: Any = None) -> Column:
    column = Column(name, name, "X", kind, not_null, f"`{name}`", True, "native", field=field)
    return replace(column, comment="it's new") if name == "new" else column


def there(name: str, kind: str = "text", **facts: bool) -> TargetColumn:
    facts = {"not_null": False, "has_default": False, **facts}
    return TargetColumn(name, kind, **facts)


def changes(
    columns: list[Column],
    target: list[TargetColumn],
    *,
    publish: Mode = Mode.APPEND,
    key: tuple[str, ...] = (),
    has_rows: bool = True,
    **config: Any,
) -> list[SchemaChange]:
    table = TableConfig.model_validate({"name": "t", "source": "d.t", **config})
    facts = TargetFacts("r", tuple(target), has_rows=has_rows, owned=True)
    return list(schema_changes(table, columns, facts, publish=publish, key=key))


def problems(columns: list[Column], target: list[TargetColumn], **asked: Any) -> list[str]:
    with pytest.raises(MappingError) as caught:
        changes(columns, target, **asked)
    assert not caught.value.retryable
    return list(caught.value.problems)


def verdict(have: str, want: str, policy: str) -> str:
    try:
        found = changes([source("c", want)], [there("c", have)], schema_changes=policy)
    except MappingError:
        return "refused"
    return found[0].kind if found else "fits"


# target, source, under evolve, under freeze
PAIRS = [
    ("bigint", "bigint", "fits", "fits"),
    ("bigint", "integer", "fits", "fits"),
    ("integer", "bigint", "widened", "fits"),
    ("smallint", "bigint", "widened", "fits"),
    ("numeric", "bigint", "fits", "fits"),
    ("numeric(19,0)", "bigint", "fits", "fits"),
    ("numeric(18,0)", "bigint", "fits", "fits"),  # one too large is an error
    ("numeric(38,9)", "bigint", "fits", "fits"),
    ("numeric(5,-2)", "bigint", "refused", "refused"),
    ("bigint", "numeric", "widened", "refused"),
    ("bigint", "numeric(38,9)", "widened", "refused"),
    ("bigint", "numeric(19,0)", "widened", "refused"),
    ("bigint", "numeric(20,2)", "refused", "refused"),
    ("integer", "numeric(12,2)", "widened", "refused"),
    ("smallint", "numeric(4,0)", "refused", "refused"),
    ("numeric(10,2)", "numeric(38,9)", "widened", "refused"),
    ("numeric(10,2)", "numeric(12,2)", "widened", "fits"),
    ("numeric(10,2)", "numeric(11,3)", "widened", "refused"),
    ("numeric(10,2)", "numeric(10,3)", "refused", "refused"),
    ("numeric(10,2)", "numeric", "widened", "refused"),
    ("numeric", "numeric(10,2)", "fits", "fits"),
    ("numeric(12,2)", "numeric(10,2)", "fits", "fits"),
    ("numeric(10,4)", "numeric(20,2)", "fits", "fits"),  # one too large is an error
    ("real", "double precision", "widened", "refused"),
    ("double precision", "real", "fits", "fits"),
    ("double precision", "numeric", "refused", "refused"),
    ("numeric", "double precision", "refused", "refused"),
    ("double precision", "bigint", "refused", "refused"),
    ("bigint", "double precision", "refused", "refused"),
    ("text", ANY, "fits", "fits"),
    (ANY, "text", "fits", "fits"),
    ("text", NINE, "fits", "fits"),
    (NINE, "text", "widened", "fits"),
    (NINE, ANY, "widened", "fits"),
    (NINE, "character varying(10)", "widened", "fits"),
    (NINE, "character varying(8)", "fits", "fits"),
    ("character(9)", "text", "widened", "refused"),  # filled with blanks
    ("character(9)", "character varying(9)", "widened", "refused"),
    ("character(9)", "character varying(8)", "refused", "refused"),
    ("text", "character(9)", "refused", "refused"),
    ("json", "jsonb", "fits", "fits"),
    ("jsonb", "json", "refused", "refused"),
    ("timestamp(3) with time zone", MOMENT, "widened", "refused"),
    ("timestamp(6) with time zone", MOMENT, "fits", "fits"),
    ("time(0) without time zone", TIME, "widened", "refused"),
    ("interval(3)", "interval", "widened", "refused"),
    ("interval day to second", "interval", "refused", "refused"),
    (STAMP, MOMENT, "refused", "refused"),
    (MOMENT, STAMP, "refused", "refused"),
    ("date", STAMP, "refused", "refused"),
    (STAMP, "date", "refused", "refused"),
    (MOMENT, "date", "refused", "refused"),
    ("text", "bigint", "refused", "refused"),
    ("bigint", "text", "refused", "refused"),
    ("text", "jsonb", "refused", "refused"),
    ("jsonb", "text", "refused", "refused"),
    ("boolean", "bigint", "refused", "refused"),
    ("uuid", "text", "refused", "refused"),
    ("bytea", "text", "refused", "refused"),
    ('public."my(type"', "text", "refused", "refused"),
    ("integer[]", "bigint[]", "widened", "fits"),
    ("bigint[]", "numeric(38,9)[]", "widened", "refused"),
    ("character varying(9)[]", "text[]", "widened", "fits"),
    ("timestamp(3) without time zone[]", f"{STAMP}[]", "widened", "refused"),
    ("bigint", "bigint[]", "refused", "refused"),
    ("text[]", "text", "refused", "refused"),
    ("jsonb", "jsonb", "fits", "fits"),
]


@pytest.mark.parametrize(("have", "want", "evolve", "freeze"), PAIRS)
def test_a_type_fits_is_widened_or_is_refused(
    have: str, want: str, evolve: str, freeze: str
) -> None:
    assert (verdict(have, want, "evolve"), verdict(have, want, "freeze")) == (evolve, freeze)
    assert verdict(have, want, "fail") == ("fits" if have == want else "refused")


def test_a_type_is_taken_apart_as_postgresql_spells_it() -> None:
    assert PgType.of("numeric(10,-2)[]") == PgType("numeric", (10, -2), True)
    assert PgType.of("timestamp(3) with time zone") == PgType(MOMENT, (3,))
    assert PgType.of("double precision") == PgType("double precision")
    assert PgType.of('"a ""b"" (1,2,3)"') == PgType('"a ""b"" (1,2,3)"')


def test_a_widened_column_has_the_sources_type() -> None:
    assert changes([source("c", "numeric(38,9)")], [there("c", "bigint")]) == [
        SchemaChange("widened", "c", "bigint", "numeric(38,9)")
    ]


@pytest.mark.parametrize(
    ("have", "length", "after"),
    [
        ("character varying(9)", 10, "character varying(10)"),
        ("character varying(9)", 9, None),
        ("character varying(9)", 8, None),
        ("character varying(9)", None, "text"),
        ("character(9)", 10, "text"),
        ("text", 10, None),
    ],
)
@pytest.mark.parametrize("array", ["", "[]"])
def test_a_length_in_bigquery_is_kept_where_the_target_has_one(
    have: str, length: int | None, after: str | None, array: str
) -> None:
    field = SourceField("c", "STRING", max_length=length)
    found = changes([source("c", f"text{array}", field=field)], [there("c", have + array)])
    expected = [SchemaChange("widened", "c", have + array, f"{after}{array}")] if after else []
    assert found == expected


@pytest.mark.parametrize(
    ("not_null", "has_rows", "after"),
    [
        (False, True, "text"),
        (True, True, "text"),
        (False, False, "text"),
        (True, False, "text NOT NULL"),
    ],
)
def test_a_new_column_is_added_and_may_be_null_where_rows_are(
    not_null: bool, has_rows: bool, after: str
) -> None:
    new = source("new", "text", not_null=not_null)
    assert changes([ID, new], [there("id", "bigint")], has_rows=has_rows) == [
        SchemaChange("added", "new", None, after)
    ]


def test_a_column_the_source_dropped_stays_and_loses_its_not_null() -> None:
    columns = [there("id", "bigint"), there("a"), there("b", not_null=True)]
    assert changes([ID], columns) == [
        SchemaChange("kept", "a", "text", "text"),
        SchemaChange("kept", "b", "text", "text"),
        SchemaChange("nullable", "b", "NOT NULL", "NULL"),
    ]


@pytest.mark.parametrize("policy", ["evolve", "freeze", "fail"])
def test_a_column_that_fills_itself_is_the_users_own(policy: str) -> None:
    own = [there("a", has_default=True), there("b", has_default=True, not_null=True)]
    assert changes([ID], [there("id", "bigint"), *own], schema_changes=policy) == []


@pytest.mark.parametrize("policy", ["evolve", "freeze", "fail"])
def test_a_missing_target_has_nothing_to_change(policy: str) -> None:
    table = TableConfig.model_validate({"name": "t", "source": "d.t", "schema_changes": policy})
    assert schema_changes(table, [ID], TargetFacts(None), publish=Mode.REPLACE) == ()


NULLABLE = [source("id", "bigint"), source("v", "text")]
REQUIRED_THERE = [there("id", "bigint", not_null=True), there("v", not_null=True)]


def test_required_that_became_nullable_loses_its_not_null_except_in_the_key() -> None:
    key: dict[str, Any] = {"publish": Mode.MERGE, "key": ("id",)}
    v = SchemaChange("nullable", "v", "NOT NULL", "NULL")
    assert changes(NULLABLE, REQUIRED_THERE, **key) == [v]
    stays = [replace(REQUIRED_THERE[0], not_null_stays=True), REQUIRED_THERE[1]]
    assert changes(NULLABLE, stays) == [v]
    assert changes(NULLABLE, stays, not_null=["v"]) == []
    assert changes(NULLABLE, REQUIRED_THERE, schema_changes="freeze") == []
    assert problems(NULLABLE, REQUIRED_THERE, schema_changes="fail", **key) == [
        "column v is NOT NULL in the target, NULLABLE in the source: "
        'ALTER TABLE "public"."t" ALTER COLUMN "v" DROP NOT NULL'
    ]


@pytest.mark.parametrize("policy", ["evolve", "freeze", "fail"])
def test_a_target_that_may_be_null_where_the_source_is_required_is_no_difference(
    policy: str,
) -> None:
    assert changes([ID], [there("id", "bigint")], schema_changes=policy) == []


def test_a_frozen_target_is_loaded_without_the_new_columns() -> None:
    columns = [ID, source("new", "text")]
    found = changes(columns, [there("id", "bigint"), there("a")], schema_changes="freeze")
    assert found == [
        SchemaChange("not_loaded", "new"),
        SchemaChange("kept", "a", "text", "text"),
    ]
    assert loaded(columns, found) == (ID,)


def test_every_problem_comes_with_its_statement() -> None:
    columns = [
        source('q"', "text"),
        source("b", "numeric(10,3)"),
        source("d", "bigint"),
        source("e", "bigint"),
    ]
    target = [
        there('q"', "uuid"),
        there("b", "numeric(10,2)"),
        there("d", "boolean"),
        there("e", "text"),
        there("gone", not_null=True, not_null_stays=True),
    ]
    alter = 'ALTER TABLE "public"."t"'
    assert problems(columns, target) == [
        f'column q" is uuid in the target, text from the source: {alter} ALTER COLUMN "q""" '
        'TYPE text USING "q"""::text',
        f"column b is numeric(10,2) in the target, numeric(10,3) from the source: {alter} "
        'ALTER COLUMN "b" TYPE numeric USING "b"::numeric',
        f"column d is boolean in the target, bigint from the source: {alter} "
        'DROP COLUMN "d", ADD COLUMN "d" bigint',
        f"column e is text in the target, bigint from the source: {alter} "
        'ALTER COLUMN "e" TYPE bigint USING "e"::bigint',
        "column gone of the target is NOT NULL without a default, and the source lacks it: "
        f'{alter} DROP COLUMN "gone"',
    ]


def test_a_frozen_target_refuses_what_it_could_not_hold() -> None:
    columns = [source("at", MOMENT), source("id", "bigint"), source("n", "numeric(38,9)")]
    target = [there("n", "bigint"), there("gone", not_null=True)]
    found = problems(columns, target, key=("id",), **APPEND, schema_changes="freeze")
    alter = 'ALTER TABLE "public"."t"'
    assert found == [
        f'column at ({MOMENT}) is missing in the target: {alter} ADD COLUMN "at" {MOMENT}',
        f'column id (bigint) is missing in the target: {alter} ADD COLUMN "id" bigint',
        f"column n is bigint in the target, numeric(38,9) from the source: {alter} "
        'ALTER COLUMN "n" TYPE numeric(38,9) USING "n"::numeric(38,9)',
        "column gone of the target is NOT NULL without a default, and the source lacks it: "
        f'{alter} ALTER COLUMN "gone" DROP NOT NULL',
    ]
    assert problems([ID], [there("x")], schema_changes="freeze") == [
        "the target has none of the source's columns"
    ]


def test_fail_refuses_every_difference() -> None:
    columns = [source("id", "bigint"), source("new", "text")]
    target = [there("id", "numeric"), there("gone")]
    assert [p.partition(": ")[0] for p in problems(columns, target, schema_changes="fail")] == [
        "column id is numeric in the target, bigint from the source",
        "column new (text) is missing in the target",
        "column gone of the target is missing in the source",
    ]


def test_a_key_cannot_be_added_to_rows_that_have_none() -> None:
    asked: dict[str, Any] = {"key": ("id",), **MERGE}
    (found,) = problems([ID, source("v", "text")], [there("v")], publish=Mode.MERGE, **asked)
    assert found == (
        "column id (bigint) is missing in the target, whose rows cannot be told apart without "
        'this key: DROP TABLE IF EXISTS "public"."t"'
    )
    full = changes([ID, source("v", "text")], [there("v")], publish=Mode.REPLACE, **asked)
    assert [c.kind for c in full] == ["added"]


@pytest.mark.parametrize(
    ("policy", "way_out"),
    [
        ("evolve", "columns: {its name: {name: new_name}}"),
        ("freeze", "schema_changes: evolve"),
        ("fail", r"schema_changes: evolve \(or freeze\)"),
    ],
)
def test_the_way_out_fits_the_policy(policy: str, way_out: str) -> None:
    with pytest.raises(MappingError, match=way_out):
        changes([ID], [there("id", "text")], schema_changes=policy)


def test_a_plan_carries_the_changes_and_the_columns_that_are_loaded() -> None:
    facts = replace(FACTS, fields=(*FIELDS, SourceField("new", "STRING")))
    evolved = plan_of(APPEND, facts=facts)
    assert evolved.changes == (SchemaChange("added", "new", None, "text"),)
    assert [c.name for c in evolved.columns] == ["id", "at", "new"]
    frozen = plan_of({"schema_changes": "freeze"}, stored=None, facts=facts)
    assert frozen.changes == (SchemaChange("not_loaded", "new"),)
    assert [c.name for c in frozen.columns] == ["id", "at"]
    assert frozen.way is ExportWay.EXTRACT  # which reads the column and costs nothing
    assert plan_of(APPEND, replace(OURS, columns=THERE)).changes == ()


def test_the_changes_are_one_statement_and_the_comments_of_new_columns() -> None:
    plan = a_plan(
        target=TargetName("My", "t"),
        columns=(ID, source("new", "text")),
        changes=(
            SchemaChange("added", "new", None, "text NOT NULL"),
            SchemaChange("widened", 'i"', "bigint", "numeric"),
            SchemaChange("kept", "old", "text", "text"),
            SchemaChange("nullable", "old", "NOT NULL", "NULL"),
            SchemaChange("not_loaded", "x"),
        ),
    )
    assert [s.as_string() for s in postgres_sql.evolve_target(plan)] == [
        'ALTER TABLE "My"."t" ADD COLUMN "new" text NOT NULL, '
        'ALTER COLUMN "i""" TYPE numeric, ALTER COLUMN "old" DROP NOT NULL',
        'COMMENT ON COLUMN "My"."t"."new" IS \'it\'\'s new\'',
    ]
    assert postgres_sql.evolve_target(replace(plan, changes=plan.changes[2:3])) == []


def test_a_change_reads_as_a_sentence() -> None:
    said = [
        str(SchemaChange("added", "c", None, "text")),
        str(SchemaChange("widened", "c", "bigint", "numeric")),
        str(SchemaChange("nullable", "c", "NOT NULL", "NULL")),
        str(SchemaChange("kept", "c", "text", "text")),
        str(SchemaChange("not_loaded", "c")),
    ]
    assert said == [
        "c is added as text",
        "c is widened from bigint to numeric",
        "c may be NULL from now on",
        "c stays, NULL in new rows: the source lacks it",
        "c is not loaded: the target lacks it",
    ]
