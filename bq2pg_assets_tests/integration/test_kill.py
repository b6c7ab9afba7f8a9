"""Killed anywhere and run again, the target is as after an undisturbed run.

Belongs here: SIGKILL of a process that syncs, at export, copy and publish, and what becomes of
its staging table. Does not belong here: cancelling (test_cancel.py), exported objects, which the
bucket's lifecycle rule removes.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from bq2pg_assets.engine.model import Outcome
from bq2pg_assets_tests.integration.helpers import Snapshot, World, locking, moment, until, waiting

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "SELECT 0 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
AFTER = f"{BEFORE} UNION ALL SELECT x, TIMESTAMP '2024-01-02 00:00:00+00' FROM UNNEST([1, 2]) AS x"


@contextmanager
def victim(
    world: World, *, hold: str, shards: int = 0, **table: Any
) -> Iterator["subprocess.Popen[str]"]:
    """A process that syncs and is killed when the block ends."""
    given = {
        "project": world.client.project,
        "bigquery": world.client._connection.API_BASE_URL,
        "storage": world.storage._connection.API_BASE_URL,
        "bucket": world.bucket,
        "dataset": world.dataset,
        "dsn": world.dsn,
        "hold": hold,
        "shards": shards,
        "table": table,
    }
    command = [sys.executable, "-m", f"{__package__}.victim", json.dumps(given)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until_it_holds(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n", "the process ended before it got there"


def run_again(world: World, before: Snapshot, **table: Any) -> None:
    """The dead run changed nothing; the next one brings all; history tells both."""
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    assert Snapshot.of(world) == before
    world.sync(**table)
    assert world.rows("t") == world.bq(f"SELECT * FROM ({AFTER}) ORDER BY 1")
    assert world.cursor() == moment("2024-01-02")
    outcomes = [h["outcome"] for h in world.history() if h["target"] == "public.t"]
    assert outcomes[-2:] == ["killed", "loaded"]
    assert world.stages() == []


@pytest.mark.parametrize(
    ("hold", "mode"),
    [
        ("copy", {"mode": "append"}),
        ("publish", {"mode": "append"}),
        ("publish", {"mode": "merge", "key": ["id"]}),
    ],
)
def test_a_run_killed_before_it_commits_is_made_good_by_the_next(
    world: World, hold: str, mode: dict[str, Any]
) -> None:
    world.sync(query=BEFORE, **mode)
    before, table = Snapshot.of(world), {"query": AFTER, **mode}
    inside_publish = hold == "publish"
    lock = locking(world.dsn, "LOCK TABLE t IN SHARE MODE") if inside_publish else nullcontext()
    with lock, victim(world, hold="" if inside_publish else hold, **table) as process:
        if inside_publish:
            until(lambda: waiting(world, "public.t"), "the publish to wait for the lock")
        else:
            until_it_holds(process)
    assert len(world.stages()) == 1
    run_again(world, before, **table)


def test_a_run_killed_while_bigquery_exports_is_made_good_by_the_next(
    world: World, slow_world: World
) -> None:
    table = {"query": AFTER, "mode": "append"}
    world.sync(query=BEFORE, mode="append")
    before = Snapshot.of(world)
    with victim(slow_world, hold="", **table):
        [job] = until(slow_world.running, "the export to run")
    slow_world.client.cancel_job(job.job_id, location=job.location)
    run_again(world, before, **table)


def test_a_run_killed_after_it_committed_is_not_repeated(world: World) -> None:
    table = {"query": AFTER, "mode": "append"}
    world.sync(query=BEFORE, mode="append")
    with victim(world, hold="after", **table) as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    assert len(world.stages()) == 1
    assert world.sync(**table).outcome is Outcome.NOTHING_NEW
    assert [h["outcome"] for h in world.history()] == ["loaded", "loaded", "nothing_new"]
    assert world.stages() == []


def test_only_staging_tables_of_the_same_target_that_nobody_holds_are_dropped(
    world: World,
) -> None:
    world.sync(query=BEFORE, mode="append")
    ours, theirs = "bq2pg staging of public.t", "bq2pg staging of public.t2"
    for name, comment in (
        ("stage_t_dead", ours),
        ("stage_t_held", ours),
        ("stage_t2_theirs", theirs),
        ("stage_of_a_person", "mine"),
        ("kept", ours),
    ):
        world.pg(f"CREATE TABLE bq2pg.{name} ()")
        world.pg(f"COMMENT ON TABLE bq2pg.{name} IS '{comment}'")
    with locking(world.dsn, "LOCK TABLE bq2pg.stage_t_held IN ROW EXCLUSIVE MODE"):
        assert world.sync(query=AFTER, mode="append").rows == 2
    assert sorted(world.stages()) == ["stage_of_a_person", "stage_t2_theirs", "stage_t_held"]
    assert world.exists("bq2pg.kept")
    world.sync(query=AFTER, mode="append")
    assert sorted(world.stages()) == ["stage_of_a_person", "stage_t2_theirs"]
