"""What dead runs left is found and removed; what lives, or may be another's, is not.

Belongs here: `janitor.clean` against the real services. Does not belong here: going on with what a
dead run left (test_resume.py), the command and the job around it (cli/, defs/).
"""

import uuid
from typing import Any

import psycopg

from bq2pg_assets.engine import janitor
from bq2pg_assets.engine.errors import StorageError
from bq2pg_assets.engine.janitor import Cleaning
from bq2pg_assets.engine.model import Outcome, RunId
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.integration.helpers import Gate, World, background, until
from bq2pg_assets_tests.integration.test_kill import until_it_holds, victim
from bq2pg_assets_tests.integration.test_resume import NEW, die

HOUR = 3600
DAY = 24 * HOUR


def clean(world: World, **given: Any) -> Cleaning:
    parts = world.target(), world.source(), given.pop("shards", None) or world.shards()
    return janitor.clean(*parts, **{"resume": {}, **given})


def kinds(found: Cleaning) -> list[str]:
    return [one.kind for one in found.removed]


def outcomes(world: World) -> list[str]:
    return [row["outcome"] for row in world.history()]


def killed(world: World) -> None:
    """A run that was killed when all was staged."""
    with victim(world, hold="verify", query=NEW) as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")


def test_what_a_killed_run_left_is_removed_and_its_attempt_is_marked(world: World) -> None:
    killed(world)
    assert outcomes(world) == ["running"]
    found = clean(world)
    assert kinds(found) == ["attempt", "staging table", "prefix"]
    assert {one.target for one in found.removed} == {"public.t"}
    assert all(one.bytes > 0 for one in found.removed if one.kind != "attempt")
    assert (found.resumable, found.unknown, found.live, found.errors) == ([], [], [], [])
    assert outcomes(world) == ["killed"]
    assert [one.outcome for one in world.target().status()] == [Outcome.KILLED]
    world.no_leftovers()
    assert world.pg("SELECT * FROM bq2pg.staged_shards") == []
    assert kinds(clean(world)) == []
    assert world.sync(query=NEW).resumed_from is None


def test_a_dry_run_finds_the_same_and_changes_nothing(world: World) -> None:
    killed(world)
    before = world.objects(), world.stages(), world.history()
    found = clean(world, dry_run=True, older_than=0)
    assert kinds(found) == ["attempt", "staging table", "prefix"]
    assert (world.objects(), world.stages(), world.history()) == before
    assert clean(world, older_than=0).removed == found.removed


def test_what_the_next_run_can_go_on_with_is_kept_until_it_is_too_old(world: World) -> None:
    killed(world)
    found = clean(world, resume={"public.t": 6 * HOUR})
    assert kinds(found) == ["attempt"]
    assert [one.kind for one in found.resumable] == ["staging table", "prefix"]
    assert outcomes(world) == ["killed"]
    world.pg("UPDATE bq2pg.sync_history SET exported_at = exported_at - interval '7 hours'")
    assert kinds(clean(world, resume={"public.t": 6 * HOUR})) == ["staging table", "prefix"]
    world.no_leftovers()


def test_what_was_kept_is_gone_on_with(world: World) -> None:
    killed(world)
    clean(world, resume={"public.t": 6 * HOUR})
    assert world.sync(query=NEW).resumed_from is not None


def test_a_run_that_lives_is_left_alone(world: World) -> None:
    gate = Gate("verify")
    with background(lambda: world.sync(query=NEW, report=gate)) as run:
        gate.wait()
        before = world.objects(), world.stages()
        found = clean(world, older_than=0)
        assert (world.objects(), world.stages()) == before
        gate.open()
    assert (found.removed, found.live) == ([], ["public.t"])
    assert run.result().outcome is Outcome.LOADED
    assert outcomes(world) == ["loaded"]
    world.no_leftovers()


def test_a_run_that_goes_on_with_a_dead_ones_export_keeps_it(world: World) -> None:
    die(world, query=NEW)
    gate = Gate("verify")
    with background(lambda: world.sync(query=NEW, report=gate)) as run:
        gate.wait()
        found = clean(world, older_than=0)
        gate.open()
    assert (found.removed, found.live) == ([], ["public.t"])
    assert run.result().resumed_from is not None


def test_a_run_cannot_begin_while_its_targets_things_are_removed(world: World) -> None:
    """The lock that keeps runs apart keeps the cleaning and a run apart."""
    killed(world)
    locks: list[int] = []

    class Watched(GcsShards):
        def delete(self, prefix: str) -> int:
            locks.append(world.locks())
            return super().delete(prefix)

    clean(world, shards=Watched(world.storage, bucket=world.bucket))
    assert locks == [1]


def test_the_bucket_of_another_database_is_left_alone_unless_its_age_is_given(
    world: World,
) -> None:
    """The history of the other database alone knows whether its run lives."""
    name = f"other_{uuid.uuid4().hex[:12]}"
    world.pg(f"CREATE DATABASE {name}")
    other = psycopg.conninfo.make_conninfo(world.dsn, dbname=name)
    try:
        gate = Gate("verify")
        with background(lambda: world.sync(query=NEW, dsn=other, report=gate)) as run:
            gate.wait()
            world.sync(query=NEW)
            found = [clean(world), clean(world, older_than=DAY)]
            gate.open()
        assert [one.removed for one in found] == [[], []]
        assert [len(one.unknown) for one in found] == [1, 1]
        assert run.result().outcome is Outcome.LOADED
    finally:
        world.pg(f"DROP DATABASE {name} WITH (FORCE)")
    blob = world.storage.bucket(world.bucket).blob("bq2pg/t/unknown-0/000.parquet")
    blob.upload_from_string(b"old")
    assert [one.name for one in clean(world, older_than=0).removed] == [
        f"gs://{world.bucket}/bq2pg/t/unknown-0/"
    ]
    assert world.objects() == []


def test_nothing_beside_prefixes_is_touched(world: World) -> None:
    bucket = world.storage.bucket(world.bucket)
    others = ["mine.parquet", "bq2pg/check-1", "bq2pg/t/note", "other/t/run-0/x"]
    for name in others:
        bucket.blob(name).upload_from_string(b"keep")
    found = clean(world, older_than=0)
    assert (found.removed, found.unknown) == ([], [])
    assert sorted(world.objects()) == sorted(others)


def test_a_database_without_history_is_clean(world: World) -> None:
    assert clean(world) == Cleaning()
    assert not world.exists("bq2pg.sync_history")


def test_a_failed_runs_prefix_that_could_not_be_deleted_is_deleted_later(world: World) -> None:
    class Stuck(GcsShards):
        def delete(self, prefix: str) -> int:
            raise StorageError(prefix, met="HTTP 503", expected="b", way_out="c.", retryable=True)

    stuck = Stuck(world.storage, bucket=world.bucket)
    run = RunId(uuid.uuid4().hex)
    world.sync(query=NEW, shards=stuck, run=run)
    assert outcomes(world) == ["loaded"]
    assert len(clean(world, shards=stuck).errors) == 1
    assert [one.name for one in clean(world, resume={"public.t": DAY}).removed] == [
        f"gs://{world.bucket}/bq2pg/t/{run.slug}/"
    ]
    world.no_leftovers()


def test_the_running_job_of_a_dead_run_is_cancelled(world: World, slow_world: World) -> None:
    with victim(slow_world, hold="", query=NEW):
        [job] = until(slow_world.running, "the export to run")
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    found = clean(slow_world)
    assert ("job", job.job_id) in [(one.kind, one.name) for one in found.removed]
    assert slow_world.running() == []
    assert outcomes(world) == ["killed"]


def test_the_running_job_of_a_live_run_goes_on(slow_world: World) -> None:
    with victim(slow_world, hold="", query=NEW):
        [job] = until(slow_world.running, "the export to run")
        found = clean(slow_world)
        assert (found.removed, found.live) == ([], ["public.t"])
        assert [one.job_id for one in slow_world.running()] == [job.job_id]
    slow_world.client.cancel_job(job.job_id, location=job.location)
