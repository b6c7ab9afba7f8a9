"""`bq2pg local demo`: stack, data, one sync by Dagster, its page; then all of it away again.

Belongs here: the order, and stopping exactly what was started. Does not: how a server, the page
(dagster_ui.py) or a sync works. Safe to run again at any time, also after a kill -9: what is
left running is recorded and found.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bq2pg_assets.cli import dagster_ui, output, owned, result_table
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.cli.result_table import ResultRow
from bq2pg_assets.cli.sync import print_results
from bq2pg_assets.local import seed, stack

# With its dagster.yaml; an installed wheel has none, and Dagster's own settings do as well.
REPOSITORY = Path(__file__).resolve().parents[2]
# The demo is no deployment, whatever the shell is set to. Its tables the stack's variables name.
NOT_HERE = ("BQ2PG_ENV", "BQ2PG_STATE_SCHEMA")


def run_demo(local_dir: Path, *, port: int | None) -> ExitCode:
    """The whole demo; `port` None leaves the page out. Raises LocalStackError or ConfigError."""
    with _sigterm_as_ctrl_c():
        owned.stop_orphans(local_dir)
        if port is not None:
            # Asked first: what follows may take minutes.
            dagster_ui.refuse_busy_port(local_dir, port=port)
        state = stack.up(local_dir, report=output.note)
        try:
            return _with_stack(state, port=port)
        finally:
            with _undisturbed():
                _stop(state)


def _with_stack(state: stack.StackState, *, port: int | None) -> ExitCode:
    folder = dagster_folder(state.local_dir)
    variables = demo_environment(state, home=REPOSITORY if _is_repository() else folder)
    for name in NOT_HERE:
        os.environ.pop(name, None)
    os.environ.update(variables)
    seed.seed(variables, output.note)
    synced = _sync_by_dagster(state.local_dir, folder)
    output.say()
    print_results(_last_attempts())
    output.say()
    if port is not None:
        _show_ui(state.local_dir, folder, port=port)
    return ExitCode.DONE if synced == 0 else ExitCode.FAILED


def demo_environment(state: stack.StackState, *, home: Path) -> dict[str, str]:
    """The stack's variables and Dagster's. Pure.

    The shell's own DAGSTER_HOME may be somebody's real instance: the demo's runs do not go there.
    """
    dagster = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    return {**stack.environment(state), **dagster}


def dagster_folder(local_dir: Path) -> Path:
    """Where Dagster's processes are started; made when missing.

    The paths in dagster.yaml are relative to it, so that the runs go when the stack's data goes
    (`bq2pg local reset`). And never a folder with an .env: `dagster dev` puts that above its
    environment, and the demo would write to the PostgreSQL named there.
    """
    folder = local_dir / "data" / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_repository() -> bool:
    return (REPOSITORY / "dagster.yaml").exists()


def _sync_by_dagster(local_dir: Path, folder: Path) -> int:
    """Run every table as a Dagster run, in a process of its own; its exit code.

    What it says of each table is shown, what Dagster logs beside it goes to a file.
    """
    output.note("Dagster syncs every table")
    log = local_dir / "logs" / "dagster-sync.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as chatter:
        child = subprocess.Popen(
            [sys.executable, "-m", "bq2pg_assets.defs.launch"],
            stdin=subprocess.DEVNULL,
            stderr=chatter,
            cwd=folder,
            # Away from this terminal's Ctrl-C, which it would otherwise get twice.
            start_new_session=True,
        )
    launch = owned.own(local_dir, f"launch-{child.pid}", pid=child.pid)
    try:
        code = child.wait()
    except BaseException:  # Ctrl-C
        output.note("stopping: Dagster cancels the run first")
        raise
    finally:
        with _undisturbed():  # the run is cancelled and cleaned before the stack goes
            owned.stop(launch, local_dir)
    if code != 0:
        output.note(f"Dagster's run did not go well (exit code {code}); its log is {log}")
    return code


def _last_attempts() -> list[ResultRow]:
    """What `sync_history` knows of the configured tables."""
    from bq2pg_assets.clients import postgres_target
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import load_settings

    settings = load_settings()
    known = {one.target: one for one in postgres_target(settings).status()}
    tables = load_tables(settings.tables, environment=settings.env).tables
    return [
        result_table.from_status(known[str(table.target_name)])
        if str(table.target_name) in known
        else ResultRow(table.name, table.mode, ended="never synced", good=False)
        for table in tables
    ]


def _show_ui(local_dir: Path, folder: Path, *, port: int) -> None:
    """Serve Dagster's page until Ctrl-C or SIGTERM, which is how this is meant to end."""
    output.note("Dagster's page starts; that takes up to half a minute")
    ui = dagster_ui.start(local_dir, folder, port=port)
    try:
        output.say(f"Dagster: {dagster_ui.url(port)}")
        output.say(
            f"  {dagster_ui.url(port)}/assets shows the tables: click one, then Materialize."
        )
        output.say("  `bq2pg local advance` in another terminal gives them something new to load.")
        output.say("Ctrl-C ends it.")
        dagster_ui.wait_for_end(ui)
        output.note(f"Dagster's page ended by itself; see {local_dir / 'logs'}")
    except KeyboardInterrupt:
        output.note("stopping")
    finally:
        with _undisturbed():
            owned.stop(ui, local_dir)


def _stop(state: stack.StackState) -> None:
    """Stop the parts this run started; a stack that was up before stays up."""
    if state.started:
        stack.down(state.local_dir, report=output.note, parts=state.started)
    else:
        output.note("the local stack was up before and stays up; `bq2pg local down` stops it")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM change nothing: a second Ctrl-C must not leave servers behind."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Inside, SIGTERM ends things as Ctrl-C does: with their `finally` blocks."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
