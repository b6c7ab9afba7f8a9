"""Killed anywhere and run again, the target is as after an undisturbed run.

Belongs here: SIGKILL of a process that syncs, at export, copy and publish. Does not belong here:
cancelling (test_cancel.py). What a dead process leaves behind besides the target (a staging table,
objects) is nobody's to clean up in its own run, and not asserted.
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
def victim(world: World, *, hold: str, **table: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that syncs and is killed when the block ends."""
    given = {
        "project": world.client.project,
        "bigquery": world.client._connection.API_BASE_URL,
        "storage": world.storage._connection.API_BASE_URL,
        "bucket": world.bucket,
        "dataset": world.dataset,
        "dsn": world.dsn,
        "hold": hold,
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
    with victim(world, hold="after", **table) as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    assert world.sync(**table).outcome is Outcome.NOTHING_NEW
    assert [h["outcome"] for h in world.history()] == ["loaded", "nothing_new"]
