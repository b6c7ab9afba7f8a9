"""What arrives in each mode: replace, append, merge, with every kind of cursor and source.

Belongs here: content after undisturbed runs, compared value by value with what BigQuery answers to
a SELECT, and what bq2pg keeps about it. Does not belong here: options of a run, failures.
"""

from datetime import datetime
from typing import Any

import pytest

from bq2pg_assets.engine.errors import ConfigError, TargetError
from bq2pg_assets.engine.model import ExportWay, Mode, Outcome, RunId, RunOptions
from bq2pg_assets_tests.integration.helpers import Row, World, moment

DAY = "TIMESTAMP '2024-01-0{} 10:00:00.000001+00'"
EVERY_TYPE = """
  SELECT 1 AS i, -0.5 AS f, NUMERIC '99999999999999999999999999999.123456789' AS n,
    BIGNUMERIC '0.00000000000000000000000000000000000001' AS b, TRUE AS ok, '' AS s,
    b'\\x00\\xff' AS y,
    DATE '0001-01-01' AS d, TIME '23:59:59.999999' AS t,
    DATETIME '9999-12-31 23:59:59.999999' AS dt,
    TIMESTAMP '1969-12-31 23:59:59.999999+00' AS ts, ['a', 'ü'] AS a
  UNION ALL
  SELECT 2, CAST('nan' AS FLOAT64), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, []
  UNION ALL
  SELECT 3, CAST('-inf' AS FLOAT64), 0, BIGNUMERIC '-0.1', FALSE, 'x\\ty\\n', b'',
    DATE '2024-02-29', TIME '0:0:0',
    DATETIME '1582-10-15 0:0:0', TIMESTAMP '2024-01-01 00:00:00+00', ['']
"""


def at(day: int, micros: int = 1) -> datetime:
    return moment(f"2024-01-{day:02}T10:00:00.{micros:06}")


@pytest.fixture
def growing(world: World) -> World:
    """A source of three rows, two of them with one and the same cursor value."""
    world.make_source(
        f"SELECT 1 AS id, 'a' AS v, {DAY.format(1)} AS max_ingested_at UNION ALL "
        f"SELECT 2, 'b', {DAY.format(2)} UNION ALL SELECT 3, 'c', {DAY.format(2)}"
    )
    return world


def comparable(rows: list[Row]) -> list[list[tuple[str, Any]]]:
    """Each value with its type, so that 1 is not True; NaN, which equals nothing, as a word."""
    return [[(type(v).__name__, "NaN" if v != v else v) for v in row] for row in rows]


def same_as_source(world: World, target: str = "t", source: str = "{d}.source") -> None:
    arrived, sent = world.rows(target), world.bq(f"SELECT * FROM {source} ORDER BY 1")
    assert comparable(arrived) == comparable(sent)


@pytest.mark.parametrize("export", ["extract", "export_data"])
def test_every_value_arrives_as_bigquery_shows_it(world: World, export: str) -> None:
    world.make_source(EVERY_TYPE)
    result = world.sync(export=export)
    assert (result.outcome, result.rows, result.way) == (Outcome.LOADED, 3, ExportWay(export))
    same_as_source(world)
    world.no_leftovers()


@pytest.mark.parametrize("strategy", ["swap", "truncate"])
def test_replace_leaves_nothing_of_the_old_content_and_keeps_what_reads_the_table(
    world: World, strategy: str
) -> None:
    world.sync(query="SELECT 1 AS id UNION ALL SELECT 2")
    world.pg("CREATE VIEW v AS SELECT id FROM t")
    world.sync(query="SELECT 3 AS id", replace_strategy=strategy)
    assert world.rows("v") == [(3,)]
    assert world.cursor() is None
    world.no_leftovers()


def test_append_loads_all_and_then_only_what_is_new_in_every_increment(growing: World) -> None:
    def run() -> tuple[Outcome, Mode, int]:
        result = growing.sync(mode="append")
        return result.outcome, result.publish, result.rows

    assert run() == (Outcome.LOADED, Mode.REPLACE, 3)
    assert growing.cursor() == at(2)
    assert run() == (Outcome.NOTHING_NEW, Mode.APPEND, 0)
    # A late row: its event is old, its max_ingested_at is not. Equal timestamps come together.
    growing.bq(
        f"INSERT INTO {{d}}.source VALUES (0, 'late', {DAY.format(3)}), (5, 'e', {DAY.format(3)})"
    )
    assert run() == (Outcome.LOADED, Mode.APPEND, 2)
    growing.bq(f"INSERT INTO {{d}}.source VALUES (6, NULL, {DAY.format(4)})")
    assert run() == (Outcome.LOADED, Mode.APPEND, 1)
    assert growing.cursor() == at(4)
    same_as_source(growing)
    growing.no_leftovers()


def test_merge_inserts_updates_and_lets_the_newest_of_a_key_win(growing: World) -> None:
    growing.bq(f"INSERT INTO {{d}}.source VALUES (1, 'newer', {DAY.format(2)})")
    first = growing.sync(mode="merge", key=["id"])
    assert (first.publish, first.rows) == (Mode.REPLACE, 3)
    assert [r[:2] for r in growing.rows("t")] == [(1, "newer"), (2, "b"), (3, "c")]
    indexes = growing.pg("SELECT indexdef FROM pg_indexes WHERE tablename = 't'")
    assert indexes == [("CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)",)]

    growing.bq(
        f"INSERT INTO {{d}}.source VALUES (2, 'new', {DAY.format(4)}), "
        f"(2, 'old', {DAY.format(3)}), (4, 'd', {DAY.format(3)})"
    )
    second = growing.sync(mode="merge", key=["id"])
    assert (second.publish, second.rows) == (Mode.MERGE, 2)
    assert [r[:2] for r in growing.rows("t")] == [(1, "newer"), (2, "new"), (3, "c"), (4, "d")]
    assert growing.cursor() == at(4)
    growing.no_leftovers()


def test_merge_takes_bigquerys_primary_key_and_without_a_cursor_every_row_each_time(
    world: World,
) -> None:
    world.bq("CREATE TABLE {d}.source (id INT64, v STRING, PRIMARY KEY (id) NOT ENFORCED)")
    world.bq("INSERT INTO {d}.source VALUES (1, 'a'), (2, 'b')")
    world.sync(mode="merge", cursor=None)
    world.bq("UPDATE {d}.source SET v = 'B' WHERE id = 2")
    world.bq("DELETE FROM {d}.source WHERE id = 1")
    again = world.sync(mode="merge", cursor=None)
    assert (again.publish, again.rows) == (Mode.MERGE, 1)
    assert world.rows("t") == [(1, "a"), (2, "B")], "merge never deletes"


def test_a_key_gets_another_name_where_the_usual_one_is_taken(growing: World) -> None:
    growing.sync(mode="merge", key=["id"])
    growing.pg("ALTER TABLE t RENAME TO kept")
    assert growing.sync(mode="merge", key=["id"]).rows == 3
    indexes = growing.pg("SELECT tablename, indexname FROM pg_indexes WHERE indexname ~ 't_pkey'")
    assert sorted(indexes) == [("kept", "t_pkey"), ("t", "t_pkey1")]


@pytest.mark.parametrize(
    ("kind", "values", "stored"),
    [
        ("DATE", ("2024-01-01", "2024-01-02"), (moment("2024-01-01"), moment("2024-01-02"))),
        (
            "DATETIME",
            ("2024-01-01 10:00:00.000001", "2024-01-01 10:00:00.000002"),
            (at(1), at(1, micros=2)),
        ),
        (
            "TIMESTAMP",
            ("2024-01-01 12:00:00.000001+02", "2024-01-01 12:00:00.000002+02"),
            (at(1), at(1, micros=2)),
        ),
    ],
)
def test_a_cursor_of_any_type_and_name_is_stored_as_utc_and_read_again(
    world: World, kind: str, values: tuple[str, str], stored: tuple[datetime, datetime]
) -> None:
    # The database's own zone must not matter.
    world.pg(f"ALTER DATABASE {world.database} SET TimeZone = 'Asia/Tokyo'")
    world.pg(f"ALTER DATABASE {world.database} SET DateStyle = 'SQL, DMY'")
    source = f"SELECT 1 AS id, {kind} '{values[0]}' AS `when`"
    world.sync(query=source, mode="append", cursor="when", columns={"when": {"name": "at"}})
    assert world.cursor() == stored[0]
    source += f" UNION ALL SELECT 2, {kind} '{values[1]}'"
    second = world.sync(
        query=source, mode="append", cursor="when", columns={"when": {"name": "at"}}
    )
    assert (second.publish, second.rows) == (Mode.APPEND, 1)
    assert world.cursor() == stored[1]
    assert [r[0] for r in world.rows("t")] == [1, 2]


def test_a_view_is_a_source_like_a_table(growing: World) -> None:
    growing.bq("CREATE VIEW {d}.v AS SELECT id, v, max_ingested_at FROM {d}.source WHERE id > 1")
    result = growing.sync(source=f"{growing.dataset}.v", mode="append")
    assert result.way is ExportWay.EXPORT_DATA
    same_as_source(growing, source="{d}.v")
    nothing = growing.sync(source=f"{growing.dataset}.v", mode="append")
    assert nothing.outcome is Outcome.NOTHING_NEW


def test_a_missing_cursor_means_a_full_load_that_replaces(growing: World) -> None:
    growing.sync(mode="append")
    for forget in (
        "UPDATE sync_state SET last_synced_at = NULL",
        "TRUNCATE sync_state; DELETE FROM t",
        "DROP TABLE t",
    ):
        growing.pg(forget)
        result = growing.sync(mode="append")
        assert (result.publish, result.rows) == (Mode.REPLACE, 3), forget
        assert growing.cursor() == at(2)
    same_as_source(growing)


def test_a_cursor_is_not_carried_over_to_another_column_or_source(growing: World) -> None:
    other = growing.make_source("SELECT *, max_ingested_at AS at FROM {d}.source", name="other")
    same = growing.make_source("SELECT *, max_ingested_at AS at FROM {d}.source", name="source")
    growing.sync(mode="append", source=same)
    for changed in ({"source": same, "cursor": "at"}, {"source": other}):
        with pytest.raises(ConfigError, match="the stored one was read from max_ingested_at of"):
            growing.sync(mode="append", **changed)
        assert growing.cursor() == at(2)
    renewed = growing.sync(mode="append", source=other, options=RunOptions(full_refresh=True))
    assert (renewed.publish, renewed.rows) == (Mode.REPLACE, 3)
    assert growing.sync(mode="append", source=other).outcome is Outcome.NOTHING_NEW


def test_sync_state_is_exactly_as_promised(world: World) -> None:
    world.sync(query="SELECT 1 AS id", target="new_schema.t")
    columns = world.pg(
        "SELECT column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_name = 'sync_state' ORDER BY ordinal_position"
    )
    assert columns == [
        ("table_name", "text", "NO", None),
        ("last_synced_at", "timestamp without time zone", "YES", None),
    ]
    constraints = world.pg(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'new_schema.sync_state'::regclass AND contype = 'p'"
    )
    assert constraints == [("PRIMARY KEY (table_name)",)]
    assert world.rows("new_schema.sync_state") == [("new_schema.t", None)]
    assert world.rows("new_schema.t") == [(1,)]


def test_descriptions_and_required_columns_come_along(world: World) -> None:
    world.bq(
        "CREATE TABLE {d}.source (id INT64 NOT NULL OPTIONS(description='the key'), v STRING) "
        "OPTIONS(description='what is sold')"
    )
    world.bq("INSERT INTO {d}.source VALUES (1, NULL)")
    world.sync()
    columns = world.pg(
        "SELECT attname, attnotnull, col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert columns == [("id", True, "the key"), ("v", False, None)]
    assert world.pg("SELECT obj_description('t'::regclass)") == [("what is sold",)]


def test_every_job_says_in_bigquery_whose_it_is(growing: World) -> None:
    growing.sync(mode="append", name="mine", run=RunId("First"))
    growing.bq(f"INSERT INTO {{d}}.source VALUES (4, 'd', {DAY.format(3)})")
    growing.sync(mode="append", name="mine", run=RunId("Second", attempt=1))
    jobs = {j.job_id: j.labels for j in growing.client.list_jobs() if "_mine_" in j.job_id}
    assert jobs == {
        "bq2pg_mine_First_0_export": {"bq2pg_table": "mine", "bq2pg_run": "first"},
        "bq2pg_mine_Second_1_probe": {"bq2pg_table": "mine", "bq2pg_run": "second"},
        "bq2pg_mine_Second_1_export": {"bq2pg_table": "mine", "bq2pg_run": "second"},
    }


def test_a_target_of_other_rows_is_taken_over_by_the_row_that_the_refusal_names(
    growing: World,
) -> None:
    """The way out of `bq-to-postgres`, which has no --full-refresh."""
    growing.pg("CREATE TABLE t (id bigint, v text, max_ingested_at timestamptz)")
    growing.pg("INSERT INTO t VALUES (7, 'mine', now())")
    other = growing.make_source("SELECT * FROM {d}.source", name="other")
    for table in ({"mode": "append"}, {"mode": "append", "source": other}):
        with pytest.raises((ConfigError, TargetError)) as stopped:
            growing.sync(**table)
        statement = stopped.value.way_out.partition("run in the target's database: ")[2]
        growing.pg(statement.removesuffix("."))
        result = growing.sync(**table)
        assert (result.publish, result.rows) == (Mode.REPLACE, 3)
