"""`bq-to-postgres`: copies new rows of one table, with arguments only and no YAML.

Belongs here: the entry point and the one table it makes of the arguments. Does not: judging them
(one_table.py), the copy itself, which is the engine's, the same as `bq2pg sync` runs.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bq2pg_assets.cli import exit_codes, output, result_table
from bq2pg_assets.cli.entry import leave_with
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.cli.one_table import Arguments, parse, parser
from bq2pg_assets.engine.model import RunOptions

if TYPE_CHECKING:
    from bq2pg_assets.config.table import TableConfig

__all__ = ["main", "parser"]

SEEN_BY_ALL = (
    "warning: --pg-conn holds a password, which every user of this machine can see in the "
    "process list. Leave it out and use ~/.pgpass or PGPASSWORD."
)


def main() -> None:
    """The console script."""
    leave_with(lambda: run(sys.argv[1:]))


def run(argv: Sequence[str]) -> ExitCode:
    """Parse, copy, say in one line what was done."""
    arguments = parse(argv)
    if arguments.shows_password:
        output.note(SEEN_BY_ALL)
    table = table_config(arguments)
    stand_in_for_environment(arguments)
    # Imported late: the engine brings Google's clients and pyarrow.
    from bq2pg_assets.cli.progress import PlainView
    from bq2pg_assets.cli.runner import Runner
    from bq2pg_assets.clients import engine_parts
    from bq2pg_assets.settings import load_settings

    source, shards, target = engine_parts(load_settings())
    ended = Runner(source, shards, target, PlainView()).run([table], options=RunOptions())
    if not ended:
        return ExitCode.INTERRUPTED
    if (error := ended[0].error) is not None:
        return exit_codes.code_of(error)
    row = ended[0].row
    output.say(f"{arguments.pg_table}: {result_table.sentence(row)}")
    if row.time:
        output.note(f"{arguments.pg_table}: time: {row.time}")
    return ExitCode.DONE


def table_config(arguments: Arguments) -> "TableConfig":
    """The table as its YAML would say it: rows above the cursor `max_ingested_at` are added."""
    from bq2pg_assets.config.table import TableConfig

    return TableConfig(
        name=arguments.name,
        source=f"{arguments.bq_dataset}.{arguments.bq_table}",
        target=arguments.pg_table,
        mode="append",
        location=arguments.bq_location,
    )


def stand_in_for_environment(arguments: Arguments) -> None:
    """Settings come from the environment only, so the arguments take the place of three of them.

    The project is BQ2PG_BQ_PROJECT, otherwise GOOGLE_CLOUD_PROJECT, otherwise the credentials'.
    """
    os.environ["BQ2PG_PG_DSN"] = arguments.pg_conn
    os.environ["BQ2PG_GCS_BUCKET"] = arguments.gcs_bucket
    os.environ["BQ2PG_BQ_LOCATION"] = arguments.bq_location
    if project := os.environ.get("GOOGLE_CLOUD_PROJECT"):
        os.environ["BQ2PG_BQ_PROJECT"] = os.environ.get("BQ2PG_BQ_PROJECT") or project


if __name__ == "__main__":
    main()
