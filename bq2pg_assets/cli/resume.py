"""`bq2pg resume`: close the circuit of tables that kept failing, by hand.

Belongs here: the command. Does not: when a circuit opens (engine/circuit.py), skipping (defs/).
"""

import uuid

import typer

from bq2pg_assets.cli import options, output
from bq2pg_assets.cli.exit_codes import code_of_all
from bq2pg_assets.cli.selection import select
from bq2pg_assets.engine.model import RunId


def resume(tables: options.Tables = None, everything: options.Everything = False) -> None:
    """Let schedules and the sensor load tables again that they leave out.

    A table is left out for a while after several failed runs in a row. Nothing is loaded now; a
    sync that goes well closes the circuit as well.
    """
    from bq2pg_assets.clients import postgres_target
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import load_settings

    settings = load_settings()
    loaded = load_tables(settings.tables, environment=settings.env)
    chosen = select(tables or (), everything=everything, loaded=loaded)
    for error in chosen.errors:
        output.print_error(error)
    target = postgres_target(settings)
    circuits, run = target.circuits(chosen.tables), RunId(str(uuid.uuid4()))
    for table in chosen.tables:
        # Failures that did not open it yet stay counted: nobody was asked to forgive them.
        if circuits[table.name].opened:
            target.resume(table.target_name, run=run, table=table.name)
            output.say(f"{table.name}: circuit closed")
        else:
            output.say(f"{table.name}: not left out; nothing to do")
    raise typer.Exit(code_of_all(chosen.errors))
