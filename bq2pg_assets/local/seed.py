"""Filling the local BigQuery with the demo: once with `seed`, once more with `advance`.

Belongs here: datasets, tables, load jobs, the staging bucket, by Google's own clients. Does not
belong here: the rows (`demo_data.py`). Both are idempotent: what a table already holds is told
by its number of rows, and every load job is all or nothing.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import Conflict, GoogleAPIError, NotFound
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local import demo_data
from bq2pg_assets.local.catalog import DATASETS, TABLES, Column, DemoTable

Report = Callable[[str], None]

LOAD_SECONDS = 300
# An emulator that answers 500 will do so again: the clients' own ten minutes would be a hang.
RETRY = Retry(timeout=20)
NUMERIC = re.compile(r"(?P<type>\w+)\((?P<precision>\d+),(?P<scale>\d+)\)")


def seed(env: Mapping[str, str], report: Report) -> tuple[str, ...]:
    """Create the bucket, the datasets and the tables; load what was ingested up to November.

    `env` is `stack.environment(...)`. Returns the ids of the tables loaded, none when all were
    there. Raises LocalStackError when an emulator refuses.
    """
    with _clients(env) as (client, storage_client):
        _ensure_bucket(storage_client, env["BQ2PG_GCS_BUCKET"])
        for name, description in DATASETS.items():
            wanted = bigquery.Dataset(f"{client.project}.{name}")
            wanted.location, wanted.description = env["BQ2PG_BQ_LOCATION"], description
            client.create_dataset(wanted, exists_ok=True, retry=RETRY)
        loaded = tuple(table.id for table in TABLES if _seed_table(client, table, report))
    if not loaded:
        report("the demo is already seeded")
    return loaded


def advance(env: Mapping[str, str], report: Report) -> tuple[str, ...]:
    """Let December pass: new flights and weather, late flights of November, changed planes.

    Returns the ids of the tables that changed, none when December has passed already. Raises
    LocalStackError when the demo is not seeded.
    """
    with _clients(env) as (client, _):
        changed = tuple(table.id for table in TABLES if _advance_table(client, table, report))
    if not changed:
        report("December has passed already: there is nothing more to add")
    return changed


def _seed_table(client: bigquery.Client, table: DemoTable, report: Report) -> bool:
    schema = [_field(column) for column in table.columns]
    wanted = bigquery.Table(f"{client.project}.{table.id}", schema=schema)
    wanted.description = table.description
    if client.create_table(wanted, exists_ok=True, retry=RETRY).num_rows:
        return False
    rows = demo_data.planes(refitted=False) if table.key else demo_data.rows_of(table.id)
    if table.advance != "nothing":
        rows = demo_data.seed_part(rows)
    # WRITE_EMPTY makes a second seed at the same time fail instead of doubling the rows.
    _load(client, table.id, rows, schema=schema, disposition="WRITE_EMPTY")
    report(f"{table.id}: {rows.num_rows:,} rows")
    return True


def _advance_table(client: bigquery.Client, table: DemoTable, report: Report) -> bool:
    if table.advance == "nothing":
        return False
    try:
        present = client.get_table(table.id, retry=RETRY).num_rows
    except NotFound:
        present = None
    if present == table.advanced_rows:
        return False
    if present != table.seed_rows:
        raise LocalStackError(
            f"demo table {table.id}",
            met=f"{present} rows" if present is not None else "no such table",
            expected=f"{table.seed_rows} rows, as after a seed",
            way_out="Run `make reset` and then `make demo` to start from nothing.",
        )
    rows = demo_data.advance_part(demo_data.rows_of(table.id))
    schema = [_field(column) for column in table.columns]
    if table.advance == "append":
        _load(client, table.id, rows, schema=schema, disposition="WRITE_APPEND")
    else:
        _merge(client, table, rows, schema=schema)
    report(f"{table.id}: {rows.num_rows:,} rows {'added' if table.advance == 'append' else 'new'}")
    return True


def _merge(
    client: bigquery.Client,
    table: DemoTable,
    rows: pa.Table,
    *,
    schema: list[bigquery.SchemaField],
) -> None:
    """Insert or update by the table's key, through a table that is there only meanwhile."""
    staged = f"{table.id}_changes"
    _load(client, staged, rows, schema=schema, disposition="WRITE_TRUNCATE")
    names = [column.name for column in table.columns]
    assignments = ", ".join(f"{name} = s.{name}" for name in names if name != table.key)
    statement = (
        f"MERGE `{table.id}` AS t USING `{staged}` AS s ON t.{table.key} = s.{table.key} "
        f"WHEN MATCHED THEN UPDATE SET {assignments} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) "
        f"VALUES ({', '.join(f's.{name}' for name in names)})"
    )
    client.query(statement, retry=RETRY).result(timeout=LOAD_SECONDS)
    client.delete_table(staged, retry=RETRY)


def _load(
    client: bigquery.Client,
    table_id: str,
    rows: pa.Table,
    *,
    schema: list[bigquery.SchemaField],
    disposition: str,
) -> None:
    content = io.BytesIO()
    pq.write_table(rows, content)
    content.seek(0)
    parquet = bigquery.ParquetOptions()
    parquet.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        schema=schema,
        write_disposition=disposition,
        parquet_options=parquet,
    )
    job = client.load_table_from_file(content, table_id, job_config=config)
    job.result(timeout=LOAD_SECONDS)


def _field(column: Column) -> bigquery.SchemaField:
    resource = {"name": column.name, "mode": column.mode, "description": column.description}
    numbers = NUMERIC.fullmatch(column.type)
    resource |= numbers.groupdict() if numbers else {"type": column.type}
    fields = [_field(inner).to_api_repr() for inner in column.fields]
    return bigquery.SchemaField.from_api_repr(resource | {"fields": fields})


def _ensure_bucket(client: storage.Client, name: str) -> None:
    with contextlib.suppress(Conflict):
        client.create_bucket(name, retry=RETRY)


@contextlib.contextmanager
def _clients(env: Mapping[str, str]) -> Iterator[tuple[bigquery.Client, storage.Client]]:
    """Both clients, on the emulators only: never on what the shell's credentials open."""
    project, nobody = env["BQ2PG_BQ_PROJECT"], AnonymousCredentials()
    with contextlib.ExitStack() as stack:
        client = bigquery.Client(
            project=project,
            credentials=nobody,
            location=env["BQ2PG_BQ_LOCATION"],
            client_options={"api_endpoint": env["BIGQUERY_EMULATOR_HOST"]},
        )
        stack.callback(client.close)
        storage_client = storage.Client(
            project=project,
            credentials=nobody,
            client_options={"api_endpoint": env["STORAGE_EMULATOR_HOST"]},
        )
        stack.callback(storage_client.close)
        try:
            yield client, storage_client
        except GoogleAPIError as error:
            raise LocalStackError(
                "the local BigQuery",
                met=f"{type(error).__name__}: {error}",
                expected="the demo's datasets and tables to be created and loaded",
                way_out="Read .local/logs/bigquery.log; `make reset` starts from nothing.",
            ) from error
