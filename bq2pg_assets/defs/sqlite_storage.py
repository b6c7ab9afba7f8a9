"""Dagster's SQLite storage, with connections that stay open.

Belongs here: how a connection comes to be. Does not: what is stored, which is all Dagster's.

Dagster makes a new SQLAlchemy engine for each of the 60 statements or so that a table costs. Each
compiles its statement from nothing, and closing a database's only connection writes back its WAL:
two thirds of a small table's time. Dagster has no public way to keep them, so this file stands on
private modules of 1.13, as threads.py does.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, inspect

MOST_SHARDS = 16  # each run has a database of its own, and a webserver reads those of many


class SqliteStorage(DagsterSqliteStorage):
    """What dagster.yaml names. The files are those of Dagster's own, at the same places."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = SqliteRuns.from_local(_runs_directory(base_dir))
        self._event_log_storage = SqliteEvents(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "SqliteStorage":
        """As the base class, which would make itself."""
        return cls.from_local(inst_data=inst_data, **config_value)


class SqliteRuns(SqliteRunStorage):
    """The runs."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = _engine(conn_string)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with self._engine.begin() as conn:
            yield conn

    def dispose(self) -> None:
        """Close what is open."""
        self._engine.dispose()
        super().dispose()


class SqliteEvents(SqliteEventLogStorage):
    """The events: a database for each run, and one for what is asked over all of them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)

    def has_table(self, table_name: str) -> bool:
        """Whether the database over all runs has it."""
        # Not under the lock: Dagster asks within a transaction, too.
        return inspect(self._index).has_table(table_name)

    def dispose(self) -> None:
        """Close what is open."""
        super().dispose()
        with self._db_lock:
            for engine in (self._index, *self._engines.values()):
                engine.dispose()
            self._engines.clear()

    @cached_property
    def _index(self) -> Engine:
        return _engine(self.conn_string_for_shard(INDEX_SHARD_NAME))

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._kept(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as conn:
                yield conn

    def _kept(self, shard: str) -> Engine:
        """The shard's engine; that used longest ago goes. Called under the lock."""
        if shard == INDEX_SHARD_NAME:
            return self._index
        engine = self._engines.pop(shard, None) or _engine(self.conn_string_for_shard(shard))
        self._engines[shard] = engine
        if len(self._engines) > MOST_SHARDS:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine


def _engine(conn_string: str) -> Engine:
    """One that keeps its connections open."""
    return create_engine(conn_string, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
