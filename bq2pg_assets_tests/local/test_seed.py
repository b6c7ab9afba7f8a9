"""Seeding and advancing the local BigQuery, once and again."""

from collections.abc import Mapping

import pytest
from google.cloud import bigquery, storage

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local.catalog import DATASETS, TABLES
from bq2pg_assets.local.seed import advance, seed


@pytest.fixture
def nothing_seeded(bigquery_client: bigquery.Client) -> None:
    """The demo's datasets are gone, whatever ran before."""
    for name in DATASETS:
        bigquery_client.delete_dataset(name, delete_contents=True, not_found_ok=True)


@pytest.mark.usefixtures("nothing_seeded")
def test_seed_and_advance_load_everything_once(
    stack_variables: Mapping[str, str],
    bigquery_client: bigquery.Client,
    storage_client: storage.Client,
) -> None:
    said: list[str] = []
    assert seed(stack_variables, said.append) == tuple(table.id for table in TABLES)
    assert storage_client.bucket(stack_variables["BQ2PG_GCS_BUCKET"]).exists()
    for table in TABLES:
        found = bigquery_client.get_table(table.id)
        assert found.num_rows == (table.seed_rows or found.num_rows) > 0
        assert found.description == table.description
        modes = {field.name: field.mode for field in found.schema}
        assert modes == {column.name: column.mode for column in table.columns}

    said.clear()
    before = _modified(bigquery_client)
    assert seed(stack_variables, said.append) == ()
    assert said == ["the demo is already seeded"]
    assert _modified(bigquery_client) == before

    changed = advance(stack_variables, said.append)
    assert changed == ("nycflights.flights", "nycflights.weather", "nycflights.planes")
    for table in TABLES:
        found = bigquery_client.get_table(table.id)
        assert found.num_rows == (table.advanced_rows or found.num_rows)
    [refitted] = bigquery_client.query_and_wait(
        "SELECT COUNT(*) AS n FROM nycflights.planes WHERE max_ingested_at >= '2013-12-01'"
    )
    assert refitted.n == 68

    said.clear()
    before = _modified(bigquery_client)
    assert advance(stack_variables, said.append) == ()
    assert seed(stack_variables, said.append) == ()
    assert said[0].startswith("December has passed already")
    assert _modified(bigquery_client) == before


def _modified(client: bigquery.Client) -> dict[str, object]:
    return {table.id: client.get_table(table.id).modified for table in TABLES}


@pytest.mark.usefixtures("nothing_seeded")
def test_advance_without_a_seed_says_what_to_do(stack_variables: Mapping[str, str]) -> None:
    with pytest.raises(LocalStackError) as failed:
        advance(stack_variables, print)
    assert "no such table" in failed.value.met
    assert "make reset" in failed.value.way_out
