"""`bq2pg plan`: what a sync would do, without doing it.

Belongs here: the command. Does not: the words of a plan (plan_text.py), planning (engine/).
"""

import json
import uuid
from typing import Annotated, Any

import typer

from bq2pg_assets.cli import options, output, plan_text
from bq2pg_assets.cli.exit_codes import code_of_all
from bq2pg_assets.cli.selection import select
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.model import RunId

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show how every column is mapped.")]


def plan(
    tables: options.Tables = None,
    everything: options.Everything = False,
    full_refresh: options.FullRefresh = False,
    limit: options.Limit = None,
    where: options.Where = None,
    allow_shrink: options.AllowShrink = False,
    verbose: Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Show what a sync would do and cost. Writes nothing.

    Per table: which rows, how they leave BigQuery and why, how they are published, how many rows
    and bytes to expect, and the price. The price comes from a dry run, which is free; finding the
    newest cursor value of an incremental run is a small query, which is not.
    """
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import load_settings

    wanted = options.run_options(
        full_refresh=full_refresh, limit=limit, where=where, allow_shrink=allow_shrink
    )
    settings = load_settings()
    loaded = load_tables(settings.tables, environment=settings.env)
    chosen = select(tables or (), everything=everything, loaded=loaded)
    # Imported last: with Google's clients and pyarrow, which a slip in a name need not wait for.
    from bq2pg_assets.clients import engine_parts
    from bq2pg_assets.engine.sync import plan_table

    source, shards, target = engine_parts(settings)
    found: list[dict[str, Any]] = []
    errors: list[Bq2pgError] = list(chosen.errors)
    run = RunId(str(uuid.uuid4()))
    for table in chosen.tables:
        try:
            made, estimate = plan_table(
                table,
                source=source,
                target=target,
                run=run,
                options=wanted,
                has_bucket=shards is not None,
                shards=shards,
            )
        except Bq2pgError as error:
            errors.append(error)
            found.append(plan_text.error_json(table.name, error))
            continue
        found.append(plan_text.plan_json(made, estimate))
        if not as_json:
            output.say("\n".join(plan_text.plan_lines(made, estimate, verbose=verbose)))
    if as_json:
        output.say(json.dumps(found, indent=2, ensure_ascii=False))
    for problem in errors:
        output.print_error(problem)
    raise typer.Exit(code_of_all(errors))
