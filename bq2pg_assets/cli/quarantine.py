"""`bq2pg quarantine`: the rows that PostgreSQL refused, and bringing them in later.

Belongs here: the commands and their rendering. Does not: finding such rows, replaying them
(engine/quarantine.py).
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bq2pg_assets.cli import options, output, wording
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.cli.result_table import aligned
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.redact import redact
from bq2pg_assets.engine.results import QuarantinedRow, Replayed

if TYPE_CHECKING:
    from bq2pg_assets.engine.postgres import PostgresTarget

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The rows that PostgreSQL refused, of tables with bad_rows: quarantine. They are kept in "
    "sync_quarantine until they are replayed, or a later load makes them obsolete.",
)

HEADER = ("id", "table", "at", "sqlstate", "state", "error")
Table = Annotated[
    str | None, typer.Argument(metavar="TABLE", help="A table's name: its YAML file's name.")
]
Obsolete = Annotated[
    bool, typer.Option("--all", help="Those that were replayed or became obsolete, too.")
]
Ids = Annotated[
    list[int] | None,
    typer.Option("--id", metavar="N", help="A row's id, as list shows it; may be given again."),
]
Every = Annotated[bool, typer.Option("--all", help="The rows of every table.")]


@app.command(name="list")
def list_rows(
    table: Table = None, everything: Obsolete = False, as_json: options.Json = False
) -> None:
    """Show the rows that wait, oldest first. With --json their content as well."""
    found = _target().quarantined(table, everything=everything)
    if as_json:
        output.say(json.dumps([as_object(row) for row in found], indent=2, ensure_ascii=False))
    elif found:
        for line in lines(found):
            output.say(line)
    else:
        output.say("no row is quarantined")


@app.command()
def replay(
    table: Table = None, ids: Ids = None, everything: Every = False, as_json: options.Json = False
) -> None:
    """Write the rows that wait into their targets, each exactly once.

    Inserted, or by key where the table has one; a row of the target that is newer stays. A row that
    is refused again waits on, with its new error.
    """
    chosen = sum([table is not None, bool(ids), everything])
    if chosen != 1:
        raise ConfigError(
            "the command line",
            met=f"{chosen or 'none'} of TABLE, --id and --all",
            expected="one of them, to know which rows",
            way_out="Name a table; bq2pg quarantine list shows what waits.",
        )
    target = _target()
    waiting = target.quarantined(table)
    if ids:
        _refuse_unknown(ids, waiting)
        waiting = [row for row in waiting if row.id in ids]
    done = target.replay(waiting, run_id=str(uuid.uuid4()))
    if as_json:
        output.say(json.dumps([asdict(one) for one in done], indent=2, ensure_ascii=False))
    else:
        for line in replay_lines(done):
            output.say(line)
    refused = any(one.outcome == "refused" for one in done)
    raise typer.Exit(ExitCode.FAILED if refused else ExitCode.DONE)


def lines(found: Sequence[QuarantinedRow]) -> list[str]:
    """One line per row. Pure."""
    cells = [
        (
            str(row.id),
            row.table,
            wording.moment(row.at.replace(microsecond=0)),
            row.sqlstate or "",
            _state(row),
            redact(" ".join(row.error.split())),
        )
        for row in found
    ]
    return aligned([HEADER, *cells], left=set(HEADER) - {"id"})


def as_object(row: QuarantinedRow) -> dict[str, Any]:
    """One row for JSON; `row` is its content as text, exact. Pure."""
    return {
        name: wording.iso(value) if isinstance(value, datetime) else value
        for name, value in asdict(row).items()
    }


def replay_lines(done: Sequence[Replayed]) -> list[str]:
    """One line per row, then the sum. Pure."""
    said = [
        f"{one.table}, row {one.id}: {one.outcome}"
        + (f": {redact(' '.join(one.error.split()))}" if one.error else "")
        for one in done
    ]
    count = sum(one.outcome == "replayed" for one in done)
    return [*said, f"{count} of {wording.plural(len(done), 'row')} replayed"]


def _state(row: QuarantinedRow) -> str:
    if row.replayed_at is not None:
        return "replayed"
    return "waits" if row.superseded_at is None else "superseded"


def _refuse_unknown(ids: Sequence[int], waiting: Sequence[QuarantinedRow]) -> None:
    known = {row.id for row in waiting}
    if unknown := [str(number) for number in ids if number not in known]:
        raise ConfigError(
            "the command line",
            met=f"no row {', '.join(unknown)} waits",
            expected="ids of rows that wait",
            way_out="bq2pg quarantine list shows them.",
        )


def _target() -> "PostgresTarget":
    from bq2pg_assets.clients import postgres_target
    from bq2pg_assets.settings import load_settings

    return postgres_target(load_settings())
