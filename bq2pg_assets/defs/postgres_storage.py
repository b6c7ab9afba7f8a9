"""Dagster's PostgreSQL storage, with connections that stay open.

Belongs here: how a connection comes to be. Does not: what is stored, which is all Dagster's.

Dagster opens a connection for each of the 60 statements or so that a table costs it, in all its
processes but the webserver. Here each process keeps up to `KEPT` for runs and as many for events;
one that died meanwhile, as when the server restarted, is noticed before it is used. Dagster has
no public way to say so: this file stands on private members of 1.13, as threads.py does.
"""

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
)

KEPT = 2


class PostgresStorage(DagsterPostgresStorage):
    """What deploy/dagster.yaml names. The tables are those of Dagster's own."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        for storage in (self._run_storage, self._event_log_storage):
            storage._engine = create_pg_engine(
                postgres_url,
                token_provider,
                isolation_level="AUTOCOMMIT",
                pool_size=KEPT,
                max_overflow=-1,  # as many at once as Dagster would open
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PostgresStorage":
        """As the base class, which would make itself."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
