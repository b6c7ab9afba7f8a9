"""The resources: dagster-gcp's, made to fit, and PostgreSQL. They only build engine objects.

Belongs here: from settings to `BigQuerySource`, `GcsShards` and `PostgresTarget`. Does not: what
is done with them.

Nothing is read or connected before an asset or a sensor asks: settings come from the environment
of the process that runs it, so no secret passes through run config, the UI or Dagster's database.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache

import dagster as dg
from dagster_gcp import BigQueryResource, GCSResource
from google.cloud import bigquery, storage
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field

from bq2pg_assets.clients import (
    bigquery_client,
    bigquery_source,
    gcs_shards,
    postgres_target,
    storage_client,
)
from bq2pg_assets.defs.metadata import table_uri
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import TargetName
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.settings import Settings, load_settings

# One client of each for the process: it signs in once, and its connections are used again. Google
# says that threads may share them, and nothing of a run is kept in either part.
_source = cache(bigquery_source)
_shards = cache(gcs_shards)


class BigQuery(BigQueryResource):
    """dagster-gcp's BigQueryResource with bq2pg's settings: an emulator's address, a location.

    `project` and `location` win over BQ2PG_BQ_PROJECT and BQ2PG_BQ_LOCATION.
    """

    @contextmanager
    def get_client(self) -> Iterator[bigquery.Client]:
        """A client, closed afterwards. Raises ConfigError."""
        with closing(bigquery_client(self._settings())) as client:
            yield client

    @contextmanager
    def source(self) -> Iterator[BigQuerySource]:
        """What the engine reads from. Raises ConfigError."""
        yield _source(self._settings())

    def get_object_to_set_on_execution_context(self) -> "BigQuery":
        """Itself: the base class hands out a client here."""
        return self

    def _settings(self) -> Settings:
        if self.gcp_credentials:
            # The base class writes them to a file and points a variable of the whole process at
            # it: two tables loaded at once would take each other's away.
            raise ConfigError(
                "resource bigquery",
                met="gcp_credentials",
                expected="credentials from the environment",
                way_out="Set GOOGLE_APPLICATION_CREDENTIALS, or run as a service account.",
            )
        given = {"bq_project": self.project, "bq_location": self.location}
        return load_settings().model_copy(update={k: v for k, v in given.items() if v})


class Gcs(GCSResource):
    """dagster-gcp's GCSResource with bq2pg's settings: an emulator's address, the bucket.

    `project` wins over BQ2PG_BQ_PROJECT.
    """

    def get_client(self) -> storage.Client:
        """A client; the caller closes it. Raises ConfigError."""
        return storage_client(self._settings())

    @contextmanager
    def shards(self) -> Iterator[GcsShards | None]:
        """Where the engine finds what BigQuery exported; None without a bucket.

        Raises ConfigError.
        """
        yield _shards(self._settings())

    def get_object_to_set_on_execution_context(self) -> "Gcs":
        """Itself: the base class would make a client for every step, used or not."""
        return self

    def _settings(self) -> Settings:
        given = {"bq_project": self.project} if self.project else {}
        return load_settings().model_copy(update=given)


class Postgres(dg.ConfigurableResource[PostgresTarget]):
    """The PostgreSQL of BQ2PG_PG_DSN. `state_schema` wins over BQ2PG_STATE_SCHEMA."""

    state_schema: str | None = Field(
        default=None, description="The PostgreSQL schema for bq2pg's own tables."
    )

    def target(self) -> PostgresTarget:
        """What the engine writes to. Raises ConfigError."""
        given = {"state_schema": self.state_schema} if self.state_schema else {}
        return postgres_target(load_settings().model_copy(update=given))

    def uri(self, name: TargetName) -> str:
        """Where a table is, without user and password."""
        parts = conninfo_to_dict(load_settings().pg_dsn.get_secret_value())
        return table_uri(
            host=str(parts.get("host") or parts.get("hostaddr") or "localhost"),
            port=str(parts.get("port") or 5432),
            database=str(parts.get("dbname") or parts.get("user") or "postgres"),
            schema=name.schema,
            table=name.table,
        )
