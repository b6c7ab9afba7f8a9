"""What a real server says when it refuses, and what the errors make of it.

Belongs here: refusals that PostgreSQL itself puts into words, to hold the tables of
postgres_errors.py to them. Does not belong here: targets that do not fit (test_bad_target.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from bq2pg_assets.engine.errors import TargetError
from bq2pg_assets.engine.postgres_errors import postgres_errors
from bq2pg_assets_tests.integration.helpers import World, locking

QUERY = "SELECT 1 AS id"


@pytest.fixture
def role(world: World) -> Iterator[str]:
    """A role that may log in, but has no connection free."""
    name = f"role_{world.database}"
    world.pg(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0")
    yield name
    world.pg(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("change", "sqlstate", "retryable", "way_out"),
    [
        ({"dbname": "no_such"}, "3D000", False, "Create the database"),
        ({"user": "no_such"}, "28000", False, "Correct the user"),
        ({"port": "1"}, "", True, "Check host, port and network"),
        ({"host": "no-such-host.invalid"}, "", True, "its name resolves"),
        ({"options": "-c default_transaction_read_only=on"}, "25006", False, "replica"),
    ],
    ids=["database", "user", "port", "host", "read-only"],
)
def test_a_connection_that_cannot_work_says_what_to_correct(
    world: World, change: dict[str, str], sqlstate: str, retryable: bool, way_out: str
) -> None:
    dsn = psycopg.conninfo.make_conninfo(world.dsn, **change)
    with pytest.raises(TargetError) as stopped:
        world.sync(query=QUERY, dsn=dsn)
    error = stopped.value
    assert (error.sqlstate, error.retryable) == (sqlstate, retryable), str(error)
    assert way_out in error.way_out


def test_a_role_without_a_free_connection_is_worth_a_retry(world: World, role: str) -> None:
    dsn = psycopg.conninfo.make_conninfo(world.dsn, user=role)
    with pytest.raises(TargetError, match="too many connections for role") as stopped:
        world.sync(query=QUERY, dsn=dsn)
    assert (stopped.value.sqlstate, stopped.value.retryable) == ("53300", True)
    assert "CONNECTION LIMIT" in stopped.value.way_out


def test_a_server_without_ssl_is_told_apart_from_one_that_is_down(world: World) -> None:
    dsn = psycopg.conninfo.make_conninfo(world.dsn, host="127.0.0.1", sslmode="require")
    with pytest.raises(TargetError) as stopped:
        world.sync(query=QUERY, dsn=dsn)
    assert not stopped.value.retryable
    assert "sslmode" in stopped.value.way_out


def terminate(world: World, conn: psycopg.Connection[object]) -> None:
    world.pg("SELECT pg_terminate_backend(%s)", conn.info.backend_pid)


def lock_in_vain(world: World, conn: psycopg.Connection[object]) -> None:
    world.pg("CREATE TABLE busy ()")
    conn.execute("SET lock_timeout = '10ms'")
    with locking(world.dsn, "LOCK TABLE busy"):
        conn.execute("LOCK TABLE busy")


def meets(
    world: World,
    conn: psycopg.Connection[object],
    happens: Callable[[World, psycopg.Connection[object]], None],
) -> None:
    """Work on the connection while it happens."""
    with postgres_errors("t"):
        happens(world, conn)
        conn.execute("SELECT 1")


@contextmanager
def own_connection(world: World) -> Iterator[psycopg.Connection[object]]:
    conn = psycopg.connect(world.dsn)
    try:
        yield conn
    finally:
        conn.close()


@pytest.mark.parametrize(
    ("happens", "sqlstate"), [(terminate, "57P01"), (lock_in_vain, "55P03")], ids=["57P01", "55P03"]
)
def test_what_passes_on_the_server_is_worth_a_retry(
    world: World,
    happens: Callable[[World, psycopg.Connection[object]], None],
    sqlstate: str,
) -> None:
    with own_connection(world) as conn, pytest.raises(TargetError) as stopped:
        meets(world, conn, happens)
    assert stopped.value.retryable
    assert stopped.value.sqlstate == sqlstate
    assert "run again" in stopped.value.way_out
