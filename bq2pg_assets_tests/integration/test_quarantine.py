"""A quarantined row is brought into its target exactly once, exactly as it was.

Belongs here: listing and replaying. Does not belong here: which rows are bad (test_bad_rows.py).
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from bq2pg_assets.engine.bad_rows import joined
from bq2pg_assets.engine.errors import LockedError
from bq2pg_assets.engine.model import TargetName
from bq2pg_assets.engine.publish_sql import Times
from bq2pg_assets.engine.quarantine_sql import PAGE, Shape, staged_row
from bq2pg_assets.engine.quarantine_sql import replay as statements
from bq2pg_assets.engine.results import Replayed
from bq2pg_assets.engine.row_json import row_text
from bq2pg_assets.engine.typemap import map_columns
from bq2pg_assets_tests.cases.types import Type
from bq2pg_assets_tests.integration.helpers import World, locking, until, waiting
from bq2pg_assets_tests.integration.test_shard_types import (
    FORMS,
    Form,
    carry,
    connected,
    fields_of,
    shard_of,
)
from bq2pg_assets_tests.integration.test_shard_types import (
    TABLE as CONFIG,
)
from bq2pg_assets_tests.unit.plans import a_plan

AT = "TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL id SECOND) AS max_ingested_at"
ROWS = f"SELECT id, IF(id = 3, 'too long', 'ok') AS v, {AT} FROM UNNEST(GENERATE_ARRAY(1, 5)) AS id"
TABLE = (
    "CREATE TABLE t (id bigint PRIMARY KEY, v text CONSTRAINT short CHECK (length(v) <= 3), "
    "max_ingested_at timestamptz)"
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEAL = "ALTER TABLE t DROP CONSTRAINT short"
QUARANTINE: dict[str, Any] = {"bad_rows": "quarantine"}
MERGE: dict[str, Any] = {**QUARANTINE, "mode": "merge", "key": ["id"]}
NUL = "CODE_POINTS_TO_STRING([65, 0])"


def replay(world: World, run_id: str = "again") -> list[Replayed]:
    target = world.target()
    return target.replay(target.quarantined(), run_id=run_id)


def outcomes(world: World) -> list[str]:
    return [one.outcome for one in replay(world)]


@pytest.fixture
def held(world: World) -> World:
    """A world with row 3 in quarantine, whose target would take it by now."""
    world.make_source(ROWS)
    world.pg(TABLE)
    world.sync(**QUARANTINE, mode="append")
    world.pg(HEAL)
    return world


def test_a_row_is_replayed_once_and_says_by_which_run(held: World) -> None:
    [row] = held.target().quarantined("t")
    assert (row.sqlstate, row.replayed_at) == ("23514", None)
    assert held.target().quarantined("other") == []
    assert outcomes(held) == ["replayed"]
    assert held.rows("t")[2][:2] == (3, "too long")
    assert held.pg("SELECT count(*) FROM t") == [(5,)]
    assert outcomes(held) == []
    assert held.target().replay([row], run_id="third") == []  # as of a list that is out of date
    assert held.target().quarantined() == []
    [after] = held.target().quarantined(everything=True)
    assert (after.replayed_at is not None, after.replay_run_id) == (True, "again")
    assert held.pg("SELECT count(*) FROM t") == [(5,)]


def test_a_row_that_is_refused_again_waits_with_its_new_error(held: World) -> None:
    held.pg("ALTER TABLE t ADD CONSTRAINT other CHECK (length(v) <= 4) NOT VALID")
    held.bq(f"INSERT INTO {{d}}.source SELECT id, 'four', {AT} FROM UNNEST([6]) AS id")
    assert held.sync(**QUARANTINE, mode="append").quarantined == 0
    [done] = replay(held)
    assert done.outcome == "refused"
    [row] = held.target().quarantined()
    assert row.error == done.error
    assert '"other"' in row.error
    held.pg("ALTER TABLE t DROP CONSTRAINT other")
    assert outcomes(held) == ["replayed"]


def test_one_refused_row_does_not_keep_others_back(world: World) -> None:
    world.make_source(f"SELECT id, 'too long' AS v, {AT} FROM UNNEST([1, 2, 3]) AS id")
    world.bq(f"INSERT INTO {{d}}.source SELECT id, 'ok', {AT} FROM UNNEST([4]) AS id")
    world.pg(TABLE)
    world.sync(**QUARANTINE, mode="append")
    world.pg(f"{HEAL}; ALTER TABLE t ADD CHECK (id <> 2)")
    assert outcomes(world) == ["replayed", "refused", "replayed"]
    assert [row[0] for row in world.rows("t")] == [1, 3, 4]


def test_a_deferred_constraint_refuses_its_row_alone(world: World) -> None:
    world.pg("CREATE TABLE words (v text PRIMARY KEY); INSERT INTO words VALUES ('ok')")
    world.pg("CREATE TABLE t (id bigint, v text REFERENCES words INITIALLY DEFERRED)")
    world.make_source("SELECT 1 AS id, 'ok' AS v UNION ALL SELECT 2, 'a' UNION ALL SELECT 3, 'b'")
    assert world.sync(**QUARANTINE).quarantined == 2
    world.pg("INSERT INTO words VALUES ('b')")
    assert sorted(outcomes(world)) == ["refused", "replayed"]
    assert world.rows("t") == [(1, "ok"), (3, "b")]


def test_a_merged_row_never_goes_over_a_newer_one(world: World) -> None:
    world.make_source(f"SELECT id, 'ok' AS v, {AT} FROM UNNEST([1, 2]) AS id")
    world.pg(TABLE)
    world.sync(**MERGE)
    change = "INSERT INTO {{d}}.source VALUES ({}, '{}', TIMESTAMP '2024-01-0{} 00:00:00+00')"
    world.bq(change.format(1, "too long", 2))
    world.bq(change.format(2, "too long", 2))
    assert world.sync(**MERGE).quarantined == 2
    world.bq(change.format(2, "new", 3))
    assert world.sync(**MERGE).quarantined == 0
    world.pg(HEAL)
    assert outcomes(world) == ["replayed", "superseded"]
    assert [row[:2] for row in world.rows("t")] == [(1, "too long"), (2, "new")]
    assert outcomes(world) == []


def test_a_row_that_a_full_load_merged_is_replayed_by_key(world: World) -> None:
    world.make_source(ROWS)
    world.pg(TABLE)
    assert world.sync(**MERGE).publish == "replace"
    world.pg(HEAL)
    world.pg("INSERT INTO t VALUES (3, 'old', '2023-01-01')")
    assert outcomes(world) == ["replayed"]
    assert world.rows("t")[2][:2] == (3, "too long")


# -- exactly once ------------------------------------------------------------------------------


def test_of_replays_at_the_same_time_one_writes(held: World) -> None:
    target = held.target()
    rows = target.quarantined()

    def one(number: int) -> int:
        try:
            return len(target.replay(rows, run_id=str(number)))
        except LockedError:
            return 0

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(6))) == 1
    assert held.pg("SELECT count(*) FROM t") == [(5,)]


VICTIM = """
import sys
from bq2pg_assets.engine.postgres import PostgresTarget
target = PostgresTarget(sys.argv[1])
target.replay(target.quarantined(), run_id="killed")
"""


def test_a_replay_that_is_killed_before_its_end_did_nothing(held: World) -> None:
    with locking(held.dsn, "SELECT FROM bq2pg.sync_quarantine FOR UPDATE"):
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, held.dsn])
        until(lambda: waiting(held, "public.t"), "the replay to wait for the row")
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
    until(lambda: held.locks() == 0, "the advisory lock to be released")
    assert held.pg("SELECT count(*) FROM t") == [(4,)]
    assert outcomes(held) == ["replayed"]
    assert held.pg("SELECT count(*) FROM t") == [(5,)]


# What is written but not yet marked: the trigger stops between the two.
BETWEEN = (
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$; "
    "CREATE TRIGGER slow BEFORE UPDATE ON bq2pg.sync_quarantine "
    "FOR EACH ROW EXECUTE FUNCTION slow()"
)


def test_a_replay_that_is_killed_between_writing_and_marking_did_nothing(held: World) -> None:
    held.pg(BETWEEN)
    with locking(held.dsn, "SELECT pg_advisory_xact_lock(7)"):
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, held.dsn])
        until(lambda: waiting(held, "public.t"), "the replay to come between")
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
    until(lambda: held.locks() == 0, "the advisory lock to be released")
    assert held.pg("SELECT count(*) FROM t") == [(4,)]
    assert outcomes(held) == ["replayed"]
    assert held.pg("SELECT count(*) FROM t") == [(5,)]


def test_a_target_that_is_being_loaded_is_not_replayed_into(held: World) -> None:
    with (
        locking(held.dsn, "SELECT pg_advisory_xact_lock(hashtextextended('bq2pg:public.t', 0))"),
        pytest.raises(LockedError),
    ):
        replay(held)
    assert outcomes(held) == ["replayed"]


# -- exactly as it was -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "form"), FORMS, ids=str)
def test_every_golden_value_of_a_shard_is_written_as_copy_writes_it(
    kind: Type, form: Form, postgres_dsn: str
) -> None:
    """As a row that was never staged, and as one that was."""
    table = shard_of(kind, form)
    columns = map_columns(CONFIG, fields_of(kind))
    plan, target, stage = (
        a_plan(columns=columns, cursor=None),
        TargetName("public", "t"),
        TargetName("public", "stage"),
    )
    shape, sources = Shape.of(plan, times=Times(EPOCH, EPOCH)), [c.source for c in columns]
    with connected(postgres_dsn) as conn:
        carry(conn, table, columns)
        conn.execute("CREATE TABLE t (LIKE stage)")
        rows = [
            row_text(columns, row)
            for at in range(table.num_rows)
            for row in table.slice(at, 1).to_batches()
        ]
        for (ctid,) in conn.execute("SELECT ctid::text FROM stage").fetchall():
            block, line = map(int, ctid.strip("()").split(","))
            texts = conn.execute(staged_row(plan, stage, block * PAGE + line)).fetchone()
            rows.append(joined(zip(sources, texts or (), strict=True)))
        for row in rows:
            [insert] = statements(target, shape, row)
            conn.execute(insert)
        written, expected = (
            conn.execute(f"SELECT x::text FROM {one} AS x ORDER BY n".encode()).fetchall()
            for one in ("t", "stage")
        )
    assert written == sorted(expected * 2, key=expected.index)


def test_null_and_the_document_null_stay_apart(world: World) -> None:
    query = (
        "SELECT 1 AS id, JSON 'null' AS a, CAST(NULL AS JSON) AS b UNION ALL SELECT 2, NULL, NULL"
    )
    world.pg("CREATE TABLE t (id bigint CONSTRAINT no CHECK (id <> 1), a jsonb, b jsonb)")
    assert world.sync(query=query, **QUARANTINE).quarantined == 1
    world.pg("ALTER TABLE t DROP CONSTRAINT no")
    assert outcomes(world) == ["replayed"]
    assert world.pg("SELECT a::text, b::text FROM t WHERE id = 1") == [("null", None)]


def test_names_are_carried_as_they_are(world: World) -> None:
    columns = {"a" * 80: {"name": 'q"%s'}, "ünï": {"name": "'; DROP TABLE t; --"}}
    query = f"SELECT 1 AS id, 'x' AS {'a' * 80}, 2 AS ünï UNION ALL SELECT 2, 'y', 3"
    world.sync(query=query, columns=columns, target='"we%ird"."a.b"')
    with locking(world.dsn, "SELECT 1") as conn:
        conn.execute('DELETE FROM "we%ird"."a.b"')
        conn.execute('ALTER TABLE "we%ird"."a.b" ADD CONSTRAINT no CHECK (id <> 1)')
        conn.commit()
    settings = {**QUARANTINE, "columns": columns, "target": '"we%ird"."a.b"'}
    assert world.sync(query=query, **settings).quarantined == 1
    with locking(world.dsn, 'ALTER TABLE "we%ird"."a.b" DROP CONSTRAINT no') as conn:
        conn.commit()
    assert outcomes(world) == ["replayed"]
    assert world.rows('"we%ird"."a.b"') == [(1, "x", 2), (2, "y", 3)]
