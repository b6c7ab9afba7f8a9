"""The engine's parts one by one, for commands that need not, or cannot, have all three.

Belongs here: building one part, so that `status` works without Google's credentials and `check`
can tell which part fails. Does not: clients (clients.py), which builds all three at once.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bq2pg_assets.engine.bigquery import BigQuerySource
    from bq2pg_assets.engine.postgres import PostgresTarget
    from bq2pg_assets.engine.shards import GcsShards
    from bq2pg_assets.settings import Settings


def postgres_target(settings: "Settings") -> "PostgresTarget":
    """The target; nothing is connected yet."""
    from bq2pg_assets.engine.postgres import PostgresTarget

    return PostgresTarget(settings.pg_dsn.get_secret_value(), state_schema=settings.state_schema)


def bigquery_source(settings: "Settings") -> "BigQuerySource":
    """The source. Raises ConfigError without credentials or project."""
    from bq2pg_assets.clients import bigquery_client
    from bq2pg_assets.engine.bigquery import BigQuerySource

    return BigQuerySource(
        bigquery_client(settings),
        location=settings.bq_location,
        price_per_tib=settings.price_per_tib,
    )


def gcs_shards(settings: "Settings") -> "GcsShards":
    """The bucket. Raises ConfigError without credentials."""
    from bq2pg_assets.clients import storage_client
    from bq2pg_assets.engine.shards import GcsShards

    return GcsShards(storage_client(settings), bucket=settings.gcs_bucket)
