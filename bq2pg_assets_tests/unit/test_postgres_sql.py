"""The SQL for PostgreSQL, to the letter, under names that want to be quoted.

The statements run against a real server in the integration tests; here it is what they say.
"""

from collections.abc import Sequence

import pytest
from psycopg import sql

from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.model import Column, Cursor, Mode, RunId, TargetName
from bq2pg_assets_tests.unit.plans import AT, ID, a_plan

STAGE = TargetName("bq2pg", "stage_t")
ODD = 'Select "x"; --'
COLUMNS = (
    Column(ODD, "a", "STRING", "text", False, "`a`", True, "native", comment="it's \\ 100 %"),
    Column("id", "id", "NUMERIC", "numeric(10,2)[]", True, "`id`", True, "native"),
)
PLAN = a_plan(columns=COLUMNS, target=TargetName("My Schema", "order"))
QUOTED, TARGET = '"Select ""x""; --"', '"My Schema"."order"'


def texts(statements: Sequence[sql.Composed]) -> list[str]:
    return [s.as_string() for s in statements]


@pytest.mark.parametrize(("creates", "kind"), [(True, "TABLE"), (False, "UNLOGGED TABLE")])
def test_staging_is_logged_only_where_it_becomes_the_target(creates: bool, kind: str) -> None:
    plan = a_plan(columns=COLUMNS, target=PLAN.target, creates_target=creates)
    assert texts(postgres_sql.create_stage(plan, STAGE)) == [
        f'CREATE {kind} "bq2pg"."stage_t" (\n  {QUOTED} text,\n  "id" numeric(10,2)[] NOT NULL\n)',
        'COMMENT ON TABLE "bq2pg"."stage_t" IS \'bq2pg staging of My Schema.order\'',
    ]


def test_copy_names_its_columns() -> None:
    assert postgres_sql.copy_in(STAGE, COLUMNS).as_string() == (
        f'COPY "bq2pg"."stage_t" ({QUOTED}, "id") FROM STDIN (FORMAT BINARY)'
    )


def test_the_new_target_gets_its_key_and_its_comments() -> None:
    plan = a_plan(columns=COLUMNS, target=PLAN.target, key=("id", ODD))
    assert texts(postgres_sql.finish_target(plan)) == [
        f'ALTER TABLE {TARGET} ADD PRIMARY KEY ("id", {QUOTED})',
        f"COMMENT ON TABLE {TARGET} IS 'Copied from BigQuery by bq2pg: t'",
        f"COMMENT ON COLUMN {TARGET}.{QUOTED} IS  E'it''s \\\\ 100 %'",
    ]
    assert len(postgres_sql.finish_target(a_plan())) == 1


def test_a_description_takes_the_place_of_the_usual_comment() -> None:
    assert texts(postgres_sql.finish_target(a_plan(comment="it's"))) == [
        "COMMENT ON TABLE \"public\".\"t\" IS 'it''s'"
    ]


def test_staging_moves_and_is_renamed() -> None:
    assert texts(postgres_sql.become_target(STAGE, PLAN.target)) == [
        'ALTER TABLE "bq2pg"."stage_t" SET SCHEMA "My Schema"',
        'ALTER TABLE "My Schema"."stage_t" RENAME TO "order"',
    ]


def test_rows_are_inserted_by_column_name() -> None:
    assert postgres_sql.insert(PLAN, STAGE).as_string() == (
        f'INSERT INTO {TARGET} ({QUOTED}, "id") SELECT {QUOTED}, "id" FROM "bq2pg"."stage_t"'
    )
    assert postgres_sql.delete_all(PLAN.target).as_string() == f"DELETE FROM {TARGET}"


@pytest.mark.parametrize(
    ("columns", "cursor", "statement"),
    [
        (
            (ID, AT),
            Cursor("at", "TIMESTAMP"),
            'INSERT INTO "public"."t" ("id", "at") SELECT DISTINCT ON ("id") "id", "at" '
            'FROM "bq2pg"."stage_t" ORDER BY "id", "at" DESC NULLS LAST '
            'ON CONFLICT ("id") DO UPDATE SET "at" = EXCLUDED."at"',
        ),
        (
            (ID,),
            None,
            'INSERT INTO "public"."t" ("id") SELECT DISTINCT ON ("id") "id" '
            'FROM "bq2pg"."stage_t" ORDER BY "id" ON CONFLICT ("id") DO NOTHING',
        ),
    ],
)
def test_a_merge_keeps_the_newest_row_of_a_key(
    columns: tuple[Column, ...], cursor: Cursor | None, statement: str
) -> None:
    plan = a_plan(columns=columns, cursor=cursor, key=("id",), publish=Mode.MERGE)
    assert postgres_sql.merge(plan, STAGE).as_string() == statement


@pytest.mark.parametrize(
    ("cursor", "order"),
    [(Cursor("at", "TIMESTAMP"), ' ORDER BY "at" DESC NULLS LAST'), (None, "")],
)
def test_a_first_load_by_key_keeps_the_newest_row_of_a_key(
    cursor: Cursor | None, order: str
) -> None:
    plan = a_plan(cursor=cursor, key=("id",))
    assert postgres_sql.keep_newest(plan, STAGE).as_string() == (
        'DELETE FROM "bq2pg"."stage_t" AS s USING (SELECT ctid, row_number() OVER '
        f'(PARTITION BY "id"{order}) AS n FROM "bq2pg"."stage_t") AS d '
        "WHERE s.ctid = d.ctid AND d.n > 1"
    )


def test_questions_to_the_staging_table() -> None:
    assert postgres_sql.newest(STAGE, ODD).as_string() == (
        f'SELECT max({QUOTED}), count(*) - count({QUOTED}) FROM "bq2pg"."stage_t"'
    )
    assert postgres_sql.drop(STAGE).as_string() == 'DROP TABLE IF EXISTS "bq2pg"."stage_t"'
    assert postgres_sql.analyze(PLAN.target).as_string() == f"ANALYZE {TARGET}"


def test_the_cursor_column_is_called_by_its_name_in_postgresql() -> None:
    renamed = Column("New", "at", "DATE", "date", False, "`at`", True, "native")
    plan = a_plan(columns=(ID, renamed), cursor=Cursor("at", "DATE"))
    assert postgres_sql.cursor_name(plan) == "New"
    assert postgres_sql.cursor_name(a_plan()) is None


@pytest.mark.parametrize("table", ["t", "T" * 63, "é" * 31, "🐘" * 15, 'a"b', "select"])
def test_a_staging_name_fits_and_starts_with_the_targets(table: str) -> None:
    stage = postgres_sql.stage_name(TargetName("s", table), schema="bq2pg", run=RunId("r"))
    assert stage.schema == "bq2pg"
    assert len(stage.table.encode()) <= 63
    head, _, digest = stage.table.removeprefix("stage_").rpartition("_")
    assert head
    assert table.startswith(head)
    assert len(digest) == 16


def test_no_two_attempts_and_no_two_targets_share_a_staging_name() -> None:
    long = "x" * 62
    targets = [TargetName(s, t) for s in ("a", "b") for t in ("t", f"{long}1", f"{long}2", "a.t")]
    runs = [RunId(r, n) for r in ("r", "r-0") for n in (0, 1)]
    names = [postgres_sql.stage_name(t, schema="bq2pg", run=r) for t in targets for r in runs]
    assert len(set(names)) == len(names)
    again = postgres_sql.stage_name(targets[0], schema="bq2pg", run=runs[0])
    assert again == names[0]
