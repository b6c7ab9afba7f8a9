"""Google's clients and the engine's three parts, built from the settings.

Belongs here: credentials, emulators, projects. Does not: reading the environment (settings.py),
using a client (engine/). Nothing here connects: a client opens its first connection when used,
and only the search for a virtual machine's service account asks Google's metadata server.
"""

import google.auth
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import bigquery, storage

from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.settings import Settings

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def bigquery_client(settings: Settings) -> bigquery.Client:
    """A client for jobs and schemas. Raises ConfigError without credentials or project."""
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


def storage_client(settings: Settings) -> storage.Client:
    """A client for the bucket; it needs no project. Raises ConfigError without credentials."""
    credentials, project = _credentials(settings, emulator=settings.storage_emulator_host)
    return storage.Client(
        project=project,
        credentials=credentials,
        client_options=_options(settings.storage_emulator_host),
    )


def engine_parts(settings: Settings) -> tuple[BigQuerySource, GcsShards, PostgresTarget]:
    """Source, shards and target for `sync_table`. Raises ConfigError."""
    return (
        BigQuerySource(
            bigquery_client(settings),
            location=settings.bq_location,
            price_per_tib=settings.price_per_tib,
        ),
        GcsShards(storage_client(settings), bucket=settings.gcs_bucket),
        PostgresTarget(settings.pg_dsn.get_secret_value(), state_schema=settings.state_schema),
    )


def _credentials(settings: Settings, *, emulator: str | None) -> tuple[Credentials, str | None]:
    """What to sign in with, and the project: the settings', otherwise the credentials'."""
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


def _options(emulator: str | None) -> ClientOptions | None:
    return None if emulator is None else ClientOptions(api_endpoint=emulator.rstrip("/"))
