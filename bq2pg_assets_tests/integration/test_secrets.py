"""The password of the PostgreSQL connection is shown nowhere, whatever happens.

Belongs here: logs at DEBUG, errors with their whole chain, sync_history, object names, BigQuery's
job configurations, PostgreSQL's own view of the sessions. Does not belong here: the settings'
messages (config tests), files and environment variables.
"""

import logging
import traceback
from collections.abc import Iterator

import psycopg
import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import Bq2pgError, ConfigError
from bq2pg_assets.engine.model import Shard
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.integration.helpers import World

PASSWORD = "hunter2-S3cret"
QUERY = "SELECT 1 AS id, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"


class Listed(GcsShards):
    """Remembers what was in the bucket."""

    def __init__(self, world: World) -> None:
        super().__init__(world.storage, bucket=world.bucket)
        self.seen: list[str] = []

    def list(self, prefix: str) -> tuple[Shard, ...]:
        found = super().list(prefix)
        self.seen += [shard.uri for shard in found]
        return found


@pytest.fixture
def dsn(world: World) -> Iterator[str]:
    """The database's address for a role with a password."""
    role = f"role_{world.database}"
    world.pg(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    world.pg(f"GRANT ALL ON DATABASE {world.database} TO {role}")
    world.pg(f"GRANT ALL ON SCHEMA public TO {role}")
    yield psycopg.conninfo.make_conninfo(world.dsn, user=role, password=PASSWORD)
    world.pg(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


def everything_of(error: BaseException) -> str:
    """The error as any log would write it, with causes and contexts, and the fields of ours."""
    told = "".join(traceback.format_exception(error))
    chain: BaseException | None = error
    while chain is not None:
        told += repr(chain) + str(chain) + repr(chain.args)
        told += repr(vars(chain)) if isinstance(chain, Bq2pgError) else ""
        chain = chain.__cause__ or chain.__context__
    return told


def test_neither_success_nor_failure_shows_the_password(
    world: World, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen, told, sessions, token = Listed(world), list[str](), list[str](), CancelToken()

    def look(_: object) -> None:
        found = world.pg("SELECT application_name, query FROM pg_stat_activity")
        sessions.append(repr(found))

    result = world.sync(query=QUERY, mode="append", dsn=dsn, shards=seen, report=look)
    attempts = [
        {"query": "SELECT ERROR('no good') AS id"},
        {"query": f"SELECT * FROM {world.dataset}.nope"},
        {"query": "SELECT 'x' AS id", "mode": "append", "cursor": "id"},
        {"query": "SELECT CODE_POINTS_TO_STRING([0]) AS id", "target": "u"},
        {"query": QUERY, "target": "pg_catalog.t"},
        {"query": QUERY, "cancel": token, "report": lambda _: token.cancel()},
    ]
    for attempt in attempts:
        with pytest.raises(Bq2pgError) as failed:
            world.sync(dsn=dsn, **attempt)
        told.append(everything_of(failed.value))

    shown = {
        "result": repr(result),
        "errors": "".join(told),
        "logs": caplog.text + repr([record.__dict__ for record in caplog.records]),
        "history": repr(world.history()),
        "status": repr(world.target(dsn).status()),
        "objects": repr(seen.seen),
        "sessions": "".join(sessions),
        "jobs": repr([job.to_api_repr() for job in world.exports()]),
    }
    assert len(seen.seen) == 1
    assert len(world.exports()) >= 2
    assert "bq2pg public.t" in shown["sessions"]
    assert len(caplog.records) > 10
    assert [name for name, text in shown.items() if PASSWORD in text] == []


@pytest.mark.parametrize(
    "change",
    [{"port": "1"}, {"dbname": "no_such"}, {"user": "no_such"}, {"host": "no-such-host.invalid"}],
    ids=["port", "database", "user", "host"],
)
def test_a_refused_connection_does_not_show_the_password(
    world: World, dsn: str, change: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bad = psycopg.conninfo.make_conninfo(dsn, **change)
    with pytest.raises(Bq2pgError) as failed:
        world.sync(query=QUERY, dsn=bad)
    assert PASSWORD not in everything_of(failed.value) + caplog.text


@pytest.mark.parametrize(
    "malformed",
    [
        f"host=x password=a {PASSWORD}",
        f"host=x password='{PASSWORD}",
        f"postgresql://user:{PASSWORD}@[::1/db",
        f"postgresql://user@h/db?password={PASSWORD}&nope=1",
        f"postgresql://user:%zz{PASSWORD}@h/db",
        f"postgresql//user:{PASSWORD}@h/db",
        PASSWORD,
    ],
)
def test_a_connection_string_that_cannot_be_read_is_not_repeated(
    malformed: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    target = PostgresTarget(malformed)
    for use in (target.check, target.status):
        with pytest.raises(ConfigError) as failed:
            use()
        assert "BQ2PG_PG_DSN" in failed.value.way_out
        assert PASSWORD not in everything_of(failed.value) + caplog.text + repr(target)
