"""Waiting: for another run of the table, for a free connection, for a server that comes back.

Belongs here: who waits for what, what ends it, and that a dead client keeps nothing. Does not:
runs that do not wait (test_concurrency.py).
"""

import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest
import stamina

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.connecting import CONNECTING
from bq2pg_assets.engine.connections import ConnectionLimit
from bq2pg_assets.engine.errors import CancelledError, LockedError, TargetError
from bq2pg_assets.engine.model import Outcome, RunOptions
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets_tests.integration.helpers import (
    Gate,
    World,
    background,
    locking,
    until,
    waiting,
)
from bq2pg_assets_tests.integration.test_kill import until_it_holds, victim

QUERY = "SELECT 1 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
PATIENT = RunOptions(wait=60)


def test_a_run_that_waits_begins_when_the_other_one_ends(world: World) -> None:
    gate = Gate("publish")
    with background(lambda: world.sync(query=QUERY, mode="append", report=gate)) as first:
        gate.wait()
        with background(lambda: world.sync(query=QUERY, mode="append", options=PATIENT)) as second:
            until(lambda: waiting(world, "public.t"), "the second run to wait")
            gate.open()
        assert first.result().outcome is Outcome.LOADED
        assert second.result().outcome is Outcome.NOTHING_NEW
    assert [h["outcome"] for h in world.history()] == ["loaded", "nothing_new"]
    assert [row[0] for row in world.rows("t")] == [1]
    world.no_leftovers()


def test_a_run_waits_for_one_of_another_process_and_takes_over_when_that_dies(
    world: World,
) -> None:
    with victim(world, hold="publish", query=QUERY, mode="append") as process:
        until_it_holds(process)
        with background(lambda: world.sync(query=QUERY, mode="append", options=PATIENT)) as second:
            until(lambda: waiting(world, "public.t"), "the second run to wait")
            process.kill()
        assert second.result().outcome is Outcome.LOADED
    assert [h["outcome"] for h in world.history()] == ["killed", "loaded"]
    assert [row[0] for row in world.rows("t")] == [1]


def test_waiting_too_long_is_refused_and_recorded(world: World) -> None:
    gate = Gate("copy")
    with background(lambda: world.sync(query=QUERY, report=gate)) as first:
        gate.wait()
        with pytest.raises(LockedError, match="and was for 1 s"):
            world.sync(query=QUERY, options=RunOptions(wait=1))
        gate.open()
    assert first.result().outcome is Outcome.LOADED
    assert [h["outcome"] for h in world.history()] == ["loaded", "locked"]
    world.no_leftovers()


def test_a_run_that_waits_can_be_cancelled(world: World) -> None:
    gate, token = Gate("copy"), CancelToken()
    with background(lambda: world.sync(query=QUERY, report=gate)) as first:
        gate.wait()
        with background(lambda: world.sync(query=QUERY, options=PATIENT, cancel=token)) as second:
            until(lambda: waiting(world, "public.t"), "the second run to wait")
            token.cancel()
        assert isinstance(second.exception(), CancelledError)
        gate.open()
    assert first.result().outcome is Outcome.LOADED
    world.no_leftovers()


def test_32_tables_at_once_share_8_connections(world: World) -> None:
    """The role may open no ninth: were the limit exceeded, a run would fail or be waited for."""
    role, password = f"loader_{world.database}", "throw-away"
    names = [f"table_{number}" for number in range(32)]
    with psycopg.connect(world.dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT 8".encode())
        admin.execute(f"GRANT CREATE ON DATABASE {world.database} TO {role}".encode())
        admin.execute(f"GRANT CREATE ON SCHEMA public TO {role}".encode())
        dsn = psycopg.conninfo.make_conninfo(world.dsn, user=role, password=password)
        shared = PostgresTarget(dsn, limit=ConnectionLimit(8))
        try:
            # With waits: a closed connection counts until its backend has ended.
            with stamina.set_testing(False), ThreadPoolExecutor(len(names)) as pool:
                runs = [
                    pool.submit(
                        world.sync,
                        query=f"SELECT {at} AS id",
                        name=name,
                        parallelism=4,
                        into=shared,
                    )
                    for at, name in enumerate(names)
                ]
            assert {run.result().outcome for run in runs} == {Outcome.LOADED}
        finally:
            owned = f"REASSIGN OWNED BY {role} TO CURRENT_USER"
            admin.execute(f"{owned}; DROP OWNED BY {role}; DROP ROLE {role}".encode())
    assert [world.rows(name) for name in names] == [[(at,)] for at in range(len(names))]
    assert {h["outcome"] for h in world.history()} == {"loaded"}
    world.no_leftovers()


def test_a_client_that_died_while_it_waited_for_a_lock_keeps_nothing(world: World) -> None:
    """The reader stays: until its lock goes, nothing but the check interval ends the wait."""
    world.sync(query=QUERY)
    with locking(world.dsn, "LOCK TABLE t IN SHARE MODE"):
        with victim(world, hold="", query=QUERY) as process:
            until(lambda: waiting(world, "public.t"), "the run to wait for the reader")
            assert process.poll() is None
        # Sooner than LOCK_TIMEOUT would end it.
        until(lambda: world.locks() == 0, "PostgreSQL to notice", seconds=8)
    assert world.sync(query=QUERY).outcome is Outcome.LOADED


def test_the_connection_that_holds_the_lock_may_idle_for_as_long_as_the_copy_takes(
    world: World,
) -> None:
    impatient = psycopg.conninfo.make_conninfo(world.dsn, options="-c idle_session_timeout=200ms")
    gate = Gate("copy")
    with background(lambda: world.sync(query=QUERY, report=gate, dsn=impatient)) as run:
        gate.wait()
        idle = "SELECT clock_timestamp() - state_change > '1s' FROM pg_stat_activity WHERE "
        mine = "application_name = 'bq2pg public.t' AND datname = current_database()"
        until(lambda: world.pg(idle + mine) == [(True,)], "the session to idle for a second")
        gate.open()
    assert run.result().outcome is Outcome.LOADED


def test_dropping_the_staging_table_gives_way_to_who_holds_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a limit the run would never end, nor let go of its table."""
    world.sync(query=QUERY)
    gate, how = Gate("verify"), {"query": QUERY, "replace_strategy": "truncate"}
    with background(lambda: world.sync(**how, report=gate)) as run:
        gate.wait()
        [stage] = world.stages()
        with locking(world.dsn, f'LOCK TABLE bq2pg."{stage}" IN ACCESS SHARE MODE'):
            gate.open()
            assert run.result(timeout=30).outcome is Outcome.LOADED
    assert "could not drop staging table" in caplog.text
    world.sync(**how)
    assert world.stages() == []


@pytest.mark.parametrize("drops", [1, CONNECTING.calls - 1])
def test_a_server_that_comes_back_in_time_costs_no_attempt(world: World, drops: int) -> None:
    with doorkeeper(world.dsn, drops=drops) as (dsn, seen):
        assert world.sync(query=QUERY, dsn=dsn).outcome is Outcome.LOADED
    assert len(seen) > drops
    assert [h["outcome"] for h in world.history()] == ["loaded"]


def test_a_server_that_stays_away_fails_the_attempt(world: World) -> None:
    with doorkeeper(world.dsn, drops=1000) as (dsn, seen):
        with pytest.raises(TargetError) as stopped:
            world.sync(query=QUERY, dsn=dsn)
        assert stopped.value.retryable
        assert len(seen) == CONNECTING.calls
        with pytest.raises(TargetError):
            world.target(dsn).status()
        assert len(seen) == CONNECTING.calls + 1, "who only asks is answered at once"


def test_a_wrong_password_is_not_tried_again(world: World) -> None:
    with pytest.raises(TargetError) as stopped:
        world.sync(query=QUERY, dsn=psycopg.conninfo.make_conninfo(world.dsn, user="nobody"))
    assert not stopped.value.retryable


@contextmanager
def doorkeeper(dsn: str, *, drops: int) -> Iterator[tuple[str, list[int]]]:
    """An address that hangs up on the first `drops` clients and lets the later ones through.

    Yields it with the list of clients so far.
    """
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(64) as pool:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return  # closed: the test is over
                seen.append(len(seen))
                if len(seen) <= drops:
                    client.close()
                    continue
                behind = _connect(str(parts["host"]), int(str(parts["port"])))
                pool.submit(_pass_on, client, behind)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = server.getsockname()[:2]
        try:
            yield psycopg.conninfo.make_conninfo(dsn, host=host, port=port), seen
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _connect(host: str, port: int) -> socket.socket:
    if host.startswith("/"):
        behind = socket.socket(socket.AF_UNIX)
        behind.connect(f"{host}/.s.PGSQL.{port}")
        return behind
    return socket.create_connection((host, port))


def _pass_on(client: socket.socket, behind: socket.socket) -> None:
    """Until one of the two hangs up."""
    other = {client: behind, behind: client}
    with client, behind, suppress(OSError):
        while True:
            for giver in select.select([client, behind], [], [])[0]:
                if not (piece := giver.recv(65536)):
                    return
                other[giver].sendall(piece)
