"""`bq2pg clean`: remove what dead runs left in the bucket, in PostgreSQL and in BigQuery.

Belongs here: the command and its rendering. Does not: telling the dead from the living
(engine/janitor.py).
"""

from typing import TYPE_CHECKING, Annotated

import typer

from bq2pg_assets.cli import output, wording
from bq2pg_assets.cli.exit_codes import code_of_all
from bq2pg_assets.config.duration import seconds
from bq2pg_assets.engine.errors import ConfigError

if TYPE_CHECKING:
    from bq2pg_assets.engine.janitor import Cleaning, Leftover

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")]
OlderThan = Annotated[
    str | None,
    typer.Option(
        metavar="AGE",
        help="Also delete exported files of runs that this database does not know, when they are "
        "older than this: 7d. The bucket may be another database's as well.",
    ),
]


def clean(dry_run: DryRun = False, older_than: OlderThan = None) -> None:
    """Remove what killed runs left: files, staging tables, jobs, attempts never ended.

    A target that a run is loading is left alone. An export that the next run can use (resume:) is
    kept until it is too old for that.
    """
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import load_settings

    age = _age(older_than)
    settings = load_settings()
    loaded = load_tables(settings.tables, environment=settings.env)
    # Imported last: with Google's clients, which a slip in an option need not wait for.
    from bq2pg_assets.clients import engine_parts
    from bq2pg_assets.engine import janitor

    source, shards, target = engine_parts(settings)
    resume = {str(table.target_name): table.resume for table in loaded.tables}
    done = janitor.clean(target, source, shards, resume=resume, older_than=age, dry_run=dry_run)
    for line in cleaning_lines(done, dry_run=dry_run):
        output.say(line)
    for error in done.errors:
        output.print_error(error)
    raise typer.Exit(code_of_all(done.errors))


def cleaning_lines(done: "Cleaning", *, dry_run: bool) -> list[str]:
    """One line per thing, then the count. Pure."""
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb}  {_line(one)}" for one in done.removed]
    lines += [f"kept to be resumed  {_line(one)}" for one in done.resumable]
    lines += [f"kept, unknown run  {_line(one)}" for one in done.unknown]
    lines += [f"being loaded, left alone  {target}" for target in done.live]
    total = wording.size(sum(one.bytes for one in done.removed))
    return [*lines, f"{verb} {wording.plural(len(done.removed), 'thing')}, {total}"]


def _line(one: "Leftover") -> str:
    of = f" of {one.target}" if one.target else ""
    return f"{one.kind} {one.name}{of}" + (f", {wording.size(one.bytes)}" if one.bytes else "")


def _age(text: str | None) -> int | None:
    try:
        return None if text is None else seconds(text)
    except ValueError as error:
        raise ConfigError(
            "--older-than",
            met=str(error),
            expected="an age",
            way_out="Write it as 12h or 7d.",
        ) from None
