"""A run that died after its export is gone on with: nothing is exported or copied twice.

Belongs here: which exports and staged shards are used again, which are not, and that the rows are
right either way. Does not belong here: that a death harms nothing (test_kill.py), removing what
nobody goes on with (test_janitor.py).
"""

import uuid
from typing import Any

import pytest
from google.cloud import storage

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, StorageError, TargetError, VerifyError
from bq2pg_assets.engine.model import Outcome, RunId, RunOptions, Shard
from bq2pg_assets.engine.parquet import FetchedShard
from bq2pg_assets.engine.results import Progress, SyncResult
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.sync import plan_table
from bq2pg_assets_tests.integration.helpers import World, locking, moment, until
from bq2pg_assets_tests.integration.test_kill import until_it_holds, victim

OLD = "SELECT 0 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
NEW = f"{OLD} UNION ALL SELECT x, TIMESTAMP '2024-01-02 00:00:00+00' FROM UNNEST([1, 2]) AS x"
WIDE = "REPEAT(TO_HEX(SHA256(CAST(x AS STRING))), 20)"


class Counting(GcsShards):
    """The bucket, and which of its objects were read."""

    def __init__(self, client: storage.Client, *, bucket: str) -> None:
        super().__init__(client, bucket=bucket)
        self.read: list[str] = []

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> FetchedShard:
        self.read.append(shard.uri)
        return super().fetch(shard, piece=piece, cancel=cancel)


def counting(world: World) -> Counting:
    return Counting(world.storage, bucket=world.bucket)


def die(world: World, *, phase: str = "verify", **sync: Any) -> None:
    """A run whose connections to PostgreSQL are cut when it comes to `phase`."""

    def cut(progress: Progress) -> None:
        if progress.phase == phase:
            world.pg(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name LIKE 'bq2pg %%' AND datname = %s",
                world.database,
            )

    with pytest.raises(TargetError) as stopped:
        world.sync(report=cut, **sync)
    assert stopped.value.retryable
    until(lambda: world.locks() == 0, "the advisory lock to be released")


def assert_went_on(world: World, result: SyncResult, *, outcome: str) -> None:
    """One export in all, free for the run that used it again; nothing is left."""
    exports = [job for job in world.exports() if job.job_id.endswith("_export")]
    assert [job.job_id for job in exports] == [result.job_id]
    assert (result.bytes_billed, result.bytes_processed, result.cost) == (0, 0, 0.0)
    dead, last = world.history()[-2:]
    assert (dead["outcome"], last["outcome"]) == (outcome, "loaded")
    assert last["resumed_from"] == f"{dead['run_id']}-{dead['attempt']}"
    assert dead["run_id"] in (result.resumed_from or "")
    world.no_leftovers()
    assert world.pg("SELECT * FROM bq2pg.staged_shards") == []


@pytest.mark.parametrize(
    ("hold", "copied", "read_again"),
    [("copy", -1, 1), ("copy", 1, 0), ("verify", 0, 0), ("publish", 0, 0)],
)
def test_a_run_killed_after_its_export_is_gone_on_with(
    world: World, hold: str, copied: int, read_again: int
) -> None:
    shards = counting(world)
    with victim(world, hold=hold, shards=copied, query=NEW, mode="append") as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    result = world.sync(query=NEW, mode="append", shards=shards)
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    assert (result.rows, result.shards, len(shards.read)) == (3, 1, read_again)
    assert world.cursor() == moment("2024-01-02")
    assert_went_on(world, result, outcome="killed")


def test_shards_that_a_killed_run_had_copied_are_not_copied_again(world: World) -> None:
    rows, shards = 150_000, counting(world)
    world.make_source(f"SELECT x AS id, {WIDE} AS v FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS x")
    with victim(world, hold="copy", shards=1, parallelism=1) as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    [(done, staged)] = world.pg("SELECT uri, rows FROM bq2pg.staged_shards")
    told: list[Progress] = []
    result = world.sync(shards=shards, report=told.append)
    assert done not in shards.read
    assert len(shards.read) == result.shards - 1 > 0
    assert min(p.rows for p in told if p.phase == "copy" and p.shards) >= staged
    assert world.pg("SELECT count(*), count(DISTINCT id) FROM t") == [(rows, rows)]
    assert result.rows == rows
    assert_went_on(world, result, outcome="killed")


def test_what_postgresql_failed_to_take_is_there_for_the_retry(world: World) -> None:
    world.make_source(NEW)
    run = uuid.uuid4().hex
    die(world, run=RunId(run, 0))
    result = world.sync(run=RunId(run, 1))
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    assert_went_on(world, result, outcome="failed")


def test_a_run_that_went_on_and_died_as_well_is_gone_on_with(world: World) -> None:
    shards = counting(world)
    die(world, query=NEW)
    die(world, query=NEW, phase="publish", shards=shards)
    result = world.sync(query=NEW, shards=shards)
    assert shards.read == []
    assert_went_on(world, result, outcome="failed")


def test_rows_that_came_after_the_export_come_with_the_next_run(world: World) -> None:
    world.make_source(OLD)
    world.sync(mode="append")
    world.bq("INSERT INTO {d}.source VALUES (1, TIMESTAMP '2024-01-02 00:00:00+00')")
    die(world, mode="append")
    world.bq("INSERT INTO {d}.source VALUES (2, TIMESTAMP '2024-01-03 00:00:00+00')")
    result = world.sync(mode="append")
    assert (result.rows, result.bytes_billed, result.publish.value) == (1, 0, "append")
    assert result.resumed_from is not None
    assert world.history()[-2]["bytes_billed"] > 0, "of the dead run alone"
    assert world.cursor() == moment("2024-01-02")
    assert world.sync(mode="append").rows == 1
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    world.no_leftovers()


def test_the_source_is_as_old_as_the_export_that_was_used_again(world: World) -> None:
    world.make_source(OLD)
    die(world)
    [dead] = world.history()
    world.make_source(NEW)
    result = world.sync()
    assert [row[0] for row in world.rows("t")] == [0]
    assert result.source_modified_at == dead["source_modified_at"]
    assert world.sync().resumed_from is None
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]


@pytest.mark.parametrize(
    "changed",
    [
        {"query": f"{NEW} UNION ALL SELECT 3, NULL"},
        {"query": NEW, "columns": {"id": {"name": "number"}}},
        {"query": NEW, "columns": {"id": {"cast": "STRING"}}},
        {"query": NEW, "mode": "append"},
        {"query": NEW, "nul_bytes": "strip"},
        {"query": NEW, "resume": 0},
        {"query": NEW, "options": RunOptions(full_refresh=True)},
        {"query": NEW, "options": RunOptions(where="id < 9")},
        {"query": NEW, "options": RunOptions(limit=9)},
    ],
    ids=str,
)
def test_another_plan_has_an_export_of_its_own(world: World, changed: dict[str, Any]) -> None:
    die(world, query=NEW)
    result = world.sync(**changed)
    assert result.resumed_from is None
    assert len([job for job in world.exports() if job.job_id.endswith("_export")]) == 2
    assert world.stages() == []


SPOILT = {
    "too old": "UPDATE bq2pg.sync_history SET exported_at = exported_at - interval '7 hours'",
    "another bucket": "UPDATE bq2pg.sync_history SET prefix = 'gs://other/bq2pg/t/x-0/'",
    "an unknown job": "UPDATE bq2pg.sync_history SET job_id = 'bq2pg_t_unknown_export'",
}


@pytest.mark.parametrize("statement", SPOILT.values(), ids=SPOILT)
def test_an_export_that_is_not_certain_is_not_used_again(world: World, statement: str) -> None:
    die(world, query=NEW)
    world.pg(statement)
    assert world.sync(query=NEW).resumed_from is None
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]


def test_an_export_whose_objects_are_gone_is_not_used_again(world: World) -> None:
    die(world, query=NEW)
    for name in world.objects():
        world.storage.bucket(world.bucket).blob(name).delete()
    assert world.sync(query=NEW).resumed_from is None
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    world.no_leftovers()


def test_an_export_older_than_the_last_load_is_not_used_again(world: World) -> None:
    die(world, query=OLD)
    world.sync(query=NEW)
    fewer = RunOptions(allow_shrink=True)
    assert world.sync(query=OLD, options=fewer).resumed_from is None


def test_the_retry_of_a_full_refresh_goes_on_with_its_own_export_only(world: World) -> None:
    full, run = RunOptions(full_refresh=True), uuid.uuid4().hex
    die(world, query=NEW, options=full, run=RunId(run))
    assert world.sync(query=NEW, options=full, run=RunId(run, 1)).resumed_from is not None
    die(world, query=NEW, options=full)
    assert world.sync(query=NEW, options=full).resumed_from is None


@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE bq2pg.{}", "INSERT INTO bq2pg.{} SELECT * FROM bq2pg.{} LIMIT 1"],
    ids=["emptied", "more rows"],
)
def test_a_staging_table_that_does_not_hold_what_is_remembered_is_made_again(
    world: World, statement: str
) -> None:
    """A crash of the server empties unlogged tables, and the memory of them stays."""
    shards = counting(world)
    die(world, query=NEW)
    [stage] = world.stages()
    world.pg(statement.replace("{}", f'"{stage}"'))
    result = world.sync(query=NEW, shards=shards)
    assert len(shards.read) == 1
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    assert_went_on(world, result, outcome="failed")


def test_a_staging_table_that_a_copy_still_holds_is_not_taken_over(world: World) -> None:
    die(world, query=NEW)
    [stage] = world.stages()
    with locking(world.dsn, f'LOCK TABLE bq2pg."{stage}" IN ROW EXCLUSIVE MODE'):
        result = world.sync(query=NEW)
    assert (result.rows, result.resumed_from is None) == (3, False)
    assert world.stages() == [stage]
    assert [row[0] for row in world.rows("t")] == [0, 1, 2]
    world.sync(query=NEW)
    world.no_leftovers()


def test_a_final_failure_and_a_cancellation_leave_nothing_to_go_on_with(world: World) -> None:
    query = f"{NEW} UNION ALL SELECT NULL, NULL"
    die(world, query=query)
    with pytest.raises(VerifyError):
        world.sync(query=query, not_null=["id"])
    world.no_leftovers()
    token = CancelToken()
    with pytest.raises(CancelledError):
        world.sync(query=NEW, cancel=token, report=lambda p: p.phase == "copy" and token.cancel())
    world.no_leftovers()
    assert world.sync(query=NEW).resumed_from is None


def test_the_plan_tells_that_an_export_would_be_used_again(world: World) -> None:
    dead = RunId(uuid.uuid4().hex)
    die(world, query=NEW, run=dead)
    plan, estimate = plan_table(
        world.table(query=NEW),
        source=world.source(),
        target=world.target(),
        shards=world.shards(),
        run=RunId(uuid.uuid4().hex),
    )
    assert plan.reason.startswith("export of 20")
    assert plan.reason.endswith(f" UTC reused, of run {dead.slug}")
    assert (estimate.bytes, estimate.cost) == (0, 0.0)
    assert world.sync(query=NEW).outcome is Outcome.LOADED


def test_what_nobody_goes_on_with_is_deleted_by_the_next_run(world: World) -> None:
    """A snapshot's export is never used again: its rows are of another moment."""
    with victim(world, hold="verify", query=NEW, mode="snapshot") as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    assert len(world.objects()) == 1
    assert world.sync(query=NEW, mode="snapshot").resumed_from is None
    world.no_leftovers()
    assert world.pg("SELECT * FROM bq2pg.staged_shards") == []


def test_what_a_run_could_not_delete_is_deleted_by_the_next(world: World) -> None:
    class Stuck(GcsShards):
        def delete(self, prefix: str) -> int:
            raise StorageError(prefix, met="HTTP 503", expected="b", way_out="c.", retryable=True)

    world.sync(query=NEW, shards=Stuck(world.storage, bucket=world.bucket))
    assert len(world.objects()) == 1
    world.sync(query=NEW)
    world.no_leftovers()
