"""Hostile names and texts are data everywhere: nothing else is created, dropped or read.

Belongs here: every place where a text from outside reaches BigQuery, Cloud Storage or PostgreSQL.
Does not belong here: names that merely do not fit (test_bad_input.py). BigQuery refuses most such
names itself; for those the built statement is looked at instead of sent.
"""

import pytest
import sqlglot
from google.cloud import bigquery
from psycopg import sql
from pydantic import ValidationError
from sqlglot import exp

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import export_sql
from bq2pg_assets.engine.errors import Bq2pgError, ConfigError
from bq2pg_assets.engine.model import RunId, RunOptions, SourceField, TargetName
from bq2pg_assets.engine.postgres_sql import identifier, stage_name
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.typemap import map_columns
from bq2pg_assets_tests.integration.helpers import World

EVIL = [
    'x"; DROP TABLE victim; --',
    "x'; DROP TABLE victim; --",
    "x`; DROP TABLE victim; --",
    "x\\'; DROP TABLE victim; --",
    "x\n; DROP TABLE victim; --",
    "%s %(a)s {} {0}",
    "$$; DROP TABLE victim; $$",
    '"" "',
]
ESCAPES = [
    "1) OR (1=1",
    "TRUE) UNION ALL (SELECT 1",
    "TRUE; DROP TABLE victim",
    "TRUE) LIMIT 1 --",
    "TRUE) /*",
    "EXISTS (SELECT 1",
    "TRUE)) AS x, (SELECT (1",
    "DELETE FROM victim",
]


@pytest.fixture
def guarded(world: World) -> World:
    """A world with something to lose on both sides."""
    world.pg("CREATE TABLE victim (id bigint); INSERT INTO victim VALUES (1)")
    world.make_source("SELECT 1 AS id, 'a' AS v")
    world.make_source("SELECT 1 AS id", name="victim")
    return world


def unharmed(world: World, *more: str) -> None:
    """Nothing but what was meant is there."""
    tables = world.pg(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE relkind IN ('r', 'v', 'm', 'S', 'f') AND nspname !~ '^(pg_|information_schema)' "
        "AND relname NOT LIKE 'sync%%' AND relname <> 'staged_shards'"
    )
    assert sorted(row[0] for row in tables) == sorted(["victim", *more])
    assert world.rows("victim") == [(1,)]
    there = {table.table_id for table in world.client.list_tables(world.dataset)}
    assert there == {"source", "victim"}


def test_hostile_schemas_tables_and_columns_of_the_target_are_names(guarded: World) -> None:
    for evil in EVIL:
        target = ".".join('"' + part.replace('"', '""') + '"' for part in (evil, f"{evil}t"))
        columns = {"id": {"name": evil}, "v": {"name": f"{evil}%"}}
        settings = {"query": "SELECT 1 AS id, 'a' AS v", "cursor": None, "columns": columns}
        guarded.sync(mode="merge", key=["id"], target=target, **settings)
        guarded.sync(mode="merge", key=["id"], target=target, **settings)
        names = [sql.Identifier(evil), sql.Identifier(f"{evil}%"), sql.Identifier(evil, f"{evil}t")]
        statement = sql.SQL("SELECT {}, {} FROM {}").format(*names).as_string()
        assert guarded.pg(statement) == [(1, "a")]
    unharmed(guarded, *[f"{evil}t" for evil in EVIL])
    assert guarded.stages() == []


def test_hostile_descriptions_become_comments_and_nothing_else(guarded: World) -> None:
    names = [f"c{number}" for number in range(len(EVIL))]
    texts = [f"{evil}\nsecond line\\n" for evil in EVIL]
    fields = [
        bigquery.SchemaField(name, "INT64", description=text)
        for name, text in zip(names, texts, strict=True)
    ]
    project = guarded.client.project
    guarded.client.create_table(bigquery.Table(f"{project}.{guarded.dataset}.told", schema=fields))
    guarded.sync(source=f"{guarded.dataset}.told", empty_source="allow")
    told = guarded.pg(
        "SELECT col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [row[0] for row in told] == texts
    guarded.bq("DROP TABLE {d}.told")
    unharmed(guarded, "t")


def test_conditions_and_queries_that_break_out_of_their_brackets_are_refused(
    guarded: World,
) -> None:
    for condition in ESCAPES:
        with pytest.raises(ConfigError) as refused:
            guarded.sync(options=RunOptions(where=condition))
        assert refused.value.where == "where"
        with pytest.raises(ConfigError) as refused:
            guarded.sync(query=f"SELECT 1 AS id FROM {guarded.dataset}.source) AS q, ({condition}")
        assert refused.value.where == "query"
    assert not guarded.exists("t")
    unharmed(guarded)


def test_a_condition_may_hold_what_only_looks_hostile(guarded: World) -> None:
    harmless = "v != ') OR (1=1; DROP TABLE victim --' # ) comment"
    assert guarded.sync(options=RunOptions(where=harmless)).rows == 1
    unharmed(guarded, "t")


def test_hostile_sources_and_buckets_find_nothing_and_do_nothing(guarded: World) -> None:
    for evil in EVIL:
        for source in (f"{guarded.dataset}.{evil}", f"{evil}.source", f"a.{evil}.{evil}"):
            with pytest.raises((ValidationError, Bq2pgError)):
                guarded.sync(source=source)
        with pytest.raises(Bq2pgError):
            guarded.sync(shards=GcsShards(guarded.storage, bucket=evil))
    unharmed(guarded)


@pytest.mark.parametrize("evil", EVIL)
def test_a_hostile_name_stays_one_quoted_identifier_of_bigquery(evil: str) -> None:
    path = export_sql.table_sql("project", evil, evil)
    [tree] = sqlglot.parse(f"SELECT 1 FROM {path}", dialect="bigquery")
    assert tree is not None
    assert [type(part) for part in tree.find_all(exp.Table)] == [exp.Table]
    assert not list(tree.find_all(exp.Drop, exp.Command))


@pytest.mark.parametrize("evil", EVIL)
def test_a_hostile_column_stays_one_column_of_the_export(evil: str) -> None:
    table = TableConfig(name="t", source="d.t")
    columns = map_columns(table, [SourceField(evil, "JSON"), SourceField("b", "INT64")])
    [tree] = sqlglot.parse(f"SELECT {', '.join(c.select for c in columns)}", dialect="bigquery")
    assert isinstance(tree, exp.Select)
    assert len(tree.expressions) == 2


@pytest.mark.parametrize("evil", EVIL)
def test_a_hostile_text_stays_one_string_of_bigquery(evil: str) -> None:
    [tree] = sqlglot.parse(f"SELECT {export_sql.text(evil)} AS a", dialect="bigquery")
    assert isinstance(tree, exp.Select)
    assert [(e.alias, type(e.this)) for e in tree.expressions] == [("a", exp.Literal)]


@pytest.mark.parametrize("name", [*EVIL, "../x", "a/b", "a.b", "a b", ""])
def test_a_hostile_table_name_is_no_configuration(name: str) -> None:
    with pytest.raises(ValidationError):
        TableConfig(name=name, source="d.t")


@pytest.mark.parametrize("evil", EVIL)
def test_a_staging_table_has_a_short_name_of_its_own(evil: str) -> None:
    run = RunId("run")
    longest = stage_name(TargetName("public", (evil + "ü" * 60)[:60]), schema="bq2pg", run=run)
    assert len(longest.table.encode()) <= 63
    alike = [TargetName("a", "b.c"), TargetName("a.b", "c")]
    assert str(alike[0]) != str(alike[1])
    assert len({stage_name(name, schema="bq2pg", run=run) for name in alike}) == 2
    quoted = identifier(TargetName("bq2pg", evil)).as_string()
    assert quoted.count('"') == 4 + 2 * evil.count('"')
