"""The arguments and options that several commands share, with their help.

Belongs here: declarations, and what they say to the engine. Does not: commands.
"""

from typing import Annotated

import typer

from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import LONGEST_WAIT, RunOptions

Tables = Annotated[
    list[str] | None,
    typer.Argument(metavar="TABLE", help="Names of tables: their YAML files' names."),
]
Everything = Annotated[bool, typer.Option("--all", help="Every configured table.")]
FullRefresh = Annotated[
    bool, typer.Option("--full-refresh", help="Ignore the cursor and replace the whole content.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Stop after so many rows; those of one cursor value stay together. "
        "Needs --full-refresh too where it would replace rows by fewer.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="SQL",
        help="A BigQuery condition that rows must meet, per table. "
        "Needs --full-refresh too where it would replace rows by fewer.",
    ),
]
Wait = Annotated[
    int,
    typer.Option(
        min=0,
        max=LONGEST_WAIT,
        metavar="SECONDS",
        help="How long to wait for another run of the same table. Default: not at all.",
        show_default=False,
    ),
]
AllowShrink = Annotated[
    bool,
    typer.Option(
        "--allow-shrink", help="Let more rows go than max_shrink and max_deletes allow, this once."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def run_options(
    *,
    full_refresh: bool,
    limit: int | None,
    where: str | None,
    wait: int = 0,
    allow_shrink: bool = False,
) -> RunOptions:
    """What the options say to the engine. Raises ConfigError."""
    if where is not None and not where.strip():
        # Likely a shell variable that is not set: every row would be loaded instead of some.
        raise ConfigError(
            "--where",
            met="nothing",
            expected="a BigQuery condition",
            way_out="Write one, or leave --where out.",
        )
    return RunOptions(
        full_refresh=full_refresh, limit=limit, where=where, wait=wait, allow_shrink=allow_shrink
    )
