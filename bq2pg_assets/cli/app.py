"""`bq2pg`: the commands and their order in the help.

Belongs here: assembling and the entry point. Does not: what a command does.
"""

from typing import Annotated

import typer

from bq2pg_assets.cli import exit_codes, output
from bq2pg_assets.cli.check import check
from bq2pg_assets.cli.clean import clean
from bq2pg_assets.cli.entry import leave_with
from bq2pg_assets.cli.local import app as local
from bq2pg_assets.cli.plan import plan
from bq2pg_assets.cli.quarantine import app as quarantine
from bq2pg_assets.cli.resume import resume
from bq2pg_assets.cli.status import status
from bq2pg_assets.cli.sync import sync

app = typer.Typer(
    name="bq2pg",
    no_args_is_help=True,
    add_completion=False,
    # Errors are put into words by entry.py; a traceback may hold values that are nobody's business.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Plain help: drawn by rich it takes twice as long to come.
    rich_markup_mode=None,
    epilog="\b\n" + exit_codes.HELP,  # \b keeps its lines
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")]
Version = Annotated[bool, typer.Option("--version", help="Print the version and leave.")]


@app.callback(invoke_without_command=True)
def options(debug: Debug = False, version: Version = False) -> None:
    """Copy BigQuery tables to PostgreSQL.

    Tables are YAML files; connections come from environment variables. `bq2pg check` tells what
    is missing. Dagster runs the same copies on a schedule.
    """
    output.show_tracebacks(debug)
    if version:
        from importlib.metadata import version as installed

        output.say(f"bq2pg {installed('bq2pg')}")
        raise typer.Exit


for command in (sync, plan, status, resume, check, clean):
    app.command()(command)
app.add_typer(quarantine, name="quarantine")
app.add_typer(local, name="local")


def main() -> None:
    """The console script."""
    leave_with(lambda: app(prog_name="bq2pg"))


if __name__ == "__main__":
    main()
