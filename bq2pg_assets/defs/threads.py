"""The executor: the steps of one run in a pool of threads of one process.

Belongs here: starting steps, passing their events on, and stopping them. Does not: what a step
does (assets.py), how one is told to stop (cancel.py).

One process per step, Dagster's default, takes 74 s for 50 tables of 20 ms; threads take 2 s. Each
table keeps its own step: retries, pool limits and failures are its own. Dagster has no public way
to write such an executor, so this file stands on private modules of 1.13; pyproject.toml pins
that version and bq2pg_assets_tests/defs/test_threads.py holds the behaviour.

A termination cancels the tokens of all running steps and then waits for their threads. A run
shows CANCELED (or FAILURE after a plain SIGTERM) only when none of its steps can commit any more.
"""

import os
import queue
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import (
    _handle_compute_log_setup_error,
    _handle_compute_log_teardown_error,
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.executor.base import Executor

from bq2pg_assets.defs import cancel

MAX_WORKERS = 4
# How long the main thread sleeps at most before it looks for a signal, a due retry or a free slot
# in a pool. Events of the steps wake it at once.
LOOK_SECONDS = 0.2


@dg.executor(
    name="threads",
    config_schema={
        "retries": get_retries_config(),  # type: ignore[no-untyped-call]
        "max_workers": dg.Field(
            dg.Int,
            default_value=MAX_WORKERS,
            description="How many tables of one run are loaded at once.",
        ),
    },
)
def threads_executor(init_context: dg.InitExecutorContext) -> Executor:
    """One process for the run, one thread per table that is being loaded."""
    config: Mapping[str, Any] = init_context.executor_config
    if config["max_workers"] < 1:
        raise dg.DagsterInvariantViolationError("max_workers counts threads: it is 1 or more")
    return ThreadsExecutor(
        retries=RetryMode.from_config(config["retries"]) or RetryMode.ENABLED,
        max_workers=config["max_workers"],
    )


class ThreadsExecutor(Executor):
    """Executes the steps of a plan in at most `max_workers` threads of this process."""

    def __init__(self, *, retries: RetryMode, max_workers: int) -> None:
        self._retries, self._max_workers = retries, max_workers

    @property
    def retries(self) -> RetryMode:
        """Whether a step that asks for it is tried again."""
        return self._retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Run the plan; yields its events in the order in which they happen."""
        pid, steps = os.getpid(), execution_plan.step_keys_to_execute
        yield DagsterEvent.engine_event(
            plan_context,
            f"Executing steps in up to {self._max_workers} threads (pid: {pid})",
            event_specific_data=EngineEventData.in_process(pid, steps),
        )
        yield from ExecuteRunWithPlanIterable(
            execution_plan=plan_context.execution_plan,
            iterator=self._steps,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=plan_context.execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
            ),
        )
        yield DagsterEvent.engine_event(
            plan_context,
            f"Finished steps in threads (pid: {pid})",
            event_specific_data=EngineEventData.in_process(pid, steps),
        )

    def _steps(
        self, job_context: PlanExecutionContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        run = job_context.dagster_run
        with (
            InstanceConcurrencyContext(job_context.instance, run) as slots,
            execution_plan.start(
                retry_mode=job_context.retry_mode,
                max_concurrent=self._max_workers,
                instance_concurrency_context=slots,
                step_dependency_config=job_context.step_dependency_config,
            ) as active,
            ThreadPoolExecutor(self._max_workers, thread_name_prefix="bq2pg-step") as pool,
        ):
            steps = _Steps(job_context, active=active, pool=pool, max_workers=self._max_workers)
            try:
                yield from _with_compute_logs(job_context, execution_plan, steps.run)
            finally:
                # Also when the run's own machinery fails and this generator is thrown away: leaving
                # the block joins the threads, which without the cancellation would load on.
                if steps.running:
                    cancel.cancel_run(run.run_id)
                pool.shutdown(wait=True)
                cancel.forget_run(run.run_id)


class _Steps:
    """The steps of one run: which are running, and what they report."""

    def __init__(
        self,
        job_context: PlanExecutionContext,
        *,
        active: ActiveExecution,
        pool: ThreadPoolExecutor,
        max_workers: int,
    ) -> None:
        self._job_context, self._active = job_context, active
        self._pool, self._max_workers = pool, max_workers
        self._reports: queue.Queue[tuple[str, DagsterEvent | BaseException | None]] = queue.Queue()
        self._events: dict[str, list[DagsterEvent]] = {}
        self.running: dict[str, StepExecutionContext] = {}
        self._error: BaseException | None = None
        self._stopping = self._failed = False

    def run(self) -> Iterator[DagsterEvent]:
        """Start steps as they become ready and yield what they report, until none is left."""
        while self.running or not (self._stopping or self._active.is_complete):
            yield from self._stop_when_asked()
            # Both walk all waiting steps: with a thousand tables not something to do per event.
            if not self._stopping and len(self.running) < self._max_workers:
                yield from self._start_ready()
            yield from self._next_report()
        if self._error is not None:
            raise self._error
        if self._stopping and (self._failed or not self._active.is_complete):
            raise dg.DagsterExecutionInterruptedError

    def _stop_when_asked(self) -> Iterator[DagsterEvent]:
        run_id = self._job_context.run_id
        asked = self._active.check_for_interrupts() or cancel.is_cancelled(run_id)
        if not asked or self._stopping:
            return
        self._stop()
        yield DagsterEvent.engine_event(
            self._job_context,
            f"Termination asked for: waiting for {len(self.running)} running steps to clean up",
            event_specific_data=EngineEventData.interrupted(list(self.running)),
        )

    def _stop(self) -> None:
        self._stopping = True
        self._active.mark_interrupted()
        cancel.cancel_run(self._job_context.run_id)

    def _start_ready(self) -> Iterator[DagsterEvent]:
        for step in self._active.get_steps_to_execute():
            context = self._job_context.for_step(step, self._active.get_known_state())
            self.running[step.key], self._events[step.key] = context, []
            self._pool.submit(self._work, context)
        yield from self._active.concurrency_event_iterator(self._job_context)
        yield from self._active.plan_events_iterator(self._job_context)

    def _work(self, context: StepExecutionContext) -> None:
        """In a thread of the pool: run one step and report each of its events, then None."""
        key = context.step.key
        try:
            for event in dagster_event_sequence_for_step(context):
                self._reports.put((key, event))
        except BaseException as error:
            self._reports.put((key, error))
        self._reports.put((key, None))

    def _next_report(self) -> Iterator[DagsterEvent]:
        try:
            key, report = self._reports.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            return
        if isinstance(report, DagsterEvent):
            self._failed |= report.is_step_failure
            self._events[key].append(report)
            yield report
        elif report is None:
            # Only now does Dagster hear of the step's end: a retry must not begin while the thread
            # of the attempt before it is still there.
            for event in self._events[key]:
                self._active.handle_event(event)
            self._active.verify_complete(self._job_context, key)
            yield from _trigger_hook(self.running.pop(key), self._events.pop(key))
        elif self._error is None:
            # With raise_on_error the first error ends the run; the other steps are stopped first.
            self._error = report
            self._stop()


def _with_compute_logs(
    job_context: PlanExecutionContext,
    execution_plan: ExecutionPlan,
    steps: Callable[[], Iterator[DagsterEvent]],
) -> Iterator[DagsterEvent]:
    """Capture what the process writes, once for the run: the steps share it. As in-process does."""
    manager = job_context.instance.compute_log_manager
    keys = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    file_key = create_compute_log_file_key()  # type: ignore[no-untyped-call]
    log_key = manager.build_log_key_for_run(job_context.run_id, file_key)
    with ExitStack() as captured:
        try:
            logs = captured.enter_context(manager.capture_logs(log_key))
            yield DagsterEvent.capture_logs(job_context, keys, log_key, logs)
        except Exception:
            yield from _handle_compute_log_setup_error(job_context, sys.exc_info())
        yield from steps()
        try:
            captured.close()
        except Exception:
            yield from _handle_compute_log_teardown_error(job_context, sys.exc_info())
