"""The servers of the benchmark: a PostgreSQL and an object store of its own, gone at the end.

Belongs here: their settings, databases made from templates. Does not: what is loaded.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from psycopg import sql

from bq2pg_assets.local import servers
from bq2pg_assets.local.environment import ensure_environment
from bq2pg_assets.local.processes import free_port
from bq2pg_assets.local.stack import emulators_dir

BUCKET = "bq2pg-bench"
# The same for every contestant; what is not named is PostgreSQL's default.
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",  # no checkpoint within a run
    "checkpoint_timeout": "1h",
    "autovacuum": "off",  # it would fall on one contestant or another
    "fsync": "on",
    "full_page_writes": "on",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they answer. `version` is PostgreSQL's."""

    dsn: str
    storage: str
    psql: Path
    version: str

    def client(self) -> storage.Client:
        """A client of the object store; the caller closes it."""
        return storage.Client(
            project=servers.PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.storage},
        )

    def database(self, name: str) -> str:
        """The address of a database."""
        return psycopg.conninfo.make_conninfo(self.dsn, dbname=name)

    def create(self, name: str, *, template: str | None = None) -> str:
        """A database, empty or a copy of another one; its address."""
        self.drop(name)
        copied = sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(template or ""))
        self._admin(
            sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            + (copied if template else sql.SQL(""))
        )
        return self.database(name)

    def drop(self, name: str) -> None:
        """Forget a database, if there is one of that name."""
        self._admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def checkpoint(self) -> None:
        """Write everything out, so that the next contestant does not pay for the last one."""
        self._admin(sql.SQL("CHECKPOINT"))

    def _admin(self, statement: sql.Composable) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute(statement)


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Start both below `folder`. Stopped at the end; the uploaded shards stay, no database does."""
    environment = ensure_environment(emulators_dir(folder.parent), report=print)
    place = servers.Place(folder / "server", environment)
    started: list[servers.Part] = []
    try:
        started.append(servers.start_storage(place, port=free_port()))
        started.append(servers.start_postgres(place, port=free_port(), settings=SETTINGS))
        for part in started:
            servers.wait_ready(part, place)
        store, postgres = started
        psql = Path(postgres.notes["home"]) / "bin" / "psql"
        with psycopg.connect(postgres.url) as conn:
            (version,) = conn.execute("SHOW server_version").fetchone() or ("",)
        yield Servers(postgres.url, store.url, psql, str(version))
    finally:
        for part in reversed(started):
            servers.stop_part(part)
            if part.name == servers.POSTGRES:
                shutil.rmtree(part.notes["data"])
        shutil.rmtree(servers.fallback_folder(place.local_dir), ignore_errors=True)
