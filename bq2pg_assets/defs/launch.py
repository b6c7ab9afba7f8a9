"""`python -m bq2pg_assets.defs.launch`: load tables through Dagster, in this process.

Belongs here: starting one run on the instance of DAGSTER_HOME, telling how it goes, stopping it.
Does not: the local stack (local/), commands for people (cli/, which starts this as a process).

The run is an ordinary one: the UI shows it, its checks and its materializations afterwards.
"""

import argparse
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterEvent
from dagster import DagsterEventType as Event

from bq2pg_assets.defs.assets import PLACEHOLDER
from bq2pg_assets.defs.cancel import cancel_run
from bq2pg_assets.defs.schedules import SYNC_ALL
from bq2pg_assets.engine.errors import Bq2pgError, ConfigError
from bq2pg_assets.engine.redact import redact

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

LAUNCH_TAG = "bq2pg/launch"
LOOK_SECONDS = 0.3
SHOWN = {
    Event.STEP_START,
    Event.STEP_UP_FOR_RETRY,
    Event.STEP_FAILURE,
    Event.ASSET_MATERIALIZATION,
}
Say = Callable[[str], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every table is up to date, 1 when one is not, 2 when nothing was started."""
    asked = _parser().parse_args(arguments)
    options = ("full_refresh", "limit", "where", "allow_shrink")
    config = {name: getattr(asked, name) for name in options}
    try:
        keys = select(asked.tables, assets_by_table())
        with instance_of_home() as instance:
            return launch(keys, instance=instance, config=config, say=_say)
    except Bq2pgError as error:
        _say(redact(str(error)))
        return 2


def sync_all_job() -> dg.JobDefinition:
    """The job of the definitions. Imported when called: that reads the YAML."""
    from bq2pg_assets.definitions import defs

    return defs.resolve_job_def(SYNC_ALL.name)


def assets_by_table() -> dict[str, dg.AssetKey]:
    """Every table's asset by the table's name; a broken table's placeholder too."""
    from bq2pg_assets.definitions import defs

    assets = defs.resolve_asset_graph().assets_defs
    steps = {asset.node_def.name: asset.key for asset in assets if asset.is_executable}
    return {step.removeprefix("invalid__"): key for step, key in steps.items()}


def select(tables: Sequence[str], known: Mapping[str, dg.AssetKey]) -> dict[str, dg.AssetKey]:
    """The asked-for tables' assets, or all. Raises ConfigError for a name nobody knows."""
    unknown = [name for name in tables if name not in known]
    if unknown:
        raise ConfigError(
            "tables to load",
            met=f"{', '.join(unknown)}: no such table",
            expected=f"names of {', '.join(sorted(known))}",
            way_out="Name tables as their YAML files are named, or none to load all.",
        )
    return {name: known[name] for name in tables} or dict(known)


def instance_of_home() -> dg.DagsterInstance:
    """The instance the UI shows. Raises ConfigError without DAGSTER_HOME."""
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise ConfigError(
            "DAGSTER_HOME",
            met=str(error).strip().splitlines()[0],
            expected="the folder of a dagster.yaml",
            way_out="Set DAGSTER_HOME to the root of the project.",
        ) from error


def launch(
    keys: Mapping[str, dg.AssetKey],
    *,
    instance: dg.DagsterInstance,
    config: Mapping[str, Any],
    say: Say,
) -> int:
    """Run the assets and say how it goes. SIGINT and SIGTERM end the run as cancelled.

    Dagster runs in a second thread: in the main one it would take the signals for itself and,
    without a request from the UI, end the run as failed.
    """
    tag, codes = uuid.uuid4().hex, [1]
    # By its imported name: run as a program, this module is __main__, which no one can import.
    from bq2pg_assets.defs.launch import sync_all_job as importable

    def execute() -> None:
        result = dg.execute_job(
            dg.reconstructable(importable),
            instance=instance,
            asset_selection=list(keys.values()),
            run_config={"ops": _run_config(keys, config)},
            tags={LAUNCH_TAG: tag},
        )
        codes[0] = 0 if result.success else 1

    thread = threading.Thread(target=execute, name="bq2pg-launch")
    stop = threading.Event()
    with _Signals(stop):
        thread.start()
        follower = _Follower(instance, tag=tag, say=say)
        while thread.is_alive():
            thread.join(LOOK_SECONDS)
            follower.tell(stop=stop.is_set())
    follower.tell(stop=False)
    return codes[0]


class _Follower:
    """Reads the run's events from the instance, as the UI does."""

    def __init__(self, instance: dg.DagsterInstance, *, tag: str, say: Say) -> None:
        self._instance, self._say = instance, say
        self._filter = dg.RunsFilter(tags={LAUNCH_TAG: tag})
        self._cursor: str | None = None
        self._stopping = False

    def tell(self, *, stop: bool) -> None:
        """Say what happened since the last call; pass a wish to stop on to the run."""
        run = next(iter(self._instance.get_runs(filters=self._filter, limit=1)), None)
        if run is None:
            return
        self._pass_on(run, stop=stop)
        found = self._instance.get_records_for_run(run.run_id, cursor=self._cursor, of_type=SHOWN)
        self._cursor = found.cursor
        for line in lines(record.event_log_entry.dagster_event for record in found.records):
            self._say(line)

    def _pass_on(self, run: dg.DagsterRun, *, stop: bool) -> None:
        status = dg.DagsterRunStatus
        if stop and run.status is status.STARTED:
            # Not before: the start of a run that is being cancelled would overwrite its status.
            self._instance.report_run_canceling(run, "Termination asked for on the terminal.")
        elif run.status is not status.CANCELING:
            return
        if not self._stopping:
            self._stopping = True
            self._say("stopping: waiting for running tables to clean up")
            cancel_run(run.run_id)


def lines(events: Iterable[DagsterEvent | None]) -> Iterable[str]:
    """A line per event that is worth one."""
    for event in events:
        if event is None:
            continue
        table = (event.step_key or "").removeprefix("invalid__")
        if event.event_type is Event.STEP_START:
            yield f"{table}: started"
        elif event.event_type is Event.STEP_UP_FOR_RETRY:
            wait = event.step_retry_data.seconds_to_wait or 0
            yield f"{table}: tried again in {wait:.0f} s: {why(event.step_retry_data.error)}"
        elif event.event_type is Event.STEP_FAILURE:
            yield f"{table}: FAILED: {why(event.step_failure_data.error)}"
        elif event.event_type is Event.ASSET_MATERIALIZATION:
            yield f"{table}: {_done(event)}"


def _done(event: DagsterEvent) -> str:
    known = event.materialization.metadata
    if (outcome := known.get("outcome")) is not None and outcome.value == "nothing_new":
        return "nothing new"
    rows, seconds = (known[name].value if name in known else 0 for name in ("rows", "seconds"))
    return f"{rows:,} rows in {seconds:.1f} s"


def why(error: "SerializableErrorInfo | None") -> str:
    """The description of the dg.Failure among what Dagster nested, without secrets.

    It is our error's text (failures.py). Without a Failure nobody expected what happened: then
    the innermost cause is told, on one line.
    """
    if error is None:
        return "no reason given"
    chain = [error]
    while chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    for one in chain:
        if one.cls_name == dg.Failure.__name__:
            return redact(one.message.partition(": ")[2].strip())
    return redact(" ".join(chain[-1].message.split()))


def _run_config(
    keys: Mapping[str, dg.AssetKey], config: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    given = {name: value for name, value in config.items() if value}
    tables = [name for name, key in keys.items() if tuple(key.path[:2]) != PLACEHOLDER]
    return {name: {"config": given} for name in tables if given}


class _Signals:
    """While inside, SIGINT and SIGTERM only set an event."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bq2pg_assets.defs.launch", description="Load tables through Dagster."
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="default: every table")
    parser.add_argument("--full-refresh", action="store_true", help="replace, ignore the cursor")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N rows")
    parser.add_argument("--where", metavar="SQL", help="a BigQuery condition")
    parser.add_argument(
        "--allow-shrink", action="store_true", help="even if more rows go than the guards allow"
    )
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
