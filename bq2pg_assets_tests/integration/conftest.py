"""The fixture `world` on top of the local stack's fixtures.

Belongs here: fixtures of the integration tests. Does not: helpers (helpers.py).
"""

from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets.local.stack import StackState
from bq2pg_assets_tests.conftest import bigquery_client_of
from bq2pg_assets_tests.integration.helpers import World


@pytest.fixture
def world(
    bigquery_client: bigquery.Client,
    storage_client: storage.Client,
    bucket: storage.Bucket,
    dataset: str,
    postgres_dsn: str,
    stack_variables: dict[str, str],
) -> World:
    """A fresh dataset, bucket and database, and how to sync between them."""
    return World(
        bigquery_client,
        storage_client,
        bucket.name,
        dataset,
        postgres_dsn,
        read_api=stack_variables["BIGQUERY_STORAGE_EMULATOR_HOST"],
    )


@pytest.fixture
def slow_world(slow_stack: StackState, dataset: str, postgres_dsn: str) -> Iterator[World]:
    """The same database, with a BigQuery whose exports run for a minute unless cancelled."""
    variables = local_stack.environment(slow_stack)
    client = bigquery_client_of(variables)
    store = storage.Client(
        project=client.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": variables["STORAGE_EMULATOR_HOST"]},
    )
    bucket = store.create_bucket(dataset.replace("_", "-"))
    client.create_dataset(dataset)
    read_api = variables["BIGQUERY_STORAGE_EMULATOR_HOST"]
    yield World(client, store, bucket.name, dataset, postgres_dsn, read_api=read_api)
    client.delete_dataset(dataset, delete_contents=True)
    client.close()
    store.close()
