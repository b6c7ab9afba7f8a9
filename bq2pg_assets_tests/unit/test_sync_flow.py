"""The flow on fakes: the order of its steps, and what is true when one of them fails.

Guards the promise in sync.py: killed anywhere, run again, the target is as after an undisturbed
run. How a single step is done is tested beside that step.
"""

import logging

import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, LockedError, StorageError, TargetError
from bq2pg_assets.engine.model import Outcome, RunId
from bq2pg_assets.engine.sync import plan_table
from bq2pg_assets_tests.fakes import Row
from bq2pg_assets_tests.unit.world import NEW, OLD, World

PLAN = [
    *["target.lock", "session.describe", "session.dead_attempt"],
    *["source.describe", "source.probe", "session.drop_leftovers", "session.left_exports"],
    "session.record_plan",
]
COPY = ["shards.open", "sink.piece", "sink.piece", "sink.piece", "sink.piece", "sink.copied"]
UNTIL_PUBLISHED = [
    *PLAN,
    *["session.record_export", "source.export", "shards.list", "session.create_stage"],
    "session.copying",
    *[*COPY, "shards.open", "sink.piece", "sink.piece", "sink.piece", "sink.copied"],
    *["source.unchanged_rows", "session.publish"],
]
AFTERWARDS = [
    *["committed", "session.analyze", "session.drop_stage", "shards.delete"],
    "session.forget_prefix",
    *["session.row_estimate", "session.finish"],
]
STEPS = list(dict.fromkeys(UNTIL_PUBLISHED))
ERRORS: list[tuple[BaseException, Outcome]] = [
    (TargetError("x", met="a", expected="b", way_out="c"), Outcome.FAILED),
    (RuntimeError("nobody thought of this"), Outcome.FAILED),
    (CancelledError("x"), Outcome.CANCELLED),
    (KeyboardInterrupt(), Outcome.CANCELLED),
]
CLEANING = ["session.drop_stage", "shards.delete", "session.fail"]


def test_the_steps_come_in_their_order() -> None:
    world = World()
    result = world.sync()
    assert world.journal.calls == [*UNTIL_PUBLISHED, *AFTERWARDS, "target.unlock"]
    assert (result.outcome, result.rows, result.shards) == (Outcome.LOADED, 3, 2)
    assert (result.cursor_before, result.cursor_after) == (OLD[-1][1], NEW[-1][1])
    assert (result.bytes_billed, result.cost, result.target_rows) == (20, 0.2, 6)
    assert world.target.live == OLD + NEW
    world.assert_clean()


@pytest.mark.parametrize(("error", "outcome"), ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_failure_leaves_the_target_as_it_was_and_the_next_run_completes_it(
    step: str, error: BaseException, outcome: Outcome
) -> None:
    world = World()
    world.journal.fail_at(step, error)
    with pytest.raises(type(error)) as caught:
        world.sync()
    assert caught.value is error
    world.assert_untouched()
    world.assert_clean()
    attempts = [h["outcome"] for h in world.target.history]
    assert attempts == [Outcome.LOADED, *([] if step == "target.lock" else [outcome])]
    if "source.export" in world.journal.calls:
        assert {"session.drop_stage", "shards.delete"} <= set(world.journal.calls)

    world.journal.forget()
    world.sync()
    assert world.target.live == OLD + NEW
    assert world.target.cursor == NEW[-1][1]


@pytest.mark.parametrize("step", [s for s in STEPS if s not in ("target.lock", "source.probe")])
def test_a_failed_first_load_leaves_no_table_and_the_next_run_makes_it(step: str) -> None:
    world = World(loaded=False)
    world.journal.fail_at(step, RuntimeError("first"))
    with pytest.raises(RuntimeError, match="first"):
        world.sync()
    assert (world.target.live, world.target.cursor) == (None, None)
    world.assert_clean()

    world.journal.forget()
    assert world.sync().cursor_after == NEW[-1][1]
    assert world.target.live == OLD + NEW


@pytest.mark.parametrize("step", STEPS)
def test_a_cancel_before_the_commit_publishes_nothing(step: str) -> None:
    world, cancel = World(), CancelToken()
    world.journal.on(step, cancel.cancel)
    with pytest.raises(CancelledError):
        world.sync(cancel=cancel)
    world.assert_untouched()
    world.assert_clean()
    assert world.target.history[-1]["outcome"] is Outcome.CANCELLED
    assert "the run was cancelled" in world.target.history[-1]["error"]


@pytest.mark.parametrize("step", AFTERWARDS)
def test_a_cancel_after_the_commit_comes_too_late(step: str) -> None:
    world, cancel = World(), CancelToken()
    world.journal.on(step, cancel.cancel)
    assert world.sync(cancel=cancel).outcome is Outcome.LOADED
    assert cancel.cancelled
    assert world.target.history[-1]["outcome"] is Outcome.LOADED
    assert world.target.live == OLD + NEW
    world.assert_clean()


def test_a_failure_of_the_commits_own_answer_is_raised_and_the_history_says_loaded() -> None:
    world = World()
    world.journal.fail_at("committed", RuntimeError("too late"))
    with pytest.raises(RuntimeError, match="too late"):
        world.sync()
    assert world.target.history[-1]["outcome"] is Outcome.LOADED
    assert world.target.live == OLD + NEW
    world.assert_clean()


@pytest.mark.parametrize("step", ["session.row_estimate", "session.finish"])
def test_a_failure_after_the_commit_is_told_and_the_run_has_loaded(
    step: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.journal.fail_at(step, RuntimeError("too late"))
    assert world.sync().outcome is Outcome.LOADED
    assert "too late" in caplog.text
    assert world.target.history[-1]["outcome"] is Outcome.LOADED
    assert world.target.live == OLD + NEW
    world.assert_clean()


def test_statistics_that_could_not_be_refreshed_do_not_fail_a_run_that_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.journal.fail_at("session.analyze", TargetError("x", met="a", expected="b", way_out="c"))
    assert world.sync().outcome is Outcome.LOADED
    assert [r.getMessage() for r in caplog.records] == [
        "could not analyze public.t: x: a; expected b. c"
    ]


@pytest.mark.parametrize(
    "failure",
    [StorageError("x", met="a", expected="b", way_out="c"), OSError("disk")],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("cleaning", CLEANING)
def test_a_failed_cleaning_is_told_and_hides_neither_error_nor_result(
    cleaning: str, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world, error = World(), TargetError("x", met="a", expected="b", way_out="c")
    world.journal.fail_at(cleaning, failure)
    world.journal.fail_at("session.publish", error)
    with caplog.at_level(logging.WARNING), pytest.raises(TargetError) as caught:
        world.sync()
    assert caught.value is error
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert caplog.records[0].getMessage().startswith("could not ")
    assert set(CLEANING) <= set(world.journal.calls)

    world.journal.on("session.publish", lambda: None)
    assert world.sync().outcome is Outcome.LOADED


def test_an_interrupt_of_the_cleaning_does_not_leave_the_exported_objects() -> None:
    world = World()
    world.journal.fail_at("session.drop_stage", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        world.sync()
    assert world.shards.objects == {}


def test_a_run_that_finds_nothing_new_exports_nothing() -> None:
    world = World()
    world.source.rows = list(OLD)
    result = world.sync()
    ending = ["session.row_estimate", "session.finish", "target.unlock"]
    assert world.journal.calls == [*PLAN, *ending]
    assert (result.outcome, result.rows, result.prefix) == (Outcome.NOTHING_NEW, 0, None)
    world.assert_untouched()
    assert world.target.history[-1]["outcome"] is Outcome.NOTHING_NEW


@pytest.mark.parametrize("rows", [OLD, OLD + NEW], ids=["nothing new", "new rows"])
def test_what_a_killed_run_staged_is_dropped_by_the_next(rows: list[Row]) -> None:
    world = World()
    world.source.rows = list(rows)
    world.target.stages["stage_of_the_dead"] = list(OLD)
    world.sync()
    assert world.target.live == rows
    world.assert_clean()


def test_a_table_that_another_run_holds_is_left_alone() -> None:
    world = World()
    world.target.held = True
    with pytest.raises(LockedError):
        world.sync()
    assert world.journal.calls == ["target.lock"]


def test_planning_takes_no_lock_and_writes_nothing() -> None:
    world = World()
    plan, _ = plan_table(
        world.table,
        source=world.source,  # type: ignore[arg-type]
        target=world.target,  # type: ignore[arg-type]
        run=RunId("plan"),
    )
    assert plan.expected_rows == 3
    assert world.journal.calls == [
        *["target.describe", "source.describe", "source.probe", "source.estimate"]
    ]
    assert len(world.target.history) == 1


@pytest.mark.parametrize("step", ["sink.copied", "session.publish"])
def test_what_postgresql_failed_to_take_is_gone_on_with(step: str) -> None:
    world = World()
    error = TargetError("x", met="a", expected="b", way_out="c", retryable=True)
    world.journal.fail_at(step, error)
    with pytest.raises(TargetError):
        world.sync()
    world.assert_untouched()
    assert len(world.shards.objects) == 2
    assert "session.drop_stage" not in world.journal.calls

    world.journal.forget()
    result = world.sync()
    calls = world.journal.calls
    assert "source.probe" not in calls
    assert calls.count("shards.open") == (2 if step == "sink.copied" else 0)
    assert (result.rows, result.shards, result.bytes_billed) == (3, 2, 0)
    assert result.resumed_from is not None
    assert world.target.live == OLD + NEW
    world.assert_clean()


@pytest.mark.parametrize(
    ("step", "error", "changes"),
    [
        ("session.publish", TargetError("x", met="a", expected="b", way_out="c"), {}),
        ("shards.open", StorageError("x", met="a", expected="b", way_out="c", retryable=True), {}),
        (
            "session.publish",
            TargetError("x", met="a", expected="b", way_out="c", retryable=True),
            {"resume": 0},
        ),
    ],
    ids=["final", "of the bucket", "switched off"],
)
def test_what_no_retry_can_use_is_removed(
    step: str, error: Exception, changes: dict[str, int]
) -> None:
    world = World(**changes)
    world.journal.fail_at(step, error)
    with pytest.raises(type(error)):
        world.sync()
    world.assert_clean()
