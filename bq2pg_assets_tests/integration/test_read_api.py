"""The Storage Read API through the real clients: the same rows as through the bucket, without one.

Belongs here: tables, views and queries read as Arrow streams, what is asked of BigQuery for them,
and what a cancel leaves. Does not: which way is taken (unit/test_plan.py).
"""

from typing import Any

import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, ConfigError
from bq2pg_assets.engine.model import ExportWay, Mode, RunId, RunOptions
from bq2pg_assets.engine.read_api import ReadStreams
from bq2pg_assets.engine.results import Progress
from bq2pg_assets.engine.sync import plan_table
from bq2pg_assets_tests.integration.helpers import Snapshot, World

SCALARS = {
    "i": "9007199254740993",
    "f": "0.1",
    "nan": "CAST('NaN' AS FLOAT64)",
    "inf": "CAST('-inf' AS FLOAT64)",
    "n": "NUMERIC '-12345678901234567890123456789.123456789'",
    "b": "BIGNUMERIC '1234567890.123456789012345678'",
    "o": "true",
    "s": "'naïve \"quotes\", \\\\ and \\n'",
    "y": "b'\\x00\\xff'",
    "d": "DATE '0001-01-01'",
    "t": "TIME '23:59:59.999999'",
    "dt": "DATETIME '9999-12-31 23:59:59.999999'",
    "ts": "TIMESTAMP '1969-12-31 23:59:59.999999+00'",
}
ARRAYS = {
    "ai": "[3, 1, 2]",
    "at": "[TIMESTAMP '2024-01-01 00:00:00.5+00']",
    "an": "[NUMERIC '1.5']",
    "none": "CAST([] AS ARRAY<STRING>)",
}
NESTED = {
    "st": "STRUCT(1.5 AS f, [STRUCT('q' AS r, b'\\x01' AS y)] AS l, NUMERIC '2.50' AS n,"
    " TIMESTAMP '2024-01-01 00:00:00.5+00' AS ts)",
}
SHAPED = {"j": "JSON '{\"a\": [1, null]}'", "v": "INTERVAL '1-2 3 4:5:6' YEAR TO SECOND"}
PLAIN = {**SCALARS, **ARRAYS, **NESTED}
AT = "TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL x SECOND)"
MANY = f"SELECT x, {AT} AS at FROM UNNEST(GENERATE_ARRAY(1, 2500)) AS x"


def source_of(values: dict[str, str]) -> str:
    """A row of these values and a row of NULLs."""
    columns = ", ".join(f"{value} AS {name}" for name, value in values.items())
    nulls = ", ".join(f"IF(id = 1, {name}, NULL) AS {name}" for name in values)
    return f"SELECT id, {nulls} FROM (SELECT {columns}), UNNEST([1, 2]) AS id"


def content(world: World, table: str) -> list[tuple[Any, ...]]:
    """Every value as PostgreSQL itself writes it, in the order of the ids."""
    [(names,)] = world.pg(
        "SELECT string_agg(format('%%I::text', attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return world.pg(f"SELECT {names} FROM {table} ORDER BY id")


@pytest.mark.parametrize(
    ("values", "ways"),
    [
        (PLAIN, ("extract", "export_data", "read_api")),
        ({**PLAIN, **SHAPED}, ("export_data", "read_api")),
    ],
    ids=["plain", "shaped"],
)
def test_all_ways_out_land_the_same_values(
    world: World, values: dict[str, str], ways: tuple[str, ...]
) -> None:
    world.make_source(source_of(values))
    for way in ways:
        result = world.sync(name=way, export=way)
        assert (result.way, result.rows) == (ExportWay(way), 2)
    landed = [content(world, way) for way in ways]
    assert all(rows == landed[0] for rows in landed)
    assert len(landed[0][0]) == len(values) + 1
    assert all(value is not None for value in landed[0][0])
    types = [
        world.pg(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            way,
        )
        for way in ways
    ]
    assert all(columns == types[0] for columns in types)
    world.no_leftovers()


def test_a_plain_table_is_read_directly_in_several_streams_without_a_job(world: World) -> None:
    world.make_source(MANY)
    told: list[Progress] = []
    result = world.sync(has_bucket=False, report=told.append)
    assert (result.way, result.rows, result.shards) == (ExportWay.READ_API, 2500, 3)
    assert (result.job_id, result.prefix) == (None, None)
    assert (result.bytes_processed, result.bytes_billed, result.cost) == (0, 0, 0.0)
    assert result.bytes == max(p.bytes for p in told) > 2500 * 16 // 4
    assert world.pg("SELECT count(*), sum(x), count(DISTINCT at) FROM t") == [
        (2500, 2500 * 2501 // 2, 2500)
    ]
    assert [c.says for c in result.checks if c.name == "row_count"] == [
        "2500 rows staged, 2500 exported"
    ]
    world.no_leftovers()


def test_an_increment_is_read_directly_as_of_the_probe(world: World) -> None:
    world.make_source(MANY)
    settings: dict[str, Any] = {"mode": "append", "cursor": "at", "has_bucket": False}
    world.sync(**settings)
    world.bq(f"INSERT INTO {{d}}.source SELECT x, {AT} FROM UNNEST([2501, 2502]) AS x")

    def insert_more(progress: Progress) -> None:
        if progress.phase == "export":
            world.bq(f"INSERT INTO {{d}}.source SELECT x, {AT} FROM UNNEST([2500]) AS x")

    result = world.sync(**settings, report=insert_more)
    assert (result.publish, result.rows, result.job_id) == (Mode.APPEND, 2, None)
    assert world.pg("SELECT x FROM t WHERE x > 2499 ORDER BY 1") == [(2500,), (2501,), (2502,)]
    assert world.sync(**settings).rows == 0


@pytest.mark.parametrize(
    ("where", "direct"),
    [
        ("x > 2400 -- the last hundred", True),
        ("x IN (SELECT y FROM UNNEST(GENERATE_ARRAY(2401, 2600)) AS y)", False),
    ],
)
def test_a_condition_is_kept_either_way(world: World, where: str, direct: bool) -> None:
    world.make_source(MANY)
    result = world.sync(export="read_api", options=RunOptions(where=where))
    assert (result.rows, result.job_id is None) == (100, direct)
    assert world.pg("SELECT min(x), count(*) FROM t") == [(2401, 100)]


def test_excluded_columns_stay_in_bigquery(world: World) -> None:
    world.make_source("SELECT 1 AS id, 'private' AS s, JSON '1' AS j")
    result = world.sync(export="read_api", columns={"s": {"exclude": True}, "j": {"exclude": True}})
    assert result.job_id is None
    assert world.rows("t") == [(1,)]


def test_a_limit_a_view_and_a_query_are_read_from_the_result_of_a_query(world: World) -> None:
    world.make_source(MANY)
    world.bq("CREATE VIEW {d}.view AS SELECT x, at FROM {d}.source WHERE x <= 7")
    runs = {
        "limited": world.sync(name="limited", export="read_api", options=RunOptions(limit=5)),
        "viewed": world.sync(name="viewed", source=f"{world.dataset}.view", has_bucket=False),
        "asked": world.sync(name="asked", query=f"{MANY} WHERE x <= 9", has_bucket=False),
    }
    for name, rows in {"limited": 5, "viewed": 7, "asked": 9}.items():
        assert (runs[name].rows, runs[name].way) == (rows, ExportWay.READ_API)
        assert world.pg(f"SELECT count(*) FROM {name}") == [(rows,)]
        job = world.client.get_job(runs[name].job_id, location="US")
        assert job.labels["bq2pg_table"] == name
        assert job.maximum_bytes_billed == 1024**4
        assert runs[name].prefix is None
    assert world.objects() == []


@pytest.mark.parametrize("select", [MANY, f"{MANY} WHERE x < 0"], ids=["rows", "no rows"])
def test_an_emptied_source_empties_the_target_when_allowed(world: World, select: str) -> None:
    world.make_source(select)
    rows = 0 if "<" in select else 2500
    result = world.sync(export="read_api", empty_source="allow")
    assert (result.rows, bool(result.shards)) == (rows, bool(rows))
    assert world.pg("SELECT count(*) FROM t") == [(rows,)]


@pytest.mark.parametrize("way", ["extract", "export_data"])
def test_a_way_through_the_bucket_is_refused_without_one(world: World, way: str) -> None:
    world.make_source(MANY)
    with pytest.raises(ConfigError, match=f"export: {way}, but no bucket") as stopped:
        world.sync(export=way, has_bucket=False)
    assert "BQ2PG_GCS_BUCKET" in stopped.value.way_out


def test_the_plan_says_how_the_rows_are_read_and_what_it_costs(world: World) -> None:
    world.make_source(MANY)
    parts: dict[str, Any] = {"source": world.source(), "target": world.target(), "run": RunId("p")}
    plan, estimate = plan_table(world.table(), has_bucket=False, **parts)
    assert plan.reason == "no bucket is configured; of the table itself"
    assert (plan.direct, estimate.cost) == (True, 0.0)
    assert estimate.bytes > 0
    limited = RunOptions(limit=5)
    plan, estimate = plan_table(world.table(export="read_api"), options=limited, **parts)
    assert plan.reason == "asked for; of a query's result: a limit is given"
    assert estimate.cost > 0


def test_a_cancel_between_batches_hangs_up_and_leaves_nothing(world: World) -> None:
    world.make_source(MANY)
    world.sync(export="read_api", options=RunOptions(limit=3))
    before, token = Snapshot.of(world), CancelToken()

    def cancel_after_the_first_rows(progress: Progress) -> None:
        if progress.phase == "copy" and progress.rows:
            token.cancel()

    with pytest.raises(CancelledError):
        world.sync(export="read_api", cancel=token, report=cancel_after_the_first_rows)
    assert Snapshot.of(world) == before
    assert world.history()[-1]["outcome"] == "cancelled"
    world.no_leftovers()


def test_a_stream_that_was_hung_up_is_never_taken_for_a_whole_one(world: World) -> None:
    world.make_source(MANY)
    plan, _ = plan_table(
        world.table(export="read_api"),
        source=world.source(),
        target=world.target(),
        run=RunId("p"),
    )
    streams, token = ReadStreams(world.read_client, plan, project="p"), CancelToken()
    table = f"projects/{world.client.project}/datasets/{world.dataset}/tables/source"
    shard, *_ = streams.list(table)
    with streams.read(shard, cancel=token) as opened:
        token.cancel()
        with pytest.raises(CancelledError):
            list(opened.batches(["x", "at"]))
    streams.delete("")
