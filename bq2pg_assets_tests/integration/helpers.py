"""One small world per test: a source in BigQuery, a bucket, a database, and a way to sync.

Belongs here: what several integration files share. Does not: assertions about one behaviour.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, cast

import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from psycopg.rows import dict_row

from bq2pg_assets.clients import read_client
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.model import RunId, RunOptions
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.results import Progress, SyncResult
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.sync import sync_table
from bq2pg_assets.settings import Settings

DEADLINE = 30.0
PLAIN = "-c TimeZone=UTC -c DateStyle=ISO"
Row = tuple[Any, ...]


@dataclass(frozen=True)
class World:
    """Where one test lives."""

    client: bigquery.Client
    storage: storage.Client
    bucket: str
    dataset: str
    dsn: str
    read_api: str = ""  # host:port

    @property
    def database(self) -> str:
        return str(psycopg.conninfo.conninfo_to_dict(self.dsn)["dbname"])

    def bq(self, sql: str) -> list[Row]:
        """Run GoogleSQL and return the rows; `{d}` stands for the dataset."""
        job = self.client.query_and_wait(sql.replace("{d}", self.dataset))
        return [tuple(row.values()) for row in job]

    def make_source(self, select: str, *, name: str = "source") -> str:
        """Create or replace a table from a SELECT. Returns dataset.table."""
        self.bq(f"CREATE OR REPLACE TABLE {{d}}.{name} AS {select}")
        return f"{self.dataset}.{name}"

    def exports(self) -> list[Any]:
        """The export jobs into this world's bucket, newest first."""
        found = self.client.list_jobs(max_results=50)
        mine = [j for j in found if f"gs://{self.bucket}/" in str(j.to_api_repr())]
        return [job for job in mine if job.job_id.startswith("bq2pg_")]

    def running(self) -> list[Any]:
        """The exports that BigQuery works on right now."""
        return [job for job in self.exports() if job.state == "RUNNING"]

    def pg(self, sql: str, *values: Any, dsn: str | None = None) -> list[Row]:
        """Run SQL in the target database, in UTC, and return the rows if there are any."""
        with psycopg.connect(dsn or self.dsn, autocommit=True, options=PLAIN) as conn:
            cursor = conn.execute(cast(LiteralString, sql), values or None)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str, *, order: str = "1") -> list[Row]:
        """All rows of a target."""
        return self.pg(f"SELECT * FROM {table} ORDER BY {order}")

    def exists(self, table: str) -> bool:
        """Whether there is a relation of that name."""
        return bool(self.pg("SELECT to_regclass(%s) IS NOT NULL", table)[0][0])

    def cursor(self, target: str = "public.t") -> datetime | None:
        """The stored cursor; None for NULL. Fails when there is no row."""
        found = self.pg("SELECT last_synced_at FROM sync_state WHERE table_name = %s", target)
        assert len(found) == 1, f"{target} has {len(found)} rows in sync_state"
        return cast(datetime | None, found[0][0])

    def history(self) -> list[dict[str, Any]]:
        """Every attempt, oldest first."""
        with psycopg.connect(self.dsn, row_factory=dict_row, options=PLAIN) as conn:
            return conn.execute("SELECT * FROM bq2pg.sync_history ORDER BY id").fetchall()

    def table(self, **settings: Any) -> TableConfig:
        """A configuration; by default of table `t` from `source`."""
        if "query" not in settings:
            settings.setdefault("source", f"{self.dataset}.source")
        settings.setdefault("name", "t")
        return TableConfig(**settings)

    def target(self, dsn: str | None = None) -> PostgresTarget:
        return PostgresTarget(dsn or self.dsn)

    def source(self, location: str | None = None) -> BigQuerySource:
        return BigQuerySource(self.client, read_client=self.read_client, location=location)

    def read_client(self) -> BigQueryReadClient:
        """Google's client of the emulator's Read API."""
        return read_client(Settings.model_construct(bigquery_storage_emulator_host=self.read_api))

    def shards(self) -> GcsShards:
        return GcsShards(self.storage, bucket=self.bucket)

    def sync(
        self,
        *,
        options: RunOptions | None = None,
        cancel: CancelToken | None = None,
        report: Callable[[Progress], None] | None = None,
        shards: GcsShards | None = None,
        has_bucket: bool = True,
        run: RunId | None = None,
        dsn: str | None = None,
        into: PostgresTarget | None = None,
        location: str | None = None,
        table: TableConfig | None = None,
        **settings: Any,
    ) -> SyncResult:
        """Sync the table that `settings` describe."""
        return sync_table(
            table or self.table(**settings),
            source=self.source(location),
            shards=(shards or self.shards()) if has_bucket else None,
            target=into or self.target(dsn),
            run=run or RunId(uuid.uuid4().hex),
            options=options or RunOptions(),
            cancel=cancel,
            report=report or (lambda _: None),
        )

    def objects(self) -> list[str]:
        return [blob.name for blob in self.storage.list_blobs(self.bucket)]

    def stages(self) -> list[str]:
        found = self.pg(
            r"SELECT relname FROM pg_class WHERE relname LIKE 'stage\_%' AND relkind='r'"
        )
        return [row[0] for row in found]

    def locks(self) -> int:
        """The number of advisory locks held in the target database."""
        found = self.pg(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return int(found[0][0])

    def no_leftovers(self) -> None:
        """No staging table, no object in the bucket, no advisory lock, no attempt still running."""
        assert self.stages() == []
        assert self.objects() == []
        # A closed connection's backend needs a moment to end and to let go of its locks.
        until(lambda: self.locks() == 0, "the advisory lock to be released")
        assert [h for h in self.history() if h["outcome"] == "running"] == []


def world_of(given: dict[str, Any]) -> World:
    """The world whose addresses a process was given."""
    return World(
        bigquery.Client(
            project=given["project"],
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": given["bigquery"]},
        ),
        storage.Client(
            project=given["project"],
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": given["storage"]},
        ),
        given["bucket"],
        given["dataset"],
        given["dsn"],
    )


@dataclass(frozen=True)
class Snapshot:
    """The live table and its cursor, to be compared after a failure."""

    rows: list[Row]
    state: list[Row]

    @classmethod
    def of(cls, world: World, table: str = "t") -> "Snapshot":
        there = world.exists(table)
        state = world.exists("public.sync_state")
        return cls(
            world.rows(table) if there else [],
            world.pg("SELECT * FROM public.sync_state ORDER BY 1") if state else [],
        )


def until(true: Callable[[], Any], what: str, *, seconds: float = DEADLINE) -> Any:
    """Poll an observable state until it is truthy; returns it. Fails after the deadline."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
    return found


def moment(text: str) -> datetime:
    """A moment as sync_state stores it, without zone, from ISO text."""
    return datetime.fromisoformat(text)


def refused(
    world: World, kind: type[Bq2pgError], *, says: str, way_out: str, retryable: bool, **sync: Any
) -> Bq2pgError:
    """The run fails in this way, and everything is as before."""
    before = Snapshot.of(world)
    with pytest.raises(kind) as stopped:
        world.sync(**sync)
    error = stopped.value
    assert type(error) is kind
    assert says in str(error)
    assert way_out in error.way_out
    assert error.way_out.endswith(".")
    assert "\n" not in str(error)
    assert error.retryable is retryable
    assert Snapshot.of(world) == before
    world.no_leftovers()
    return error


class Gate:
    """A progress callback that holds the run at the start of one phase until it is opened."""

    def __init__(self, phase: str) -> None:
        self.phase, self._reached, self._open = phase, threading.Event(), threading.Event()

    def __call__(self, progress: Progress) -> None:
        if progress.phase == self.phase:
            self._reached.set()
            assert self._open.wait(DEADLINE), "nobody opened the gate"

    def wait(self) -> None:
        assert self._reached.wait(DEADLINE), f"the run never came to {self.phase}"

    def open(self) -> None:
        self._open.set()


@contextmanager
def background(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Run `work` on a thread; it must have ended when the block ends."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


@contextmanager
def locking(dsn: str, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold what `statement` locks, until the block ends."""
    with psycopg.connect(dsn) as conn:
        conn.execute(cast(LiteralString, statement))
        yield conn
        conn.rollback()


def waiting(world: World, who: str) -> bool:
    """Whether a session of bq2pg waits for a lock that another one holds."""
    return bool(
        world.pg(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND application_name LIKE %s",
            f"bq2pg {who}%",
        )
    )
