"""A database, role or target that cannot work is refused by one sentence, and nothing is touched.

Belongs here: what PostgreSQL says no to, and targets that bq2pg itself refuses. Does not belong
here: the BigQuery side (test_bad_input.py).
"""

from collections.abc import Iterator

import psycopg
import pytest

from bq2pg_assets.engine.errors import ConfigError, MappingError, TargetError, VerifyError
from bq2pg_assets_tests.integration.helpers import World, refused

GOOD = "SELECT 1 AS id, 'a' AS v, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"


@pytest.fixture
def loaded(world: World) -> World:
    """A world whose target `t` was loaded once."""
    world.sync(query=GOOD, mode="append")
    return world


@pytest.fixture
def role(world: World) -> Iterator[str]:
    """A role that may log in and nothing else."""
    name = f"role_{world.database}"
    world.pg(f"CREATE ROLE {name} LOGIN")
    yield name
    world.pg(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize(
    ("change", "retryable", "way_out"),
    [
        ({"port": "1"}, True, "Check host, port and network"),
        ({"dbname": "no_such_database"}, False, "Create the database"),
        ({"user": "no_such_role"}, False, "Correct the user"),
    ],
    ids=["closed port", "database", "role"],
)
def test_a_database_that_cannot_be_entered_is_a_target_error(
    world: World, change: dict[str, str], retryable: bool, way_out: str
) -> None:
    dsn = psycopg.conninfo.make_conninfo(world.dsn, **change)
    with pytest.raises(TargetError) as stopped:
        world.sync(query=GOOD, dsn=dsn)
    assert stopped.value.retryable is retryable
    assert way_out in stopped.value.way_out
    assert world.objects() == []


def test_a_role_that_may_not_log_in_or_connect_is_refused_for_good(world: World, role: str) -> None:
    dsn = psycopg.conninfo.make_conninfo(world.dsn, user=role)
    for forbid, code in (
        (f"REVOKE CONNECT ON DATABASE {world.database} FROM PUBLIC", "42501"),
        (f"ALTER ROLE {role} NOLOGIN", "28000"),
    ):
        world.pg(forbid)
        with pytest.raises(TargetError) as stopped:
            world.sync(query=GOOD, dsn=dsn)
        assert (stopped.value.sqlstate, stopped.value.retryable) == (code, False)


def test_a_role_without_create_is_told_what_to_be_granted_and_then_works(
    world: World, role: str
) -> None:
    dsn = psycopg.conninfo.make_conninfo(world.dsn, user=role)
    with pytest.raises(TargetError) as stopped:
        world.sync(query=GOOD, dsn=dsn)
    assert stopped.value.sqlstate == "42501"
    assert "CREATE on the database for schema bq2pg" in stopped.value.way_out
    world.pg(f"GRANT CREATE ON DATABASE {world.database} TO {role}")
    world.pg(f"GRANT CREATE ON SCHEMA public TO {role}")
    assert world.sync(query=GOOD, dsn=dsn).rows == 1


@pytest.mark.parametrize(
    ("create", "says"),
    [
        ("CREATE VIEW x AS SELECT 1 AS id", "a view of that name"),
        ("CREATE MATERIALIZED VIEW x AS SELECT 1 AS id", "a materialized view of that name"),
        ("CREATE SEQUENCE x", "a sequence of that name"),
        ("CREATE TYPE x AS (id bigint)", "a composite type of that name"),
    ],
)
def test_a_target_that_is_no_table_is_refused(world: World, create: str, says: str) -> None:
    world.pg(create)
    with pytest.raises(TargetError) as stopped:
        world.sync(query="SELECT 1 AS id", target="x")
    assert says in str(stopped.value)
    world.no_leftovers()


@pytest.mark.parametrize(
    "target", ["sync_state", "bq2pg.sync_history", "bq2pg.staged_shards", "other.sync_state"]
)
def test_bq2pgs_own_tables_are_no_targets(loaded: World, target: str) -> None:
    query = "SELECT 'x' AS table_name, DATETIME '2024-01-01 00:00:00' AS last_synced_at"
    refused(
        loaded,
        ConfigError,
        says="its own books",
        way_out="Choose another target",
        retryable=False,
        query=query,
        target=target,
    )


def test_other_columns_are_refused_all_at_once_where_none_may_change(loaded: World) -> None:
    loaded.pg("ALTER TABLE t ALTER v TYPE varchar(9), DROP id, ADD must int NOT NULL DEFAULT 0")
    loaded.pg("ALTER TABLE t ALTER must DROP DEFAULT")
    error = refused(
        loaded,
        MappingError,
        says="column id (bigint) is missing in the target",
        way_out="Run the statements",
        retryable=False,
        query=GOOD,
        mode="append",
        schema_changes="fail",
    )
    assert isinstance(error, MappingError)
    assert len(error.problems) == 3


@pytest.mark.parametrize("mode", ["replace", "append", "merge"])
def test_rows_that_bq2pg_did_not_load_are_left_alone(world: World, mode: str) -> None:
    world.pg("CREATE TABLE t (id bigint, v text, max_ingested_at timestamptz, UNIQUE (id))")
    world.pg("INSERT INTO t VALUES (7, 'mine', now())")
    refused(
        world,
        TargetError,
        says="a table with rows that bq2pg did not load",
        way_out="--full-refresh",
        retryable=False,
        query=GOOD,
        mode=mode,
        key=["id"],
    )


def test_a_merge_needs_a_unique_index_on_the_key(loaded: World) -> None:
    refused(
        loaded,
        TargetError,
        says="no unique index on (id)",
        way_out='ADD PRIMARY KEY ("id")',
        retryable=False,
        query=GOOD,
        mode="merge",
        key=["id"],
    )


def test_rows_that_a_trigger_or_a_policy_keeps_away_stop_the_run(world: World, role: str) -> None:
    world.sync(query=GOOD)
    world.pg("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    world.pg("CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()")
    refused(
        world,
        VerifyError,
        says="PostgreSQL took 0 rows; expected the 1 of the shard",
        way_out="BEFORE INSERT triggers",
        retryable=True,
        query=GOOD,
    )
    refused(
        world,
        VerifyError,
        says="0 rows written to the target; expected the 1 staged",
        way_out="A trigger or rule",
        retryable=False,
        query=GOOD,
        replace_strategy="truncate",
    )
    world.pg("DROP TRIGGER no ON t; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    world.pg(f"GRANT ALL ON SCHEMA public, bq2pg TO {role}")
    world.pg(f"GRANT ALL ON ALL TABLES IN SCHEMA public, bq2pg TO {role}")
    world.pg("CREATE POLICY see ON t FOR SELECT USING (true)")
    world.pg("CREATE POLICY add ON t FOR INSERT WITH CHECK (true)")
    # Deleting what the policy hides would delete nothing: the rows would be there twice.
    refused(
        world,
        TargetError,
        says="row-level security",
        way_out="BYPASSRLS",
        retryable=False,
        query=GOOD,
        replace_strategy="truncate",
        dsn=psycopg.conninfo.make_conninfo(world.dsn, user=role),
    )


def test_text_is_stored_right_whatever_the_database_is_encoded_in(world: World) -> None:
    name = f"{world.database}_latin"
    world.pg(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        latin = psycopg.conninfo.make_conninfo(world.dsn, dbname=name)
        world.sync(query="SELECT 'ä' AS v", dsn=latin)
        assert world.pg("SELECT ascii(v), length(v) FROM t", dsn=latin) == [(0xE4, 1)]
        with pytest.raises(TargetError) as stopped:
            world.sync(query="SELECT '€' AS v", dsn=latin)
        assert "encoding lacks" in stopped.value.way_out
    finally:
        world.pg(f"DROP DATABASE {name} WITH (FORCE)")
