"""Where faults are tried: servers of their own, a database as it was, and what is compared.

Belongs here: a PostgreSQL that may be stopped, templates of databases, one case's world and its
content. Does not: faults (faults.py), verdicts (matrix.py).

A case begins with a copy of a database, not with a load: so thousands can be tried.
"""

import shutil
import signal
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from psycopg import sql

from bq2pg_assets.local import processes, servers
from bq2pg_assets.local.environment import ensure_environment
from bq2pg_assets.local.servers import PROJECT, Part
from bq2pg_assets_tests.chaos.modes import AFTER, BEFORE, Way
from bq2pg_assets_tests.chaos.proxies import HttpProxy, PostgresProxy
from bq2pg_assets_tests.chaos.runner import Run, Runner
from bq2pg_assets_tests.chaos.wire import PASS, Event, Rule, Wire
from bq2pg_assets_tests.integration.helpers import Row, World, until

TIMES = {"snapshot_at", "valid_from", "valid_to", "deleted_at"}
# What others have in the database, and on the target: all of it stays.
NEIGHBOURS: tuple[LiteralString, ...] = (
    "CREATE TABLE neighbour AS SELECT x AS id, x::text AS v FROM generate_series(1, 50) AS x",
    "CREATE VIEW neighbours AS SELECT count(*) AS n FROM neighbour",
)
ON_TARGET: tuple[LiteralString, ...] = (
    "CREATE VIEW readers AS SELECT id, v FROM t",
    "CREATE INDEX by_readers ON t (max_ingested_at)",
    "GRANT SELECT ON t TO PUBLIC",
)
AROUND: LiteralString = """
SELECT 'row', t::text FROM neighbour AS t
UNION ALL SELECT relkind::text,
  relname || ' ' || coalesce(relacl, acldefault('r', relowner))::text  -- what NULL stands for
  FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'view', pg_get_viewdef(oid) FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' ORDER BY 1, 2"""
READ: LiteralString = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t"


@dataclass(frozen=True, slots=True)
class Content:
    """A target as it is read: its columns, its rows with times as ranks, its cursor."""

    columns: tuple[str, ...] = ()
    rows: Counter[Row] = field(default_factory=Counter)
    cursor: Any = None


@dataclass(frozen=True, slots=True)
class Place:
    """An event of an undisturbed run, and the step of the flow it belongs to."""

    event: Event
    step: str


class Server:
    """A PostgreSQL of the cases' own, which may be stopped and started."""

    def __init__(self, folder: Path, emulators: Path) -> None:
        self._place = servers.Place(folder, ensure_environment(emulators, report=print))
        self._port = processes.free_port()
        self._changing = threading.RLock()
        self._part = self._start()

    @property
    def port(self) -> int:
        """Stays through restarts."""
        return self._port

    @property
    def data(self) -> Path:
        """Its data folder."""
        return Path(self._part.notes["data"])

    def dsn(self, database: str = "postgres") -> str:
        """The server itself, without a proxy."""
        return f"host=127.0.0.1 port={self._port} user=postgres dbname={database}"

    def restart(self, how: signal.Signals) -> None:
        """Stop it in that way, and start it."""
        with self._changing:
            self.stop(how)
            self.start()

    def stop(self, how: signal.Signals) -> None:
        """SIGINT: it ends its sessions. SIGQUIT: it falls over."""
        processes.stop(self._part.process, first=how)

    def start(self) -> None:
        """Unless it runs. Waits for a restart that is under way."""
        with self._changing:
            if not self._part.running:
                self._part = self._start()

    def close(self) -> None:
        """Stop it."""
        servers.stop_part(self._part)

    def _start(self) -> Part:
        part = servers.start_postgres(self._place, port=self._port)
        servers.wait_ready(part, self._place)
        return part


class Ground:
    """Three services behind proxies, and a process that runs syncs against them."""

    def __init__(self, *, bigquery_url: str, storage_url: str, emulators: Path) -> None:
        self._stack = ExitStack()
        # The server may run as another user: its folder is open to be entered.
        folder = Path(tempfile.mkdtemp(prefix="bq2pg-chaos-"))
        folder.chmod(0o711)
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._stack.callback(shutil.rmtree, servers.fallback_folder(folder), ignore_errors=True)
        self.server = Server(folder, emulators)
        self._stack.callback(self.server.close)
        self.wire = Wire()
        self._pg = PostgresProxy(self.wire, port=self.server.port)
        self._bq = HttpProxy(self.wire, service="bq", upstream=bigquery_url)
        self._gcs = HttpProxy(self.wire, service="gcs", upstream=storage_url)
        for proxy in (self._pg, self._bq, self._gcs):
            self._stack.callback(proxy.close)
        self.client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": bigquery_url},
        )
        self._stack.callback(self.client.close)
        self.storage = storage.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": storage_url},
        )
        self._stack.callback(self.storage.close)
        self.runner = Runner()
        self._stack.callback(self.runner.close)
        self._starts: dict[tuple[str, bool], Start] = {}

    def close(self) -> None:
        """Stop what was started, and delete it."""
        self._stack.close()

    def start(self, way: Way, *, loaded: bool) -> "Start":
        """The beginning of a case; made once."""
        if (way.name, loaded) not in self._starts:
            self._starts[way.name, loaded] = Start(self, way, loaded=loaded)
        return self._starts[way.name, loaded]

    def create_database(self, template: str = "template1") -> str:
        """A copy of a database."""
        name = f"chaos_{uuid.uuid4().hex[:12]}"
        self._admin(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        # A sequence is copied without the numbers that its WAL is ahead by: after a crash it would
        # give them twice. From a checkpoint on PostgreSQL writes them anew.
        self._admin(sql.SQL("CHECKPOINT"))
        return name

    def drop_database(self, name: str) -> None:
        """With whoever is connected."""
        self._admin(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _admin(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as conn:
            conn.execute(statement)

    @contextmanager
    def case(self, dataset: str, *, template: str) -> Iterator["Case"]:
        """A database and a bucket, gone when the block ends."""
        name = self.create_database(template)
        bucket = self.storage.create_bucket(f"chaos-{uuid.uuid4().hex[:12]}")
        world = World(self.client, self.storage, bucket.name, dataset, self.server.dsn(name))
        try:
            yield Case(self, world)
        finally:
            self.drop_database(name)
            for blob in self.storage.list_blobs(bucket.name):
                blob.delete()
            bucket.delete()

    def addresses(self, world: World) -> dict[str, str]:
        """Where a run finds its services: behind the proxies."""
        return {
            "project": PROJECT,
            "bigquery": self._bq.url,
            "storage": self._gcs.url,
            "bucket": world.bucket,
            "dataset": world.dataset,
            "dsn": f"host=127.0.0.1 port={self._pg.port} user=postgres dbname={world.database}",
        }


class Start:
    """Where a case begins, and what the target is after one and after two undisturbed runs."""

    def __init__(self, ground: Ground, way: Way, *, loaded: bool) -> None:
        self.way, self.loaded = way, loaded
        self.dataset = f"chaos_{way.name}_{loaded}_{uuid.uuid4().hex[:8]}".lower()
        ground.client.create_dataset(self.dataset)
        with ground.case(self.dataset, template="template1") as case:
            for statement in NEIGHBOURS:
                case.world.pg(statement)
            case.world.make_source(BEFORE if loaded else AFTER)
            if loaded:
                assert case.run(way).went_well
                for statement in ON_TARGET:
                    case.world.pg(statement)
                case.world.make_source(AFTER)
            self.template = ground.create_database(case.world.database)
        self.content: list[Content] = []  # after so many undisturbed runs
        with ground.case(self.dataset, template=self.template) as case:
            self.content.append(case.content())
            first = case.run(way)
            assert first.went_well, first.error
            self.places = _places(first, ground.wire.events)
            self.content.append(case.content())
            self.around = case.around()
            assert case.run(way).went_well
            self.content.append(case.content())


def _places(run: Run, events: list[tuple[float, Event]]) -> list[Place]:
    """Every event of the run with the step it belongs to: what came before a phase began is its
    predecessor's. What the run says about phases and what the proxies hear share a clock.
    """
    found = []
    for at, event in events:
        steps = [phase for began, phase in run.phases if began <= at]
        found.append(Place(event, steps[-1] if steps else "lock"))
    return found


@dataclass(frozen=True)
class Case:
    """One database and one bucket."""

    ground: Ground
    world: World

    def run(self, way: Way, *, rule: Rule = lambda _: PASS) -> Run:
        """One sync in a process of its own, disturbed by `rule`."""
        wire = self.ground.wire
        wire.forget(rule)
        given = {
            **self.ground.addresses(self.world),
            "run": uuid.uuid4().hex,
            "table": dict(way.settings),
        }
        return self.ground.runner.run(given, started=wire.victim)

    def content(self) -> Content:
        """The target and its cursor, now."""
        world = self.world
        if not world.exists("public.t"):
            return Content()
        columns = tuple(
            row[0]
            for row in world.pg(
                "SELECT attname || ' ' || format_type(atttypid, atttypmod) || "
                "CASE WHEN attnotnull THEN ' not null' ELSE '' END FROM pg_attribute "
                "WHERE attrelid = 'public.t'::regclass AND attnum > 0 AND NOT attisdropped "
                "ORDER BY attnum"
            )
        )
        at = [n for n, column in enumerate(columns) if column.split(" ")[0] in TIMES]
        found = world.pg("SELECT * FROM t")
        # When a run read or closed a row differs from run to run; which run it was does not.
        ranks = {
            time: rank
            for rank, time in enumerate(sorted({row[n] for row in found for n in at} - {None}))
        }
        rows = Counter(
            tuple(ranks.get(value) if n in at else value for n, value in enumerate(row))
            for row in found
        )
        return Content(columns, rows, world.cursor())

    def around(self) -> list[Row]:
        """The neighbours: tables, views, indexes, grants."""
        return self.world.pg(AROUND)

    def quiet(self) -> None:
        """Wait until PostgreSQL is there, and has noticed that the run is over."""
        self.ground.server.start()
        until(
            lambda: (
                not self.world.pg(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                    "AND application_name LIKE 'bq2pg %%'"
                )
            ),
            "PostgreSQL to notice that the run ended",
        )


class Reader:
    """Reads the target all the time, and remembers every state of it that was to be seen."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._over = dsn, threading.Event()
        self.seen: set[Row] = set()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> Row:
        """The state as it is."""
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            return self._look(conn)

    def _read(self) -> None:
        while not self._over.is_set():
            # The server may be stopped meanwhile.
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(self._dsn, autocommit=True) as conn,
            ):
                while not self._over.wait(0.02):
                    self.seen.add(self._look(conn))

    @staticmethod
    def _look(conn: psycopg.Connection[Any]) -> Row:
        try:
            found = conn.execute(cast(LiteralString, READ)).fetchone()
        except psycopg.errors.UndefinedTable:
            return ("no table",)
        assert found is not None
        return tuple(found)
