"""The arguments of `bq-to-postgres`: read, and refused when they cannot be what they should.

Belongs here: argparse, and a sentence for each bad value. Does not: copying. No sentence repeats
the connection string or any part of it.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from bq2pg_assets.cli import exit_codes
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.engine.errors import ConfigError

WIDTH = 96  # whatever the terminal, as the description's lines are set
PROJECT = r"[a-z][a-z0-9:-]*[a-z0-9]"
DATASET = re.compile(rf"(?:{PROJECT}\.)?[A-Za-z0-9_]{{1,1024}}")
TABLE = re.compile(r"[^\W_][\w-]*\*?|_[\w-]*\*?")
LOCATION = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
PG_NAME = re.compile(r'(?:[^\W\d][\w$]*|"(?:[^"\0]|"")+")')
PG_TABLE = re.compile(rf"(?:{PG_NAME.pattern}\.)?{PG_NAME.pattern}")

DESCRIPTION = """\
Copy the rows of one BigQuery table that PostgreSQL does not have yet: those whose column
max_ingested_at is above the highest value copied before. The first run copies all rows and
creates the table. Rows and cursor are committed together: killed anywhere, run it again.

Google's credentials are the Application Default Credentials; the project that runs the jobs
is BQ2PG_BQ_PROJECT, otherwise GOOGLE_CLOUD_PROJECT, otherwise the credentials'."""

EXAMPLE = """\
example:
  PGPASSWORD=… bq-to-postgres --bq-dataset shop --bq-table orders --bq-location EU \\
    --pg-conn "host=db.example.com dbname=warehouse user=loader" --pg-table public.orders \\
    --gcs-bucket my-project-bq2pg

A password inside --pg-conn is visible in the process list to every user of the machine: leave
it out and use ~/.pgpass or PGPASSWORD."""

HELP = {
    "bq-dataset": ("dataset", "the source's dataset, or project.dataset"),
    "bq-table": ("table", "the source table or view; it has a column max_ingested_at"),
    "bq-location": ("location", "where the dataset is, for example EU or europe-west6"),
    "pg-conn": ("dsn", "the PostgreSQL to write to, as key=value pairs or postgresql://…"),
    "pg-table": ("table", 'the target: table, schema.table or "Quoted".table'),
    "gcs-bucket": ("bucket", "where the export is put meanwhile, without gs://"),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was given, and can be what it should. `repr` leaves the connection string out."""

    bq_dataset: str
    bq_table: str
    bq_location: str
    pg_conn: str
    pg_table: str
    gcs_bucket: str

    def __repr__(self) -> str:
        return f"Arguments({self.bq_dataset}.{self.bq_table} → {self.pg_table})"

    @property
    def name(self) -> str:
        """The table's name as an asset may bear it: letters, digits and _."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", self.bq_table)
        return f"_{name}" if name[0].isdigit() else name

    @property
    def shows_password(self) -> bool:
        """Whether the process list shows a password."""
        from psycopg.conninfo import conninfo_to_dict

        return bool(conninfo_to_dict(self.pg_conn).get("password"))


class Parser(argparse.ArgumentParser):
    """argparse, except that no message repeats an argument it did not understand."""

    def error(self, message: str) -> NoReturn:
        """Usage and what is wrong, on stderr."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"error: {message}\n  → See {self.prog} --help.\n")


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments. Leaves with code 2 for wrong usage; raises ConfigError for bad values."""
    known, unknown = parser().parse_known_args(argv)
    if unknown:
        # The rest of an unquoted connection string lands here, password and all.
        named = [word.partition("=")[0] for word in unknown if re.match(r"--[a-z]", word)]
        parser().error(
            f"unknown argument {', '.join(named)}"
            if named
            else "words that belong to no argument; put quotes around a value with spaces"
        )
    arguments = Arguments(**vars(known))
    problems = list(_problems(arguments))
    if problems:
        raise ConfigError(
            "the arguments",
            met="; ".join(f"{name} {met}" for name, met, _ in problems),
            expected="names that exist as they are written",
            way_out="\n".join(f"{name}: {way_out}" for name, _, way_out in problems),
        )
    return arguments


def parser() -> argparse.ArgumentParser:
    """What argparse knows of the arguments; its help is part of the documentation."""
    made = Parser(
        prog="bq-to-postgres",
        description=DESCRIPTION,
        epilog=f"{EXAMPLE}\n\n{exit_codes.HELP}",
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=WIDTH),
        allow_abbrev=False,
    )
    for name, (metavar, text) in HELP.items():
        made.add_argument(f"--{name}", required=True, metavar=metavar, help=text)
    return made


def _problems(arguments: Arguments) -> Iterator[tuple[str, str, str]]:
    """Argument, what is wrong with it, what to do."""
    judged: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
        ("--bq-dataset", arguments.bq_dataset, DATASET.fullmatch, "dataset or project.dataset"),
        ("--bq-table", arguments.bq_table, TABLE.fullmatch, "the table's name alone"),
        ("--bq-location", arguments.bq_location, LOCATION.fullmatch, "for example EU"),
        ("--gcs-bucket", arguments.gcs_bucket, BUCKET.fullmatch, "the name without gs://"),
        ("--pg-table", arguments.pg_table, PG_TABLE.fullmatch, _QUOTE),
    )
    for name, value, fits, way_out in judged:
        if not fits(value):
            yield name, f"is {value!r}" if value else "is empty", f"write {way_out}"
    if PG_TABLE.fullmatch(arguments.pg_table):
        yield from _target_problems(arguments.pg_table)
    if not _is_conninfo(arguments.pg_conn):
        # Its own words would repeat parts of the string.
        yield (
            "--pg-conn",
            "is not a PostgreSQL connection string (it is not repeated here)",
            'write "host=… dbname=… user=…" or postgresql://user@host/database; inside an address '
            "%-encode / @ : of a password, or better leave it to ~/.pgpass or PGPASSWORD",
        )


_QUOTE = 'table or schema.table; a part with other characters in double quotes: "my table"'


def _target_problems(pg_table: str) -> Iterator[tuple[str, str, str]]:
    from bq2pg_assets.config.table import parse_target

    try:
        parse_target(pg_table)
    except ValueError as error:
        yield "--pg-table", "cannot be a table's name", str(error)


def _is_conninfo(text: str) -> bool:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return bool(conninfo_to_dict(text))
    except ProgrammingError:
        return False
