"""Rows that PostgreSQL refuses are quarantined, exactly they, and all others are published.

Belongs here: each kind of refusal in each mode, the limit, counts and records. Does not belong
here: replaying (test_quarantine.py).
"""

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import MappingError, TargetError, VerifyError
from bq2pg_assets.engine.model import RunOptions, Shard
from bq2pg_assets.engine.parquet import FetchedShard
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.blobs import parquet, shard_of
from bq2pg_assets_tests.integration.helpers import World, moment, refused

AT = "TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL id SECOND) AS max_ingested_at"
# id 1 to 5; number 3 is the one that is refused.
ROWS = f"SELECT id, IF(id = 3, 'too long', 'ok') AS v, {AT} FROM UNNEST(GENERATE_ARRAY(1, 5)) AS id"
TABLE = "CREATE TABLE t (id bigint {}, v {}, max_ingested_at timestamptz)"
QUARANTINE: dict[str, Any] = {"bad_rows": "quarantine"}
MODES: list[dict[str, Any]] = [
    {"mode": "replace"},
    {"mode": "append"},
    {"mode": "merge", "key": ["id"]},
]
BY_MODE = pytest.mark.parametrize("mode", MODES, ids=lambda m: m["mode"])
RAISES = (
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF NEW.v = 'too long' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$; "
    "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"
)
SHORT = TABLE.format("PRIMARY KEY", "text CHECK (length(v) <= 3)")
KINDS = {
    "CHECK": (TABLE.format("PRIMARY KEY", "text CHECK (v <> 'too long')"), "23514"),
    "NOT NULL": (
        TABLE.format("PRIMARY KEY", "text NOT NULL") + "; "
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.v := NULLIF(NEW.v, 'too long'); RETURN NEW; END $$; "
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
        "23502",
    ),
    "foreign key": (
        "CREATE TABLE words (v text PRIMARY KEY); INSERT INTO words VALUES ('ok'); "
        + TABLE.format("PRIMARY KEY", "text REFERENCES words"),
        "23503",
    ),
    "deferred foreign key": (
        "CREATE TABLE words (v text PRIMARY KEY); INSERT INTO words VALUES ('ok'); "
        + TABLE.format("PRIMARY KEY", "text REFERENCES words INITIALLY DEFERRED"),
        "23503",
    ),
    "trigger": (TABLE.format("PRIMARY KEY", "text") + "; " + RAISES, "P0001"),
    "index": (
        TABLE.format("PRIMARY KEY", "text") + "; CREATE INDEX ON t ((1 / (length(v) - 8)))",
        "22012",
    ),
}


def waiting(world: World, columns: str = "row") -> list[tuple[Any, ...]]:
    return world.pg(
        f"SELECT {columns} FROM bq2pg.sync_quarantine WHERE replayed_at IS NULL "
        "AND superseded_at IS NULL ORDER BY id"
    )


def ids(world: World) -> list[int]:
    return [row[0] for row in world.pg("SELECT id FROM t ORDER BY 1")]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [*((kind, MODES[0]) for kind in KINDS), *(("CHECK", mode) for mode in MODES[1:])],
    ids=lambda one: one if isinstance(one, str) else one["mode"],
)
def test_a_row_that_the_target_refuses_is_quarantined_and_the_others_are_published(
    world: World, kind: str, mode: dict[str, Any]
) -> None:
    create, code = KINDS[kind]
    world.make_source(ROWS)
    world.pg(create)
    mode = {**mode, "not_null": ["v"]}  # so that evolving leaves it
    result = world.sync(**QUARANTINE, **mode)
    assert ids(world) == [1, 2, 4, 5]
    assert (result.rows, result.quarantined) == (4, 1)
    [(row, state, table, target)] = waiting(world, "row, sqlstate, table_name, target")
    assert json.loads(row) == {
        "id": 3,
        "v": "too long",
        "max_ingested_at": "2024-01-01T00:00:03+00:00",
    }
    assert (state, table, target) == (code, "t", "public.t")
    assert world.history()[-1]["quarantined"] == 1
    if mode["mode"] != "replace":
        assert world.cursor() == moment("2024-01-01 00:00:05")
        assert world.sync(**QUARANTINE, **mode).outcome == "nothing_new"
        assert len(waiting(world)) == 1
    world.no_leftovers()
    assert world.pg("SELECT relname FROM pg_class WHERE relname LIKE 'piece%%'") == []


def test_without_quarantine_the_first_refused_row_fails_the_run(world: World) -> None:
    world.make_source(ROWS)
    world.pg(SHORT)
    refused(
        world,
        TargetError,
        says="violates check",
        way_out="A CHECK of the target",
        retryable=False,
    )
    assert waiting(world) == []


# -- increments into a loaded target -----------------------------------------------------------


@pytest.mark.parametrize("mode", MODES[1:], ids=lambda m: m["mode"])
def test_an_increment_quarantines_too_and_the_cursor_passes_the_bad_row(
    world: World, mode: dict[str, Any]
) -> None:
    world.make_source(f"SELECT id, 'ok' AS v, {AT} FROM UNNEST([1, 2]) AS id")
    world.pg(SHORT)
    world.sync(**QUARANTINE, **mode)
    world.bq(f"INSERT INTO {{d}}.source SELECT id, 'too long', {AT} FROM UNNEST([4]) AS id")
    world.bq(f"INSERT INTO {{d}}.source SELECT id, 'ok', {AT} FROM UNNEST([3]) AS id")
    result = world.sync(**QUARANTINE, **mode)
    assert (result.rows, result.quarantined, ids(world)) == (1, 1, [1, 2, 3])
    assert world.cursor() == moment("2024-01-01 00:00:04")
    world.bq(f"INSERT INTO {{d}}.source SELECT id, 'too long', {AT} FROM UNNEST([5]) AS id")
    alone = world.sync(**QUARANTINE, **mode)
    assert (alone.rows, alone.quarantined, len(waiting(world))) == (0, 1, 2)


def test_of_rows_that_share_a_unique_value_the_first_stays(world: World) -> None:
    world.make_source(f"SELECT id, 'ok' AS v, {AT} FROM UNNEST([1, 2, 2, 2, 3]) AS id")
    world.pg(SHORT)
    result = world.sync(**QUARANTINE)
    assert (ids(world), result.quarantined) == ([1, 2, 3], 2)
    [first, second] = waiting(world, "error, sqlstate")
    assert first == second
    assert first == ('duplicate key value violates unique constraint "t_pkey"', "23505")


def test_a_merge_keeps_the_newest_of_a_key_also_when_it_looks_for_bad_rows(world: World) -> None:
    versions = ", ".join(f"STRUCT({n} AS n, {at} AS s)" for n, at in enumerate((3, 9, 1)))
    good = (
        "SELECT 1 AS id, CAST(n AS STRING) AS v, "
        f"TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL s SECOND) AS max_ingested_at "
        f"FROM UNNEST([{versions}])"
    )
    bad = f"SELECT id, 'too long' AS v, {AT} FROM UNNEST([2]) AS id"
    world.make_source(f"{good} UNION ALL {bad}")
    world.pg(SHORT)
    world.sync(**QUARANTINE, mode="merge", key=["id"])
    assert world.pg("SELECT id, v FROM t") == [(1, "1")]


def test_rows_that_refer_to_each_other_are_not_taken_for_bad_ones(world: World) -> None:
    world.make_source(
        "SELECT id, IF(id = 1, 1, IF(id = 30, 99, id - 1)) AS parent FROM "
        "UNNEST(GENERATE_ARRAY(40, 1, -1)) AS id"
    )
    world.pg("CREATE TABLE t (id bigint PRIMARY KEY, parent bigint REFERENCES t)")
    world.sync(**QUARANTINE)
    assert ids(world) == list(range(1, 30))
    assert [json.loads(row)["id"] for (row,) in waiting(world)] == list(range(40, 29, -1))


def test_other_tables_that_defer_their_reference_do_not_disturb(world: World) -> None:
    world.make_source(ROWS)
    world.pg(SHORT)
    world.sync(**QUARANTINE)
    world.pg("CREATE TABLE child (id bigint REFERENCES t INITIALLY DEFERRED)")
    world.pg("INSERT INTO child VALUES (1)")
    assert world.sync(**QUARANTINE).quarantined == 1
    assert ids(world) == [1, 2, 4, 5]


# -- rows that cannot even be staged -----------------------------------------------------------

NUL = "CODE_POINTS_TO_STRING([65, 0])"


@BY_MODE
def test_a_row_that_cannot_be_staged_is_quarantined_by_source_names(
    world: World, mode: dict[str, Any]
) -> None:
    world.make_source(f"SELECT id, IF(id = 5, {NUL}, 'ok') AS v, {AT} FROM UNNEST([1, 5, 3]) AS id")
    columns = {"v": {"name": "w"}}
    result = world.sync(**QUARANTINE, **mode, columns=columns)
    assert ids(world) == [1, 3]
    assert (result.rows, result.quarantined) == (2, 1)
    [(row, error, code)] = waiting(world, "row, error, sqlstate")
    assert json.loads(row) == {
        "id": 5,
        "v": "A\0",
        "max_ingested_at": "2024-01-01T00:00:05+00:00",
    }
    assert ("column v" in error, code) == (True, None)
    [row_count] = [c for c in result.checks if c.name == "row_count"]
    assert row_count.numbers == {"staged": 2, "exported": 3, "refused": 1}
    if mode["mode"] != "replace":
        assert world.cursor() == moment("2024-01-01 00:00:05")
        assert world.sync(**QUARANTINE, **mode, columns=columns).outcome == "nothing_new"


@pytest.mark.parametrize("export", ["extract", "read_api"])
def test_each_way_out_can_be_read_again(world: World, export: str) -> None:
    world.make_source(
        f"SELECT id, IF(MOD(id, 9000) = 0, {NUL}, 'ok') AS v FROM "
        "UNNEST(GENERATE_ARRAY(1, 20000)) AS id"
    )
    result = world.sync(**QUARANTINE, export=export)
    assert (result.rows, result.quarantined) == (19_998, 2)
    assert sorted(json.loads(row)["id"] for (row,) in waiting(world)) == [9_000, 18_000]
    assert world.pg("SELECT count(*), count(DISTINCT id) FROM t") == [(19_998, 19_998)]


class Documents(GcsShards):
    """A bucket whose column `doc` holds what BigQuery stores and the emulator does not."""

    documents: tuple[str, ...] = ()

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> FetchedShard:
        ids = pa.array(range(1, len(self.documents) + 1), pa.int64())
        table = pa.table({"id": ids, "doc": pa.array(self.documents)})
        return shard_of(parquet(table), uri=shard.uri)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (r'{"a": "\ud800"}', "22P02"),
        ("{", "22P02"),
        ("1e200000", "22003"),
        ("[" * 50_000 + "]" * 50_000, "54001"),
    ],
    ids=["lone surrogate", "malformed", "number", "depth"],
)
def test_a_document_that_jsonb_refuses_is_kept_as_it_is(
    world: World, document: str, code: str
) -> None:
    store = Documents(world.storage, bucket=world.bucket)
    store.documents = ("1", document, "3")
    query = "SELECT id, JSON '1' AS doc FROM UNNEST([1, 2, 3]) AS id"
    result = world.sync(**QUARANTINE, query=query, shards=store)
    assert (ids(world), result.quarantined) == ([1, 3], 1)
    [(row, error, state)] = waiting(world, "row, error, sqlstate")
    assert row == f'{{"id": 2, "doc": {document}}}'
    assert (error.endswith("(column doc)") or code == "54001", state) == (True, code)
    target = world.target()
    [again] = target.replay(target.quarantined(), run_id="again")
    assert (again.outcome, ids(world)) == ("refused", [1, 3])


def test_rows_refused_before_and_after_staging_are_counted_together(world: World) -> None:
    world.make_source(
        f"SELECT id, CASE id WHEN 2 THEN {NUL} WHEN 4 THEN 'too long' ELSE 'ok' END AS v "
        "FROM UNNEST([1, 2, 3, 4]) AS id"
    )
    world.pg("CREATE TABLE t (id bigint, v text CHECK (length(v) <= 3))")
    error = refused(
        world,
        VerifyError,
        says="more than 1 rows are refused",
        way_out="max_bad_rows",
        retryable=False,
        **QUARANTINE,
        max_bad_rows=1,
    )
    assert "violates check" in error.met
    assert world.sync(**QUARANTINE, max_bad_rows=2).quarantined == 2
    assert ids(world) == [1, 3]


# -- the limit, nothing left, many rows --------------------------------------------------------


@pytest.mark.parametrize("bad", [NUL, "'too long'"], ids=["staging", "target"])
def test_more_bad_rows_than_allowed_fail_the_run_and_publish_nothing(
    world: World, bad: str
) -> None:
    world.make_source("SELECT 0 AS id, 'ok' AS v")
    world.pg("CREATE TABLE t (id bigint, v text CHECK (length(v) <= 3))")
    world.sync(**QUARANTINE)
    world.make_source(f"SELECT id, {bad} AS v FROM UNNEST(GENERATE_ARRAY(1, 500)) AS id")
    refused(
        world,
        VerifyError,
        says="more than 100 rows are refused",
        way_out="raise max_bad_rows",
        retryable=False,
        **QUARANTINE,
    )
    assert waiting(world) == []
    assert world.history()[-1]["outcome"] == "failed"


@pytest.mark.parametrize("bad", [NUL, "'too long'"], ids=["staging", "target"])
def test_a_replace_whose_rows_are_all_bad_leaves_the_target_as_it_is(
    world: World, bad: str
) -> None:
    world.make_source("SELECT 0 AS id, 'ok' AS v")
    world.pg("CREATE TABLE t (id bigint, v text CHECK (length(v) <= 3))")
    world.sync(**QUARANTINE)
    world.make_source(f"SELECT 1 AS id, {bad} AS v")
    refused(
        world,
        VerifyError,
        says="every row is refused, 1 in all",
        way_out="bad_rows: fail",
        retryable=False,
        **QUARANTINE,
    )


def test_exactly_the_bad_ones_are_found_among_20_000(world: World) -> None:
    chosen = random.Random(4).sample(range(1, 20_001), 40)
    unstaged, staged = sorted(chosen[:20]), sorted(chosen[20:])
    listed = [", ".join(map(str, some)) for some in (unstaged, staged)]
    world.make_source(
        f"SELECT id, CASE WHEN id IN ({listed[0]}) THEN {NUL} WHEN id IN ({listed[1]}) THEN "
        "'too long' ELSE 'ok' END AS v FROM UNNEST(GENERATE_ARRAY(1, 20000)) AS id"
    )
    world.pg("CREATE TABLE t (id bigint PRIMARY KEY, v text CHECK (length(v) <= 3))")
    result = world.sync(**QUARANTINE)
    assert (result.rows, result.quarantined) == (19_960, 40)
    assert sorted(json.loads(row)["id"] for (row,) in waiting(world)) == sorted(chosen)
    assert ids(world) == [n for n in range(1, 20_001) if n not in set(chosen)]


# -- what is not a bad row ---------------------------------------------------------------------


def test_a_trigger_of_the_statement_and_a_missing_right_are_no_bad_rows(world: World) -> None:
    world.make_source(ROWS)
    world.pg(TABLE.format("", "text"))
    world.pg(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'closed today'; END $$; "
        "CREATE TRIGGER no BEFORE INSERT ON t EXECUTE FUNCTION no()"
    )
    refused(
        world,
        TargetError,
        says="closed today",
        way_out="A trigger",
        retryable=False,
        replace_strategy="truncate",  # a swap fires no trigger of the statement
        **QUARANTINE,
    )


def test_a_null_where_not_null_forbids_it_still_stops_the_run(world: World) -> None:
    refused(
        world,
        VerifyError,
        says="1 NULL in id",
        way_out="not_null",
        retryable=False,
        query="SELECT 1 AS id UNION ALL SELECT NULL",
        not_null=["id"],
        **QUARANTINE,
    )


def test_columns_that_do_not_fit_are_no_bad_rows(world: World) -> None:
    world.sync(query="SELECT 1 AS id")
    refused(
        world,
        MappingError,
        says="column v (text) is missing",
        way_out="Run the statements",
        retryable=False,
        query="SELECT 1 AS id, 'x' AS v",
        schema_changes="fail",
        **QUARANTINE,
    )


# -- what becomes of earlier ones --------------------------------------------------------------


def test_a_later_replace_makes_earlier_bad_rows_obsolete(world: World) -> None:
    world.make_source(ROWS)
    world.pg(SHORT)
    world.sync(**QUARANTINE)
    world.sync(**QUARANTINE)
    assert len(waiting(world)) == 1
    assert world.pg("SELECT count(*) FROM bq2pg.sync_quarantine") == [(2,)]
    world.make_source(f"SELECT 1 AS id, 'ok' AS v, {AT.replace('id', '1', 1)}")
    world.sync(max_shrink=1.0)  # also without the policy
    assert waiting(world) == []


def test_a_merge_of_every_row_does_not_pile_up_the_same_bad_one(world: World) -> None:
    world.make_source(ROWS)
    world.pg(SHORT)
    settings = {**QUARANTINE, "mode": "merge", "key": ["id"], "cursor": None}
    for _ in range(3):
        assert world.sync(**settings).quarantined == 1
    assert len(waiting(world)) == 1
    world.sync(**settings, options=RunOptions(where="id > 3"))
    assert len(waiting(world)) == 1


def test_a_mask_holds_in_quarantine(world: World) -> None:
    world.make_source("SELECT 1 AS id, 'secret@example.com' AS mail, 'too long' AS v")
    world.bq("INSERT INTO {d}.source VALUES (2, 'b@example.com', 'ok')")
    world.pg("CREATE TABLE t (id bigint, mail text UNIQUE, v text CHECK (length(v) <= 3))")
    world.sync(**QUARANTINE, columns={"mail": {"mask": "email"}})
    assert "secret" not in str(world.pg("SELECT * FROM bq2pg.sync_quarantine"))
    [(row,)] = waiting(world)
    assert json.loads(row)["mail"] == "s***@example.com"


def test_an_error_does_not_quote_the_values_that_postgresql_adds_as_detail(world: World) -> None:
    world.make_source("SELECT 'a-private-value' AS id UNION ALL SELECT 'a-private-value'")
    world.pg("CREATE TABLE t (id text PRIMARY KEY)")
    world.sync(**QUARANTINE)
    [(error,)] = waiting(world, "error")
    assert error == 'duplicate key value violates unique constraint "t_pkey"'


def test_the_history_of_an_earlier_version_learns_to_count_them(world: World) -> None:
    world.make_source(ROWS)
    world.sync()
    world.pg("ALTER TABLE bq2pg.sync_history DROP COLUMN quarantined")
    world.pg("DROP TABLE bq2pg.sync_quarantine")
    world.sync(**QUARANTINE)
    assert [h["quarantined"] for h in world.history()] == [None, 0]
