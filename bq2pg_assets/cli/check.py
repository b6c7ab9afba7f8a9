"""`bq2pg check`: is everything there that a sync needs?

Belongs here: which questions are asked, in which order, and how an answer is shown. Does not:
the probing itself, which is the engine's (`describe`, `check`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import typer

from bq2pg_assets.cli import output, wording
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.engine.errors import Bq2pgError, ConfigError
from bq2pg_assets.engine.model import SourceFacts

if TYPE_CHECKING:
    from bq2pg_assets.config.table import TableConfig
    from bq2pg_assets.engine.bigquery import BigQuerySource
    from bq2pg_assets.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """One question and what came of it: a sentence, or the error."""

    about: str
    says: str = ""
    error: Bq2pgError | None = None


def check() -> None:
    """Check the configuration, PostgreSQL, BigQuery and the bucket.

    Every check is made, also after failures, and says what to do. Only a tiny object is written
    to the bucket, and deleted again. Exit code 2: the configuration is wrong; 3: a service does
    not answer or refuses.
    """
    answers = []
    for answer in _answers():
        for line in answer_lines(answer):
            output.say(line)
        answers.append(answer)
    raise typer.Exit(code_of_answers(answers))


def answer_lines(answer: Answer) -> list[str]:
    """One line, and the way out below when it failed. Pure."""
    if answer.error is None:
        return [f"ok      {answer.about}: {answer.says}"]
    first, *rest = output.error_lines(answer.error)
    return [f"failed  {answer.about}: {first.removeprefix('error: ')}", *rest]


def code_of_answers(answers: list[Answer]) -> ExitCode:
    """The configuration comes first: without it the rest says little. Pure."""
    errors = [answer.error for answer in answers if answer.error is not None]
    if any(isinstance(error, ConfigError) for error in errors):
        return ExitCode.USAGE
    return ExitCode.UNREACHABLE if errors else ExitCode.DONE


def _answers() -> Iterator[Answer]:
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import ProjectSettings, load_settings

    tables: tuple[TableConfig, ...] = ()
    try:
        project = load_settings(ProjectSettings)
        loaded = load_tables(project.tables, environment=project.env)
        tables = loaded.tables
        for problem in loaded.problems:
            yield Answer(f"table {problem.table}", error=problem.error)
        if tables:
            names = f"{wording.plural(len(tables), 'table')} in {project.tables}"
            yield Answer("configuration", f"{names}, environment {project.env}")
    except ConfigError as error:
        yield Answer("configuration", error=error)
    try:
        settings = load_settings()
    except ConfigError as error:
        yield Answer("settings", error=error)
        return
    yield Answer("settings", "every variable is well formed")
    from bq2pg_assets import clients

    yield asked("PostgreSQL", lambda: clients.postgres_target(settings).check())
    yield asked("bucket", lambda: _bucket(settings))
    try:
        source = clients.bigquery_source(settings)
    except Bq2pgError as error:
        yield Answer("BigQuery", error=error)
        return
    for table in tables:
        yield asked(f"source of {table.name}", partial(_source, source, table))


def asked(about: str, question: Callable[[], str]) -> Answer:
    """Ask; an error is an answer too."""
    try:
        return Answer(about, question())
    except Bq2pgError as error:
        return Answer(about, error=error)


def _bucket(settings: "Settings") -> str:
    from bq2pg_assets import clients

    shards = clients.gcs_shards(settings)
    if shards is not None:
        return shards.check()
    clients.read_client(settings).transport.close()
    return (
        "BQ2PG_GCS_BUCKET is not set: rows are read through the Storage Read API; export: extract "
        "and export_data need a bucket"
    )


def _source(source: "BigQuerySource", table: "TableConfig") -> str:
    return found(source.describe(table))


def found(facts: SourceFacts) -> str:
    """What BigQuery told of a source. Pure."""
    parts = [facts.kind.replace("_", " ").lower(), f"in {facts.location}"]
    parts.append(wording.plural(len(facts.fields), "column"))
    if facts.num_rows is not None:
        parts.append(wording.plural(facts.num_rows, "row"))
    if facts.num_bytes is not None:
        parts.append(wording.size(facts.num_bytes))
    return ", ".join(parts)
