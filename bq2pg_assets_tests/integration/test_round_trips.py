"""How often a sync of a small table speaks to its services: each time costs every table.

The numbers are what it needs today, written down so that they do not creep up unseen. Whoever
needs one more raises it here; whoever needs fewer lowers it.
"""

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.chaos.proxies import HttpProxy, PostgresProxy
from bq2pg_assets_tests.chaos.wire import Wire
from bq2pg_assets_tests.integration.helpers import World

CONNECTIONS = 2  # one for the lock, one to copy
FIRST_LOAD, REPLACE, APPEND, NOTHING_NEW = 49, 91, 62, 29
BUCKET_CALLS = 4  # list, fetch, list again to delete, delete; a new client asks for one more


class _Watched:
    """A world, with what its syncs say."""

    def __init__(self, world: World, wire: Wire, *, dsn: str, bucket: GcsShards) -> None:
        self._world, self._wire, self._dsn, self._bucket = world, wire, dsn, bucket

    def sync(self, **settings: str) -> dict[str, int]:
        """Sync; how many connections, round trips and calls to the bucket it took."""
        self._wire.forget(self._wire.rule)
        self._world.sync(dsn=self._dsn, shards=self._bucket, **settings)
        said = [event for _, event in self._wire.events]
        connections = sum(e.words == "connect" for e in said if e.service == "pg")
        trips = [e for e in said if e.service == "pg" and e.words not in ("connect", "COPY data")]
        calls = Counter(e.service for e in said)["gcs"]
        print(*(f"{e.service} {e.words}" for e in said), sep="\n")  # noqa: T201, of a failure
        return {"connections": connections, "trips": len(trips), "calls": calls}


@pytest.fixture
def watched(world: World, stack_variables: dict[str, str]) -> Iterator[_Watched]:
    """The same world, through proxies that listen."""
    wire = Wire()
    parts = psycopg.conninfo.conninfo_to_dict(world.dsn)
    server = PostgresProxy(wire, port=int(str(parts["port"])))
    bucket = HttpProxy(wire, service="gcs", upstream=stack_variables["STORAGE_EMULATOR_HOST"])
    client = storage.Client(
        project=world.client.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": bucket.url},
    )
    client.lookup_bucket(world.bucket)
    list(client.list_blobs(world.bucket))
    dsn = psycopg.conninfo.make_conninfo(world.dsn, host="127.0.0.1", port=server.port)
    yield _Watched(world, wire, dsn=dsn, bucket=GcsShards(client, bucket=world.bucket))
    client.close()
    bucket.close()
    server.close()


def test_a_first_load_and_a_replace_of_it_take_so_many_round_trips(
    world: World, watched: _Watched
) -> None:
    world.make_source("SELECT id, CURRENT_TIMESTAMP() AS at FROM UNNEST([1, 2, 3]) AS id")
    world.sync(table=world.table(name="other"))  # bq2pg's own tables are there
    first = watched.sync(mode="replace")
    assert first == {"connections": CONNECTIONS, "trips": FIRST_LOAD, "calls": BUCKET_CALLS}
    world.bq("INSERT INTO {d}.source VALUES (4, CURRENT_TIMESTAMP())")
    again = watched.sync(mode="replace")
    assert again == {"connections": CONNECTIONS, "trips": REPLACE, "calls": BUCKET_CALLS}


def test_an_increment_and_finding_nothing_new_take_so_many_round_trips(
    world: World, watched: _Watched
) -> None:
    world.make_source("SELECT id, CURRENT_TIMESTAMP() AS at FROM UNNEST([1, 2, 3]) AS id")
    world.sync(mode="append", cursor="at")
    world.bq("INSERT INTO {d}.source VALUES (4, CURRENT_TIMESTAMP())")
    appended = watched.sync(mode="append", cursor="at")
    assert appended == {"connections": CONNECTIONS, "trips": APPEND, "calls": BUCKET_CALLS}
    idle = watched.sync(mode="append", cursor="at")
    assert idle == {"connections": 1, "trips": NOTHING_NEW, "calls": 0}
