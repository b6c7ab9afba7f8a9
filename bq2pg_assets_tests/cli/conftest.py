"""Fixtures of the command line's tests: a source with rows, and the commands as processes.

Belongs here: how a command is started and its surroundings. Does not: the stack (../conftest.py),
expectations.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from google.cloud import bigquery, storage

BQ2PG = (sys.executable, "-m", "bq2pg_assets.cli.app")
BQ_TO_POSTGRES = (sys.executable, "-m", "bq2pg_assets.cli.bq_to_postgres")
SECONDS = 120


@dataclass(frozen=True)
class Shell:
    """Starts commands in a folder of their own, with this test's stack around them."""

    folder: Path
    variables: Mapping[str, str]
    dsn: str

    def table(self, name: str, yaml: str) -> None:
        """Configure a table."""
        tables = self.folder / "tables"
        tables.mkdir(exist_ok=True)
        (tables / f"{name}.yaml").write_text(yaml, encoding="utf-8")

    def environment(self, **changed: str | None) -> dict[str, str]:
        """What a command sees; None takes a variable away."""
        merged = {**os.environ, **self.variables, **changed}
        return {name: value for name, value in merged.items() if value is not None}

    def run(self, *words: str, **changed: str | None) -> subprocess.CompletedProcess[str]:
        """`bq2pg`, to its end."""
        return self._run([*BQ2PG, *words], changed)

    def bq_to_postgres(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """`bq-to-postgres`, to its end."""
        return self._run([*BQ_TO_POSTGRES, *words], changed)

    def start(self, *words: str, **changed: str) -> subprocess.Popen[str]:
        """`bq2pg`, still running."""
        return subprocess.Popen(
            [*BQ2PG, *words],
            cwd=self.folder,
            env=self.environment(**changed),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What PostgreSQL answers."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return conn.execute(query.encode()).fetchall()

    def relations(self) -> set[str]:
        """Every relation of every schema that is not PostgreSQL's."""
        return {
            str(row[0])
            for row in self.rows(
                "SELECT format('%s.%s', n.nspname, c.relname) FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
                "AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            )
        }

    def _run(
        self, command: list[str], changed: Mapping[str, str | None]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**changed),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture
def shell(tmp_path: Path, local_env: dict[str, str], bucket: storage.Bucket) -> Shell:
    variables = {
        **local_env,
        "BQ2PG_TABLES": str(tmp_path / "tables"),
        "BQ2PG_GCS_BUCKET": bucket.name,
        "COLUMNS": "160",
    }
    return Shell(tmp_path, variables, local_env["BQ2PG_PG_DSN"])


@pytest.fixture
def orders(dataset: str, bigquery_client: bigquery.Client) -> str:
    """A source with 100 rows, dataset.table."""
    bigquery_client.query(
        f"CREATE TABLE {dataset}.orders AS SELECT id, CONCAT('order ', id) AS note, "
        "TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL id HOUR) AS max_ingested_at "
        "FROM UNNEST(GENERATE_ARRAY(1, 100)) AS id"
    ).result()
    return f"{dataset}.orders"


def insert_orders(client: bigquery.Client, source: str, *, first: int, last: int) -> None:
    """More rows of the same shape."""
    client.query(
        f"INSERT INTO {source} SELECT id, CONCAT('order ', id), "
        "TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL id HOUR) "
        f"FROM UNNEST(GENERATE_ARRAY({first}, {last})) AS id"
    ).result()
