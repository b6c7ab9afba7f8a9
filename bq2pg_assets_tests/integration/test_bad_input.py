"""A wrong source, name or content is refused by one sentence, and nothing is touched.

Belongs here: sources, buckets, columns and values that cannot work. Does not belong here: the
PostgreSQL side (test_bad_target.py), hostile input (test_injection.py), spoilt objects
(test_shards.py).
"""

import logging
from typing import Any

import pytest

from bq2pg_assets.engine.errors import (
    Bq2pgError,
    ConfigError,
    MappingError,
    SourceError,
    StorageError,
    VerifyError,
)
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.integration.helpers import World, refused

GOOD = "SELECT 1 AS id, 'a' AS v, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
LONG = "a" * 63
NUL = "CODE_POINTS_TO_STRING([65, 0])"


@pytest.fixture
def loaded(world: World) -> World:
    """A world whose target `t` was loaded once."""
    world.sync(query=GOOD, mode="append")
    return world


# -- BigQuery and Cloud Storage ----------------------------------------------------------------


def test_what_google_does_not_know_is_a_source_error_that_says_what(
    loaded: World, caplog: pytest.LogCaptureFixture
) -> None:
    loaded.make_source(GOOD)
    unknown = GcsShards(loaded.storage, bucket="no-such-bucket")
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"source": f"{loaded.dataset}.nope"}, "nope", "name of the table"),
        ({"source": "nope.nope"}, "nope", "its dataset"),
        ({"query": f"SELECT * FROM {loaded.dataset}.nope"}, "nope", "name of the table"),
        (
            {"query": "SELECT 1 AS id", "target": "u", "shards": unknown},
            "Bucket no-such-bucket",
            "Create the bucket",
        ),
        (
            {"query": f"SELECT * FROM {loaded.dataset}.source", "location": "EU"},
            "not found in location EU",
            "or location",
        ),
    ]
    for sync, says, way_out in cases:
        error = refused(loaded, SourceError, says=says, way_out=way_out, retryable=False, **sync)
        assert "http" not in str(error), "the request is no news"
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_in_a_bucket_that_does_not_exist_there_is_nothing_to_delete(world: World) -> None:
    unknown = GcsShards(world.storage, bucket="no-such-bucket")
    assert unknown.delete("gs://no-such-bucket/bq2pg/t/run-0/") == 0
    with pytest.raises(StorageError) as stopped:
        unknown.check()
    assert stopped.value.reason == "notFound"
    assert "Create the bucket" in stopped.value.way_out
    assert "http" not in str(stopped.value)


def test_a_location_that_is_not_the_datasets_is_refused_with_the_right_one(world: World) -> None:
    world.make_source(GOOD)
    with pytest.raises(ConfigError) as stopped:
        world.sync(location="EU")
    assert "Use location US" in stopped.value.way_out
    world.no_leftovers()


def test_a_query_above_the_cap_fails_without_charge(world: World) -> None:
    world.make_source(GOOD)
    with pytest.raises(SourceError) as stopped:
        world.sync(export="export_data", max_bytes_billed=1)
    assert stopped.value.reason == "bytesBilledLimitExceeded"
    assert not stopped.value.retryable
    world.no_leftovers()


# -- columns and contents ----------------------------------------------------------------------


def test_names_that_postgresql_can_hold_are_carried_as_they_are(world: World) -> None:
    names = ["select", "user", "Mixed Case", "ünï", LONG]
    listed = ", ".join(f"{number} AS `{name}`" for number, name in enumerate(names))
    world.sync(query=f"SELECT {listed}", mode="merge", cursor=None, key=names[:3])
    columns = world.pg(
        "SELECT attname FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert columns == [(name,) for name in names]
    assert world.rows("t") == [(0, 1, 2, 3, 4)]


def test_names_that_postgresql_cannot_hold_are_refused_and_can_be_renamed(world: World) -> None:
    cases = {
        f"SELECT 1 AS {'a' * 80}": "is 80 bytes long, PostgreSQL keeps 63",
        f"SELECT 1 AS {LONG}b, 2 AS {LONG}c": f"{LONG}c is 64 bytes long",
        "SELECT 1 AS ctid": "has the name of a PostgreSQL system column",
        "SELECT 1 AS XMIN": "has the name of a PostgreSQL system column",
    }
    for number, (query, says) in enumerate(cases.items()):
        with pytest.raises(MappingError) as stopped:
            world.sync(query=query, name=f"t{number}")
        assert says in str(stopped.value)
        assert not world.exists(f"t{number}")
        world.no_leftovers()
        names = [part.split(" AS ")[1] for part in query.removeprefix("SELECT ").split(", ")]
        columns = {name: {"name": f'c"{i}'} for i, name in enumerate(names)}
        assert world.sync(query=query, name=f"t{number}", columns=columns).rows == 1


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_an_empty_source_does_not_empty_the_target_unless_that_is_allowed(
    world: World, mode: str
) -> None:
    # Replace stores no cursor, so that an append after it loads everything as well.
    world.sync(query=GOOD)
    empty = f"SELECT * FROM ({GOOD}) WHERE id > 1"
    refused(
        world,
        VerifyError,
        says="no rows",
        way_out="empty_source: allow",
        retryable=False,
        query=empty,
        mode=mode,
    )
    assert world.sync(query=empty, mode=mode, empty_source="allow").rows == 0
    assert world.rows("t") == []


def test_a_cursor_that_is_missing_or_no_time_is_refused_with_one_that_would_do(
    loaded: World,
) -> None:
    for cursor, says in (("updated_at", "no column updated_at"), ("v", "column v is STRING")):
        refused(
            loaded,
            ConfigError,
            says=says,
            way_out="Set cursor: max_ingested_at",
            retryable=False,
            query=GOOD,
            mode="append",
            cursor=cursor,
        )


@pytest.mark.parametrize(
    ("query", "config", "kind", "says"),
    [
        ("SELECT 1 AS id UNION ALL SELECT NULL", {"not_null": ["id"]}, VerifyError, "1 NULL in id"),
        (
            "SELECT 1 AS id UNION ALL SELECT NULL",
            {"mode": "merge", "cursor": None, "key": ["id"]},
            VerifyError,
            "1 NULL in id",
        ),
        (f"SELECT 'a' AS id UNION ALL SELECT {NUL}", {}, MappingError, "column id"),
        (f"SELECT STRUCT({NUL} AS x) AS id", {}, MappingError, "column id"),
    ],
    ids=["not_null", "key", "NUL in text", "NUL in jsonb"],
)
def test_a_content_that_may_not_be_stops_the_run_and_names_the_column(
    world: World, query: str, config: dict[str, Any], kind: type[Bq2pgError], says: str
) -> None:
    with pytest.raises(kind) as stopped:
        world.sync(query=query, **config)
    assert says in str(stopped.value)
    assert not stopped.value.retryable
    assert not world.exists("t")
    world.no_leftovers()
