"""What lies ready before the clock runs: shards in the object store, files for psql, databases.

Belongs here: making them once and finding them again. Does not: the rows themselves (datasets.py),
whose turn it is (run.py).
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from bq2pg_assets.config.table import TableConfig, parse_target
from bq2pg_assets.engine.postgres_sql import identifier, names
from bq2pg_assets.engine.typemap import map_columns
from bq2pg_assets_tests.bench.contest import Contestant
from bq2pg_assets_tests.bench.datasets import DATA, counted, shards
from bq2pg_assets_tests.bench.rows import ours
from bq2pg_assets_tests.bench.server import BUCKET, Servers
from bq2pg_assets_tests.bench.source import place
from bq2pg_assets_tests.bench.timing import ROOT, timed

FORMS = {"binary": "BINARY", "csv": "CSV", "text": "TEXT"}
SCHEMA, TABLE = "bench", "bench.t"


@dataclass(frozen=True, slots=True)
class Stocked:
    """A data set that lies ready: its shards as local files, and how many rows they hold."""

    data: str
    size: int
    files: tuple[Path, ...]
    rows: int


class Stock:
    """Everything below one folder; shards and psql's files are found again by the next run."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder, self._servers = folder, servers
        self._bases: set[str] = set()
        with psycopg.connect(servers.create("bench_empty"), autocommit=True) as conn:
            conn.execute(f"CREATE SCHEMA {SCHEMA}")

    def get(self, data: str, size: int) -> Stocked:
        """The shards, on disk and in the object store."""
        files = shards(data, size, folder=self.folder / "data")
        client = self._servers.client()
        bucket = client.lookup_bucket(BUCKET) or client.create_bucket(BUCKET)
        prefix = place(data, size).removeprefix(f"gs://{BUCKET}/")
        there = {blob.name: blob.size for blob in client.list_blobs(BUCKET, prefix=prefix)}
        for path in files:
            if there.get(f"{prefix}{path.name}") != path.stat().st_size:
                bucket.blob(f"{prefix}{path.name}").upload_from_filename(path, timeout=600)
        client.close()
        return Stocked(data, size, tuple(files), counted(files))

    def ready(self, stocked: Stocked, form: str) -> list[Path]:
        """The rows in another form: one Arrow file, or as many of PostgreSQL's as shards."""
        folder = self.folder / "ready" / f"{stocked.data}-{stocked.size}" / form
        if not folder.exists():
            made = folder.with_name(f"{form}.new")
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            if form == "arrow":
                _write_arrow(stocked.files, made / "0000.arrow")
            else:
                self._write_copies(stocked, made, form=form)
            made.rename(folder)
        return sorted(folder.iterdir())

    def base(self, stocked: Stocked) -> str:
        """The name of a database in which bench.t holds the data, with its key and indexes."""
        name = f"bench_{stocked.data}_{stocked.size}"
        if name not in self._bases:
            dsn = self._servers.create(name, template="bench_empty")
            self.load(dsn, stocked, ours(2, mode="append"))
            with psycopg.connect(dsn, autocommit=True) as conn:
                for statement in index_statements(stocked.data, TABLE):
                    conn.execute(cast(LiteralString, statement))
                conn.execute(f"VACUUM (ANALYZE) {TABLE}")
            self._bases.add(name)
        return name

    def load(self, dsn: str, stocked: Stocked, contestant: Contestant) -> None:
        """By bq2pg, without a clock that counts."""
        command = [sys.executable, "-m", f"{__package__}.contestants.{contestant.module}"]
        timed(command, self.job(dsn, stocked, contestant), home=self.folder / "home")

    def job(self, dsn: str, stocked: Stocked, contestant: Contestant) -> dict[str, Any]:
        """What a contestant is told."""
        ready = self.ready(stocked, contestant.ready) if contestant.ready else []
        return {
            "dsn": dsn,
            "url": _url(dsn),
            "into": contestant.into,
            "data": stocked.data,
            "size": stocked.size,
            "rows": stocked.rows,
            "files": [str(path) for path in stocked.files],
            "ready": [str(path) for path in ready],
            "form": contestant.ready,
            "indexes": index_statements(stocked.data, contestant.into),
            "psql": str(self._servers.psql),
            "storage": self._servers.storage,
            "options": dict(contestant.options),
        }

    def _write_copies(self, stocked: Stocked, folder: Path, *, form: str) -> None:
        """By PostgreSQL, from a table that bq2pg loaded."""
        dsn = self._servers.create("bench_ready", template="bench_empty")
        self.load(dsn, stocked, ours(2))
        parts = len(stocked.files)
        with psycopg.connect(dsn) as conn:
            (pages,) = conn.execute(
                "SELECT pg_relation_size(%s) / current_setting('block_size')::int", [TABLE]
            ).fetchone() or (0,)
        for at in range(parts):
            low, high = pages * at // parts, pages * (at + 1) // parts + (at == parts - 1)
            rows = f"SELECT * FROM {TABLE} WHERE ctid >= '({low},0)' AND ctid < '({high},0)'"
            copy = f"\\copy ({rows}) to '{folder}/{at:04}.{form}' (format {FORMS[form]})"
            words = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", copy, dsn]
            subprocess.run([str(self._servers.psql), *words], check=True, cwd=ROOT)
        self._servers.drop("bench_ready")


def _write_arrow(files: Sequence[Path], into: Path) -> None:
    schema = pq.read_schema(files[0])
    with pa.OSFile(str(into), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for path in files:
            for batch in pq.ParquetFile(path).iter_batches(64 * 1024):
                writer.write_batch(batch)


def create_table(data: str, into: str) -> str:
    """The table that bq2pg would create, for those who create none."""
    table = TableConfig(name="bench", source="bench.source")
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name),
            sql.SQL(cast(LiteralString, column.pg_type)),
            sql.SQL(" NOT NULL" if column.not_null else ""),
        )
        for column in map_columns(table, DATA[data].fields)
    )
    name = identifier(parse_target(into))
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(name, columns).as_string()


def index_statements(data: str, into: str) -> Sequence[str]:
    """The primary key and two indexes that a person would add, where the data set has them."""
    target = parse_target(into)
    if not DATA[data].key:
        return []
    key = sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})")
    index = sql.SQL("CREATE INDEX ON {} ({})")
    made = [key.format(identifier(target), names(DATA[data].key))]
    made += [index.format(identifier(target), names([c])) for c in DATA[data].indexed]
    return [statement.as_string() for statement in made]


def _url(dsn: str) -> str:
    """The address as an URL. dlt insists on a password; the server asks for none."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return f"postgresql://{parts['user']}:none@{parts['host']}:{parts['port']}/{parts['dbname']}"
