"""Google's clients and the engine's three parts, built from the settings.

Belongs here: credentials, emulators, projects. Does not: reading the environment (settings.py),
using a client (engine/). Nothing here connects: a client opens its first connection when used,
and only the search for a virtual machine's service account asks Google's metadata server.

Libraries are imported by what needs them: `bq2pg status` loads none of Google's.
"""

from functools import cache
from typing import TYPE_CHECKING

from bq2pg_assets.engine.errors import ConfigError

if TYPE_CHECKING:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import Credentials
    from google.cloud import bigquery, storage
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    from bq2pg_assets.engine.bigquery import BigQuerySource
    from bq2pg_assets.engine.connections import ConnectionLimit
    from bq2pg_assets.engine.postgres import PostgresTarget
    from bq2pg_assets.engine.shards import GcsShards
    from bq2pg_assets.settings import Settings

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def bigquery_client(settings: "Settings") -> "bigquery.Client":
    """A client for jobs and schemas. Raises ConfigError without credentials or project."""
    from google.cloud import bigquery

    credentials, project = _credentials(settings, emulator=settings.bigquery_emulator_host)
    if project is None:
        raise ConfigError(
            "BigQuery",
            met="no project that runs and pays for the jobs is known",
            expected="BQ2PG_BQ_PROJECT, or credentials that name one",
            way_out="Set BQ2PG_BQ_PROJECT=<project id>.",
        )
    return bigquery.Client(
        project=project,
        credentials=credentials,
        location=settings.bq_location,
        client_options=_options(settings.bigquery_emulator_host),
    )


def storage_client(settings: "Settings") -> "storage.Client":
    """A client for the bucket; it needs no project. Raises ConfigError without credentials."""
    from google.cloud import storage

    credentials, project = _credentials(settings, emulator=settings.storage_emulator_host)
    return storage.Client(
        project=project,
        credentials=credentials,
        client_options=_options(settings.storage_emulator_host),
    )


def read_client(settings: "Settings") -> "BigQueryReadClient":
    """A client of the Storage Read API; the caller closes its transport.

    Raises ConfigError without credentials, without Google's library for it, which is an extra,
    and next to a BigQuery emulator whose Read API is not named: its tables are not Google's.
    """
    try:
        import grpc
        from google.cloud.bigquery_storage_v1 import BigQueryReadClient
        from google.cloud.bigquery_storage_v1.services.big_query_read import transports
    except ImportError as error:
        raise ConfigError(
            "Storage Read API",
            met=f"the package {error.name} is not installed",
            expected="google-cloud-bigquery-storage, for export: read_api and without a bucket",
            way_out="Install the extra read-api (in a checkout: `pip install '.[read-api]'`), or "
            "set BQ2PG_GCS_BUCKET and use export: auto.",
        ) from error
    address = settings.bigquery_storage_emulator_host
    if address is not None:
        unlimited = ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)
        channel = grpc.insecure_channel(address, options=unlimited)
        return BigQueryReadClient(transport=transports.BigQueryReadGrpcTransport(channel=channel))
    if settings.bigquery_emulator_host is not None:
        raise ConfigError(
            "Storage Read API",
            met="a BigQuery emulator, and no address of its Read API",
            expected="BIGQUERY_STORAGE_EMULATOR_HOST=host:port",
            way_out="Set it; `bq2pg local env` prints the local stack's. Or set BQ2PG_GCS_BUCKET "
            "and use export: auto.",
        )
    credentials, _ = _credentials(settings, emulator=None)
    return BigQueryReadClient(credentials=credentials)


def bigquery_source(settings: "Settings") -> "BigQuerySource":
    """The source. Raises ConfigError without credentials or project."""
    from bq2pg_assets.engine.bigquery import BigQuerySource

    return BigQuerySource(
        bigquery_client(settings),
        read_client=lambda: read_client(settings),
        location=settings.bq_location,
        price_per_tib=settings.price_per_tib,
        mask_secret=settings.mask_secret,
    )


def gcs_shards(settings: "Settings") -> "GcsShards | None":
    """The bucket, if there is one. Raises ConfigError without credentials."""
    from bq2pg_assets.engine.shards import GcsShards

    if settings.gcs_bucket is None:
        return None
    return GcsShards(storage_client(settings), bucket=settings.gcs_bucket)


def postgres_target(settings: "Settings") -> "PostgresTarget":
    """The target. It needs none of Google's credentials."""
    from bq2pg_assets.engine.postgres import PostgresTarget

    return PostgresTarget(
        settings.pg_dsn.get_secret_value(),
        state_schema=settings.state_schema,
        limit=_connection_limit(settings.pg_max_connections),
    )


def engine_parts(settings: "Settings") -> "tuple[BigQuerySource, GcsShards | None, PostgresTarget]":
    """Source, shards and target for `sync_table`. Raises ConfigError."""
    return bigquery_source(settings), gcs_shards(settings), postgres_target(settings)


@cache
def _connection_limit(most: int) -> "ConnectionLimit":
    """One for the process: Dagster makes a target for each of the tables it loads at once."""
    from bq2pg_assets.engine.connections import ConnectionLimit

    return ConnectionLimit(most)


def _credentials(settings: "Settings", *, emulator: str | None) -> "tuple[Credentials, str | None]":
    """What to sign in with, and the project: the settings', otherwise the credentials'."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    if emulator is not None:
        return AnonymousCredentials(), settings.bq_project
    try:
        credentials, project = google.auth.default(scopes=SCOPES)
    except DefaultCredentialsError as error:
        raise ConfigError(
            "Google Cloud",
            met="no usable credentials were found",
            expected="Application Default Credentials",
            way_out=(
                "On a workstation run `gcloud auth application-default login`; on a server give "
                "its virtual machine or container a service account, or set "
                "GOOGLE_APPLICATION_CREDENTIALS to a credentials file. To try bq2pg without a "
                "cloud, start the local stack: `bq2pg local up`."
            ),
        ) from error
    return credentials, settings.bq_project or project


def _options(emulator: str | None) -> "ClientOptions | None":
    from google.api_core.client_options import ClientOptions

    return None if emulator is None else ClientOptions(api_endpoint=emulator.rstrip("/"))
