"""A cancelled run publishes nothing, leaves nothing behind, and the next run is a normal one.

Belongs here: CancelToken.cancel() in every phase that can block. Does not belong here: a process
that dies (test_kill.py), signals and Dagster's termination (their own layers).
"""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError
from bq2pg_assets.engine.model import Mode, Shard
from bq2pg_assets.engine.parquet import FetchedShard
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.integration.helpers import (
    DEADLINE,
    Snapshot,
    World,
    background,
    locking,
    until,
    waiting,
)

BEFORE = "SELECT 0 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
AFTER = f"{BEFORE} UNION ALL SELECT x, TIMESTAMP '2024-01-02 00:00:00+00' FROM UNNEST([1, 2]) AS x"
QUICK = 15.0


class Held(GcsShards):
    """Holds the copy between creating the staging table and reading the first shard."""

    def __init__(self, world: World) -> None:
        super().__init__(world.storage, bucket=world.bucket)
        self.reached, self.go = threading.Event(), threading.Event()

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> FetchedShard:
        self.reached.set()
        assert self.go.wait(DEADLINE)
        return super().fetch(shard, piece=piece, cancel=cancel)


def cancelled(run: Future[Any], world: World, before: Snapshot) -> None:
    """The run ended as it should: soon, with the right error, without a trace."""
    error = run.exception(timeout=QUICK)
    assert isinstance(error, CancelledError)
    assert not error.retryable
    assert Snapshot.of(world) == before
    assert world.history()[-1]["outcome"] == "cancelled"
    world.no_leftovers()


def next_run_is_normal(world: World) -> None:
    result = world.sync(query=AFTER, mode="append")
    assert (result.publish, result.rows) == (Mode.APPEND, 2)
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]


def test_a_cancel_while_the_export_runs_also_cancels_bigquerys_job(
    world: World, slow_world: World
) -> None:
    world.sync(query=BEFORE, mode="append")
    before, token = Snapshot.of(world), CancelToken()
    with background(lambda: slow_world.sync(query=AFTER, mode="append", cancel=token)) as run:
        until(slow_world.running, "the export to run")
        token.cancel()
        cancelled(run, slow_world, before)
    [job] = slow_world.exports()
    assert (job.state, job.error_result["reason"]) == ("DONE", "stopped")
    next_run_is_normal(world)


def test_a_cancel_interrupts_a_copy_that_the_server_keeps_waiting(world: World) -> None:
    world.sync(query=BEFORE, mode="append")
    before, token, held = Snapshot.of(world), CancelToken(), Held(world)
    with background(
        lambda: world.sync(query=AFTER, mode="append", cancel=token, shards=held)
    ) as run:
        assert held.reached.wait(DEADLINE)
        [stage] = world.stages()
        with locking(world.dsn, f'LOCK TABLE bq2pg."{stage}" IN ACCESS EXCLUSIVE MODE'):
            held.go.set()
            until(lambda: waiting(world, "copy"), "COPY to wait for the lock")
            token.cancel()
            until(lambda: not waiting(world, "copy"), "COPY to be interrupted")
        cancelled(run, world, before)
    next_run_is_normal(world)


def test_a_cancel_interrupts_a_publish_that_waits_for_a_lock(world: World) -> None:
    world.sync(query=BEFORE, mode="append")
    before, token = Snapshot.of(world), CancelToken()
    with (
        locking(world.dsn, "LOCK TABLE t IN SHARE MODE"),
        background(lambda: world.sync(query=AFTER, mode="append", cancel=token)) as run,
    ):
        until(lambda: waiting(world, "public.t"), "the INSERT to wait for the lock")
        token.cancel()
        cancelled(run, world, before)  # by the cancel, not by the lock's own timeout
    next_run_is_normal(world)


def test_a_cancel_that_reaches_the_commit_itself_rolls_everything_back(world: World) -> None:
    world.sync(query=BEFORE, mode="append")
    world.pg(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END'"
    )
    world.pg(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    before, token = Snapshot.of(world), CancelToken()
    with (
        locking(world.dsn, "SELECT pg_advisory_xact_lock(42)"),
        background(lambda: world.sync(query=AFTER, mode="append", cancel=token)) as run,
    ):
        until(lambda: waiting(world, "public.t"), "the COMMIT to wait for the lock")
        token.cancel()
        assert isinstance(run.exception(timeout=QUICK), CancelledError)
    cancelled(run, world, before)
    next_run_is_normal(world)


@pytest.mark.parametrize("phase", ["plan", "export", "copy", "verify", "publish"])
def test_a_cancel_at_the_start_of_any_phase_leaves_nothing(world: World, phase: str) -> None:
    token, before = CancelToken(), Snapshot.of(world)
    with background(
        lambda: world.sync(
            query=AFTER, cancel=token, report=lambda p: p.phase == phase and token.cancel()
        )
    ) as run:
        cancelled(run, world, before)


def test_a_cancel_after_the_publish_comes_too_late(world: World) -> None:
    token = CancelToken()
    result = world.sync(
        query=AFTER, cancel=token, report=lambda p: p.phase == "after" and token.cancel()
    )
    assert token.cancelled
    assert (result.outcome, world.history()[-1]["outcome"]) == ("loaded", "loaded")
    assert len(world.rows("t")) == 3
    world.no_leftovers()


def test_a_cancelled_export_of_many_objects_leaves_none_of_them(world: World) -> None:
    world.make_source(
        "SELECT x AS id, REPEAT('0123456789', 100) AS v FROM UNNEST(GENERATE_ARRAY(1, 200000)) AS x"
    )
    token = CancelToken()
    with background(lambda: world.sync(cancel=token)) as run:
        until(world.objects, "the first object")
        token.cancel()
        assert isinstance(run.exception(timeout=QUICK), CancelledError)
    until(lambda: [job.state for job in world.exports()] == ["DONE"], "the job to end")
    world.no_leftovers()
