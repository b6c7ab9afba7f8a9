"""`bq2pg sync`: copy tables now, from this process.

Belongs here: the command. Does not: how a table is copied (engine/sync.py) or shown while it is
(runner.py, progress.py).
"""

from collections.abc import Sequence

import typer

from bq2pg_assets.cli import options, output, result_table
from bq2pg_assets.cli.exit_codes import ExitCode, code_of_all
from bq2pg_assets.cli.progress import view
from bq2pg_assets.cli.result_table import ResultRow
from bq2pg_assets.cli.runner import Runner
from bq2pg_assets.cli.selection import select


def sync(
    tables: options.Tables = None,
    everything: options.Everything = False,
    full_refresh: options.FullRefresh = False,
    limit: options.Limit = None,
    where: options.Where = None,
    wait: options.Wait = 0,
    allow_shrink: options.AllowShrink = False,
) -> None:
    """Copy tables from BigQuery to PostgreSQL now, one after another.

    A table that fails does not stop the others. Ctrl-C cancels cleanly: the table under way keeps
    its old rows and its old cursor. What Dagster runs is the very same copy.
    """
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import load_settings

    wanted = options.run_options(
        full_refresh=full_refresh, limit=limit, where=where, wait=wait, allow_shrink=allow_shrink
    )
    settings = load_settings()
    loaded = load_tables(settings.tables, environment=settings.env)
    chosen = select(tables or (), everything=everything, loaded=loaded)
    # Imported last: with Google's clients and pyarrow, which a slip in a name need not wait for.
    from bq2pg_assets.clients import engine_parts

    for error in chosen.errors:
        output.print_error(error)
    source, shards, target = engine_parts(settings)
    ended = Runner(source, shards, target, view()).run(chosen.tables, options=wanted)
    print_results([one.row for one in ended])
    for one in ended:
        if one.row.time:
            output.note(f"{one.row.table}: time: {one.row.time}")
    if len(ended) < len(chosen.tables):
        left = ", ".join(table.name for table in chosen.tables[len(ended) :])
        output.note(f"not started: {left}")
        raise typer.Exit(ExitCode.INTERRUPTED)
    raise typer.Exit(code_of_all([*chosen.errors, *(one.error for one in ended)]))


def print_results(rows: Sequence[ResultRow]) -> None:
    """The final table, on stdout: drawn on a terminal, plain in a pipe."""
    console = output.console()
    if console.is_terminal:
        console.print(result_table.rich_table(rows))
        return
    for line in result_table.plain_lines(rows):
        output.say(line)
