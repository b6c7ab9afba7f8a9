"""A table that keeps failing: its history opens the circuit, a trial or a person closes it.

Belongs here: what PostgreSQL's sync_history makes of real runs. Does not: the rule (unit/
test_circuit.py), schedules and sensors (defs/).
"""

import uuid
from typing import Any

import dagster as dg
import pytest

from bq2pg_assets.defs.resources import Postgres
from bq2pg_assets.defs.schedules import build_schedule
from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.errors import SourceError
from bq2pg_assets.engine.model import Outcome, RunId
from bq2pg_assets_tests.integration.helpers import Gate, World, background

BAD, GOOD = "SELECT ERROR('no good') AS id", "SELECT 1 AS id"
SETTINGS = {"circuit_breaker": 3, "cool_down": "1 h"}


def circuit(world: World, **settings: object) -> Circuit:
    table = world.table(query=GOOD, **SETTINGS | settings)
    return world.target().circuits([table])[table.name]


def fail(world: World, run: RunId | None = None) -> None:
    with pytest.raises(SourceError):
        world.sync(query=BAD, run=run, **SETTINGS)


def an_hour_passes(world: World) -> None:
    world.pg(
        "UPDATE bq2pg.sync_history SET started_at = started_at - interval '1 hour', "
        "finished_at = finished_at - interval '1 hour'"
    )


def test_it_opens_after_so_many_failed_runs_wants_a_trial_and_closes_when_that_goes_well(
    world: World,
) -> None:
    assert circuit(world) == Circuit(CircuitState.CLOSED)
    for failed in (1, 2):
        fail(world)
        assert circuit(world) == Circuit(CircuitState.CLOSED, failed)
    fail(world)
    opened = circuit(world)
    assert (opened.state, opened.failed_runs) == (CircuitState.OPEN, 3)
    assert "no good" in (opened.error or "")
    an_hour_passes(world)
    assert circuit(world).state is CircuitState.TRIAL
    fail(world)
    assert (circuit(world).state, circuit(world).failed_runs) == (CircuitState.OPEN, 4)
    # An open circuit keeps no person from loading the table: that is its trial.
    assert world.sync(query=GOOD, **SETTINGS).outcome is Outcome.LOADED
    assert circuit(world) == Circuit(CircuitState.CLOSED)


def test_the_schedule_skips_tries_once_after_the_cool_down_and_goes_on(
    world: World, local_env: dict[str, str]
) -> None:
    assert local_env["BQ2PG_PG_DSN"] == world.dsn  # what the resource reads
    schedule = build_schedule(
        world.table(query=GOOD, schedule="* * * * *", **SETTINGS), running=True
    )
    assert schedule is not None

    def tick() -> Any:
        with dg.build_schedule_context(resources={"postgres": Postgres()}) as context:
            return schedule.evaluate_tick(context)

    assert len(tick().run_requests) == 1, "before anything was synced"
    for _ in range(3):
        fail(world)
    assert tick().run_requests == []
    assert "the last 3 runs failed; it is left out until" in tick().skip_message
    assert "no good" in tick().skip_message
    an_hour_passes(world)
    assert len(tick().run_requests) == 1
    gate = Gate("copy")
    with background(lambda: world.sync(query=GOOD, report=gate, **SETTINGS)) as trial:
        gate.wait()
        assert tick().run_requests == [], "one trial at a time"
        gate.open()
    assert trial.result().outcome is Outcome.LOADED
    assert len(tick().run_requests) == 1


def test_the_attempts_of_one_run_count_once_and_its_last_one_decides(world: World) -> None:
    for attempt in range(3):
        fail(world, RunId("one", attempt))
    assert circuit(world) == Circuit(CircuitState.CLOSED, 1)
    fail(world, RunId("two"))
    world.sync(query=GOOD, run=RunId("two", 1), **SETTINGS)
    assert circuit(world) == Circuit(CircuitState.CLOSED)


def test_each_target_has_a_circuit_of_its_own(world: World) -> None:
    for _ in range(3):
        fail(world)
    assert circuit(world, name="other").state is CircuitState.CLOSED
    tables = [world.table(query=GOOD, name=name, **SETTINGS) for name in ("t", "other")]
    found = world.target().circuits(tables)
    assert {name: one.state.value for name, one in found.items()} == {
        "t": "open",
        "other": "closed",
    }


def test_a_person_closes_it_and_the_last_attempt_stays_in_sight(world: World) -> None:
    for _ in range(3):
        fail(world)
    target = world.table(query=GOOD).target_name
    world.target().resume(target, run=RunId(uuid.uuid4().hex), table="t")
    assert circuit(world) == Circuit(CircuitState.CLOSED)
    [status] = world.target().status()
    assert status.outcome is Outcome.FAILED
    fail(world)
    assert circuit(world).failed_runs == 1, "failures before it are forgiven"


def test_a_fresh_database_has_closed_circuits_and_is_not_written(world: World) -> None:
    assert circuit(world) == Circuit(CircuitState.CLOSED)
    assert not world.exists("bq2pg.sync_history")
