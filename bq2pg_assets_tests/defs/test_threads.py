"""The executor's contract, held against the installed Dagster: it stands on private modules."""

import logging
import os
import signal
import threading
from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.test_utils import instance_for_test

from bq2pg_assets.defs import cancel
from bq2pg_assets.engine.errors import CancelledError, SourceError, TargetError
from bq2pg_assets_tests.defs.fakes import Call, FakeSync, a_table, definitions, run_all

SECONDS = 30.0


def _passing() -> SourceError:
    return SourceError("bq", met="503", expected="an answer", way_out="Wait.", retryable=True)


def _final() -> TargetError:
    return TargetError("pg", met="no table", expected="one", way_out="Create it.")


def test_tables_are_loaded_at_the_same_time(instance: dg.DagsterInstance) -> None:
    """Three tables wait for each other: one after the other they would never meet."""
    together = threading.Barrier(3)
    sync = FakeSync({name: lambda _: together.wait(SECONDS) and {} for name in "abc"})
    result = run_all(definitions(*map(a_table, "abc"), sync=sync), instance)
    assert result.success
    assert len(result.get_asset_materialization_events()) == 3


def test_no_more_tables_than_max_workers_are_loaded_at_once(instance: dg.DagsterInstance) -> None:
    counted = _Counted()
    sync = FakeSync(dict.fromkeys("abcdef", counted))
    result = run_all(
        definitions(*map(a_table, "abcdef"), sync=sync), instance, execution={"max_workers": 2}
    )
    assert result.success
    assert len(sync.calls) == 6
    assert counted.most == 2


def test_a_pool_limits_how_many_tables_are_loaded_at_once() -> None:
    counted = _Counted()
    sync = FakeSync(dict.fromkeys("abcd", counted))
    limits = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
    with instance_for_test(overrides=limits) as instance:
        result = run_all(definitions(*map(a_table, "abcd"), sync=sync), instance)
        assert instance.event_log_storage.get_concurrency_info("postgres").slot_count == 1
    assert result.success
    assert counted.most == 1


def test_a_table_that_fails_leaves_the_others_alone(instance: dg.DagsterInstance) -> None:
    sync = FakeSync({"b": _final()})
    result = run_all(definitions(*map(a_table, "abc"), sync=sync), instance)
    assert not result.success
    assert [event.step_key for event in result.get_step_failure_events()] == ["b"]
    assert {event.step_key for event in result.get_step_success_events()} == {"a", "c"}


def test_a_step_that_may_pass_is_tried_again_and_the_others_are_not(
    instance: dg.DagsterInstance,
) -> None:
    sync = FakeSync({"a": [_passing(), {}]})
    result = run_all(definitions(*map(a_table, "ab"), sync=sync), instance)
    assert result.success
    assert [call.run.attempt for call in sync.called("a")] == [0, 1]
    assert [call.run.attempt for call in sync.called("b")] == [0]


def test_retries_can_be_switched_off_by_run_config(instance: dg.DagsterInstance) -> None:
    sync = FakeSync({"a": [_passing(), {}]})
    result = run_all(
        definitions(a_table("a"), sync=sync), instance, execution={"retries": {"disabled": {}}}
    )
    assert not result.success
    assert len(sync.calls) == 1


def test_max_workers_below_one_is_refused(instance: dg.DagsterInstance) -> None:
    result = run_all(definitions(a_table()), instance, execution={"max_workers": 0})
    assert not result.success
    assert "1 or more" in str(result.all_events)


def test_each_step_logs_to_its_own_step(instance: dg.DagsterInstance) -> None:
    """Dagster's managed loggers give every line to the step that began first."""
    together = threading.Barrier(3)

    def work(call: Call) -> None:
        together.wait(SECONDS)
        logging.getLogger("bq2pg_assets.engine.test").info("of %s", call.table.name)
        together.wait(SECONDS)

    sync = FakeSync(dict.fromkeys("abc", work))
    result = run_all(definitions(*map(a_table, "abc"), sync=sync), instance)
    logged = {
        (entry.step_key, entry.user_message)
        for entry in instance.all_logs(result.run_id)
        if entry.user_message.startswith("of ")
    }
    assert logged == {("a", "of a"), ("b", "of b"), ("c", "of c")}


class TestTermination:
    """What a run does when it is asked to stop."""

    def test_a_cancelled_run_ends_as_cancelled_and_only_after_its_steps(
        self, instance: dg.DagsterInstance
    ) -> None:
        started, ended = threading.Semaphore(0), []

        def work(call: Call) -> None:
            started.release()
            with pytest.raises(CancelledError):
                call.cancel.wait(SECONDS, where=call.table.name)
            # The status as it is while this step still runs and could still commit.
            ended.append(instance.get_run_by_id(call.run.id).status)
            raise CancelledError(call.table.name)

        tables = [*"abcdef"]
        sync = FakeSync(dict.fromkeys(tables, work))
        result = _interrupted(
            definitions(*map(a_table, tables), sync=sync),
            instance,
            when=lambda: [started.acquire(timeout=SECONDS) for _ in range(4)],
        )
        assert _status(instance, result) == dg.DagsterRunStatus.CANCELED
        assert ended == [dg.DagsterRunStatus.CANCELING] * 4
        assert len(sync.calls) == 4, "steps were started after the cancellation"
        assert not result.get_asset_materialization_events()

    def test_a_step_that_committed_before_it_heard_is_recorded(
        self, instance: dg.DagsterInstance
    ) -> None:
        """Its rows are there: hiding the materialization would be the lie."""
        started = threading.Semaphore(0)

        def commits(call: Call) -> None:
            started.release()
            with pytest.raises(CancelledError):
                call.cancel.wait(SECONDS, where=call.table.name)

        def stops(call: Call) -> None:
            started.release()
            call.cancel.wait(SECONDS, where=call.table.name)

        result = _interrupted(
            definitions(*map(a_table, "ab"), sync=FakeSync({"a": commits, "b": stops})),
            instance,
            when=lambda: [started.acquire(timeout=SECONDS) for _ in range(2)],
        )
        assert _status(instance, result) == dg.DagsterRunStatus.CANCELED
        assert [e.step_key for e in result.get_asset_materialization_events()] == ["a"]

    def test_an_interrupted_step_is_not_tried_again(self, instance: dg.DagsterInstance) -> None:
        """Dagster's own executors apply the retry policy to interrupts as well."""
        started = threading.Semaphore(0)

        def work(call: Call) -> None:
            started.release()
            with pytest.raises(CancelledError):
                call.cancel.wait(SECONDS, where=call.table.name)
            raise _passing()  # such as a connection that broke when it was interrupted

        sync = FakeSync({"a": work})
        result = _interrupted(
            definitions(a_table("a"), sync=sync),
            instance,
            when=lambda: started.acquire(timeout=SECONDS),
        )
        assert _status(instance, result) == dg.DagsterRunStatus.CANCELED
        assert len(sync.calls) == 1

    def test_a_signal_without_a_request_ends_the_run_as_failed(
        self, instance: dg.DagsterInstance
    ) -> None:
        """SIGTERM, as from a shutdown: the steps clean up just the same."""
        started, stopped = threading.Semaphore(0), []

        def work(call: Call) -> None:
            started.release()
            try:
                call.cancel.wait(SECONDS, where=call.table.name)
            finally:
                stopped.append(call.table.name)

        result = _interrupted(
            definitions(a_table("a"), sync=FakeSync({"a": work})),
            instance,
            when=lambda: started.acquire(timeout=SECONDS),
            number=signal.SIGTERM,
            requested=False,
        )
        assert _status(instance, result) == dg.DagsterRunStatus.FAILURE
        assert stopped == ["a"]

    def test_the_other_steps_are_stopped_when_the_run_itself_breaks(
        self, instance: dg.DagsterInstance
    ) -> None:
        """raise_on_error ends the run with the first error; nothing goes on loading behind it."""
        started, stopped = threading.Event(), []

        def fails(_: Call) -> None:
            assert started.wait(SECONDS)
            raise _final()

        def waits(call: Call) -> None:
            started.set()
            try:
                call.cancel.wait(SECONDS, where=call.table.name)
            finally:
                stopped.append(call.table.name)

        defs = definitions(*map(a_table, "ab"), sync=FakeSync({"a": fails, "b": waits}))
        with pytest.raises(dg.Failure):
            run_all(defs, instance, raise_on_error=True)
        assert stopped == ["b"]

    def test_nothing_is_kept_of_a_run_that_ended(self, instance: dg.DagsterInstance) -> None:
        result = run_all(definitions(a_table()), instance)
        assert not cancel.is_cancelled(result.run_id)
        assert result.run_id not in cancel._tokens

    def test_the_in_process_executor_passes_the_termination_on_too(self) -> None:
        """There Dagster raises in the thread of the step; the engine must not be cut in two."""
        started, threads = threading.Event(), []

        def work(call: Call) -> None:
            threads.append(threading.current_thread())
            started.set()
            call.cancel.wait(SECONDS, where=call.table.name)

        sync = FakeSync({"a": work})
        defs = definitions(*map(a_table, "ab"), sync=sync)
        sender = _signal_when(lambda: started.wait(SECONDS), signal.SIGINT)
        result = defs.resolve_job_def("sync_all").execute_in_process(raise_on_error=False)
        sender.join()
        assert not result.success
        assert threads[0] is not threading.main_thread()
        assert not any(thread.is_alive() for thread in threads)
        assert len(sync.called("a")) == 1, "an interrupted step was tried again"


class _Counted:
    """Work that notes how much of it goes on at once. Each waits until another one has joined or
    a moment has passed, so that too many at once cannot hide."""

    def __init__(self) -> None:
        self._changed, self._now, self.most = threading.Condition(), 0, 0

    def __call__(self, _: Call) -> None:
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._now > 2, timeout=0.3)
            self._now -= 1


def _interrupted(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    when: Callable[[], object],
    number: signal.Signals = signal.SIGINT,
    requested: bool = True,
) -> dg.JobExecutionResult:
    """Run all, and send this process a signal once `when` returns, as Dagster's launcher does."""
    senders = []

    def created(run: dg.DagsterRun) -> None:
        def ready() -> None:
            when()
            if requested:
                instance.report_run_canceling(run)

        senders.append(_signal_when(ready, number))

    result = run_all(defs, instance, on_created=created)
    senders[0].join()
    return result


def _signal_when(ready: Callable[[], object], number: signal.Signals) -> threading.Thread:
    def send() -> None:
        ready()
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def _status(instance: dg.DagsterInstance, result: dg.JobExecutionResult) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run.status
