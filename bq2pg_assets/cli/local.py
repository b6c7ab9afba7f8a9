"""`bq2pg local`: the development stack and its demo data on this machine.

Belongs here: the commands. Does not: the servers (local/stack.py), the data (local/seed.py), the
demo's order of events (demo.py).
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bq2pg_assets.cli import output
from bq2pg_assets.engine.errors import LocalStackError

if TYPE_CHECKING:
    from bq2pg_assets.local.stack import StackState

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="BigQuery, Cloud Storage and PostgreSQL on this machine. "
    "For development. Everything lies in the folder .local below the current one "
    "(BQ2PG_LOCAL_DIR names another).",
)

HINT = 'eval "$(bq2pg local env)" lets this shell use it, with the demo\'s tables.'
NoUi = Annotated[bool, typer.Option("--no-ui", help="Leave Dagster's page out.")]
Port = Annotated[
    int,
    typer.Option(
        min=1, max=65535, metavar="N", help="Where Dagster's page is served, on 127.0.0.1."
    ),
]


@app.command()
def up() -> None:
    """Start what does not run yet. The first time builds the emulators: minutes."""
    from bq2pg_assets.local import stack

    state = stack.up(local_dir(), report=output.note)
    output.say("the local stack is up" if state.started else "the local stack was up already")
    output.say(HINT)


@app.command()
def down() -> None:
    """Stop the servers. Their data stays."""
    from bq2pg_assets.cli.owned import stop_orphans
    from bq2pg_assets.local import stack

    stop_orphans(local_dir())
    stack.down(local_dir(), report=output.note)
    output.say("the local stack is down; its data stays")


@app.command()
def reset() -> None:
    """Stop the servers and delete their data."""
    from bq2pg_assets.cli.owned import stop_orphans
    from bq2pg_assets.local import stack

    stop_orphans(local_dir())
    stack.reset(local_dir(), report=output.say)


@app.command()
def seed() -> None:
    """Load the demo data where it is missing, as of the end of November."""
    from bq2pg_assets.local.seed import seed as load

    with stack_for_now() as variables:
        load(variables, output.say)


@app.command()
def advance() -> None:
    """Let December pass in the demo data. Then there is something new to sync."""
    from bq2pg_assets.local.seed import advance as pass_december

    with stack_for_now() as variables:
        pass_december(variables, output.say)


@app.command()
def env() -> None:
    """Print `export` lines for a shell: eval "$(bq2pg local env)".

    The shell then has the demo's tables; set BQ2PG_TABLES afterwards for other ones.
    """
    from bq2pg_assets.local import stack

    for line in export_lines(stack.environment(running_stack())):
        output.say(line)


@app.command()
def status() -> None:
    """Show which servers run, and where."""
    from bq2pg_assets.local import stack

    state = stack.status(local_dir())
    if not state.parts:
        output.say(f"there is no local stack in {state.local_dir}; `bq2pg local up` makes one")
        return
    for name, part in sorted(state.parts.items()):
        where = f"127.0.0.1:{part.port}, process {part.process.pid}"
        output.say(f"{name:<10} {f'runs on {where}' if part.running else 'is stopped'}")


@app.command()
def demo(no_ui: NoUi = False, port: Port = 3000) -> None:
    """Stack, demo data, one sync by Dagster, its page.

    The whole in one command. Can be run again at any time; then there is nothing new, or December
    after `bq2pg local advance`. Ctrl-C ends it and stops what it started.
    """
    from bq2pg_assets.cli.demo import run_demo

    raise typer.Exit(run_demo(local_dir(), port=None if no_ui else port))


def local_dir() -> Path:
    """Where the stack lies."""
    from bq2pg_assets.local.stack import default_local_dir

    return default_local_dir()


@contextmanager
def stack_for_now() -> Iterator[dict[str, str]]:
    """The stack's variables; what had to be started for them is stopped again."""
    from bq2pg_assets.local import stack

    state = stack.up(local_dir(), report=output.note)
    try:
        yield stack.environment(state)
    finally:
        if state.started:
            stack.down(state.local_dir, report=output.note, parts=state.started)


def running_stack() -> "StackState":
    """The stack as recorded. Raises LocalStackError when a part of it does not run."""
    from bq2pg_assets.local import stack

    state = stack.status(local_dir())
    if not state.complete:
        stopped = [name for name, part in state.parts.items() if not part.running]
        raise LocalStackError(
            f"the local stack in {state.local_dir}",
            met=f"{', '.join(stopped)} not running" if stopped else "nothing there",
            expected="it to be up",
            way_out="Run `bq2pg local up`.",
        )
    return state


def export_lines(variables: dict[str, str]) -> list[str]:
    """Lines for a POSIX shell. Pure but for one look:

    a variable that the shell has with this very value is left out, so that the address of a
    PostgreSQL of the user's own, which holds a password, is not printed.
    """
    return [
        f"export {name}={shlex.quote(value)}"
        for name, value in variables.items()
        if os.environ.get(name) != value
    ]
