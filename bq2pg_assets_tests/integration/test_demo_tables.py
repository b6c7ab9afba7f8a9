"""Promise: every demo table's content in PostgreSQL equals its content in BigQuery, value by value.

BigQuery is asked for each row as JSON through its own client: another road than the one under
test.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from google.cloud import bigquery, storage
from psycopg import sql

from bq2pg_assets.config.load import load_tables_strictly
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.model import Mode, Outcome, RunId
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.results import SyncResult
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.sync import sync_table
from bq2pg_assets.local import seed
from bq2pg_assets.local.catalog import DEMO_FOLDER

TABLES = load_tables_strictly(DEMO_FOLDER, environment="development")


class Demo:
    """The demo's sources, bucket and one database."""

    def __init__(
        self, variables: dict[str, str], client: bigquery.Client, *, store: storage.Client, dsn: str
    ) -> None:
        self.variables, self.client, self.dsn = variables, client, dsn
        self.source = BigQuerySource(
            client, read_client=lambda: pytest.fail("the bucket is the way"), location="US"
        )
        self.shards = GcsShards(store, bucket=variables["BQ2PG_GCS_BUCKET"])
        self.target = PostgresTarget(dsn)

    def sync(self, table: TableConfig, run: str) -> SyncResult:
        parts = {"source": self.source, "shards": self.shards, "target": self.target}
        return sync_table(table, run=RunId(run), **parts)  # type: ignore[arg-type]

    def in_bigquery(self, table: TableConfig) -> Counter[str]:
        source = f"({table.query})" if table.query else table.source
        dry = bigquery.QueryJobConfig(dry_run=True)
        described = self.client.query(f"SELECT * FROM {source}", job_config=dry)
        types = {f.name: f.field_type for f in described.schema}
        renamed = {name: column.name or name for name, column in table.columns.items()}
        # The emulator spells BYTES inside a row of structs wrongly, inside a column rightly.
        nested = [name for name, kind in types.items() if kind == "RECORD"]
        columns = ", ".join(f"TO_JSON_STRING({name})" for name in ("t", *nested))
        rows = self.client.query(f"SELECT {columns} FROM {source} AS t").result(page_size=400_000)

        def values(row: bigquery.Row) -> Iterator[tuple[str, Any]]:
            own = zip(nested, map(json.loads, row[1:]), strict=True)
            for name, value in {**json.loads(row[0]), **dict(own)}.items():
                yield renamed.get(name, name), typed(value, types[name])

        return Counter(line(values(row)) for row in rows)

    def in_postgres(self, table: TableConfig) -> Counter[str]:
        name = sql.Identifier(table.target_name.schema, table.target_name.table)
        with psycopg.connect(self.dsn, options="-c TimeZone=UTC") as conn:
            cursor = conn.execute(sql.SQL("SELECT * FROM {}").format(name))
            columns = [c.name for c in cursor.description or ()]
            return Counter(line(zip(columns, row, strict=True)) for row in cursor)


def typed(value: Any, kind: str) -> Any:
    """What BigQuery wrote as JSON, as the Python value of its type."""
    if value is None:
        return None
    if kind in ("TIMESTAMP", "DATETIME"):
        return datetime.fromisoformat(value)
    if kind == "NUMERIC":
        return Decimal(str(value))
    return float(value) if kind in ("FLOAT", "FLOAT64") else value


def line(row: Iterable[tuple[str, Any]]) -> str:
    """One canonical line for a row."""
    return json.dumps(dict(row), sort_keys=True, default=spelled)


def spelled(value: Any) -> str:
    """A value that JSON lacks, spelled one way whichever client read it."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


@pytest.fixture
def demo(
    stack_variables: dict[str, str],
    bigquery_client: bigquery.Client,
    storage_client: storage.Client,
    postgres_dsn: str,
) -> Demo:
    seed.seed(stack_variables, print)
    return Demo(stack_variables, bigquery_client, store=storage_client, dsn=postgres_dsn)


def test_every_demo_table_equals_its_source_and_december_adds_exactly_its_rows(demo: Demo) -> None:
    growing = [table for table in TABLES if table.cursor_column]
    for table in TABLES:
        assert demo.sync(table, "november").outcome is Outcome.LOADED
        if table not in growing:
            assert demo.in_postgres(table) == demo.in_bigquery(table), table.name
    assert [demo.sync(t, "again").outcome for t in growing] == [Outcome.NOTHING_NEW] * 3

    seed.advance(demo.variables, print)
    december = {t.name: demo.sync(t, "december") for t in growing}
    assert {name: result.rows for name, result in december.items()} == {
        "flights": 29_115,
        "planes": 68,
        "weather": 2_162,
    }
    assert {r.publish for r in december.values()} == {Mode.APPEND, Mode.MERGE}
    for table in growing:  # November's rows and December's
        assert demo.in_postgres(table) == demo.in_bigquery(table), table.name
