"""What a change of masks, casts and expressions means for rows that are there already.

Guards privacy and keys: rows loaded before a mask was added hold what it is to hide, and their keys
are not those of masked rows; so an increment after such a change is refused until all is loaded
anew. And no value of a column that stays in BigQuery is quoted by an error.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.errors import ConfigError, MappingError, SourceError
from bq2pg_assets.engine.model import Outcome, RunOptions
from bq2pg_assets_tests.integration.helpers import Gate, World, background

ROWS = """
    SELECT 1 AS id, 'ann@x.io' AS email, TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at
"""
MORE = f"{ROWS} UNION ALL SELECT 2, 'bob@x.io', TIMESTAMP '2024-01-02 00:00:00+00'"
HMAC = {"email": {"mask": "hmac"}}


class Keyed(World):
    """A world whose source knows a secret that can be changed."""

    secret = "one"

    def source(self, location: str | None = None) -> BigQuerySource:
        return BigQuerySource(
            self.client,
            read_client=self.read_client,
            location=location,
            mask_secret=SecretStr(type(self).secret),
        )


class Rekeyed(Keyed):
    secret = "two"


@pytest.fixture
def keyed(world: World) -> Keyed:
    return Keyed(**vars(world))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, HMAC),
        ({}, {"email": {"expression": "UPPER(email)"}}),
        (HMAC, {}),
        ({"email": {"mask": "sha256"}}, HMAC),
    ],
)
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_an_increment_after_a_change_of_shape_is_refused(
    keyed: Keyed, mode: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    config = {"mode": mode, **({"key": ["id"]} if mode == "merge" else {})}
    keyed.make_source(ROWS)
    keyed.sync(columns=before, **config)
    there = keyed.rows("t")
    keyed.make_source(MORE)
    with pytest.raises(ConfigError, match="rows that are all made alike") as refused:
        keyed.sync(columns=after, **config)
    assert "load everything once" in refused.value.way_out
    assert keyed.rows("t") == there
    keyed.sync(columns=after, options=RunOptions(full_refresh=True), **config)
    assert len(keyed.rows("t")) == 2
    assert keyed.sync(columns=after, **config).outcome is Outcome.NOTHING_NEW


def test_an_increment_with_another_secret_is_refused(keyed: Keyed) -> None:
    keyed.make_source(ROWS)
    keyed.sync(columns=HMAC, mode="append")
    keyed.make_source(MORE)
    with pytest.raises(ConfigError, match="another BQ2PG_MASK_SECRET"):
        Rekeyed(**vars(keyed)).sync(columns=HMAC, mode="append")
    assert [h["outcome"] for h in keyed.history()] == ["loaded", "failed"]
    assert "one" not in str(keyed.history()[0]["shape"])


@pytest.mark.parametrize(
    "config",
    [
        {
            "columns": {
                "email": {"exclude": True},
                "n": {"expression": "CAST(email AS INT64)"},
            }
        },
        {"include": ["id"], "columns": {"n": {"expression": "CAST(email AS INT64)"}}},
        {"columns": {"email": {"mask": "redact"}, "n": {"expression": "CAST(email AS INT64)"}}},
    ],
    ids=["excluded", "not included", "masked"],
)
@pytest.mark.parametrize("export", ["export_data", "read_api"])
def test_no_error_quotes_a_value_that_stays_in_bigquery(
    keyed: Keyed, config: dict[str, Any], export: str
) -> None:
    keyed.make_source(ROWS)
    with pytest.raises(SourceError) as failed:
        keyed.sync(mode="replace", export=export, **config)
    assert "withheld" in failed.value.met
    assert "ann@x.io" not in str(failed.value) + str(keyed.history())


def test_a_condition_read_by_the_read_api_quotes_no_value_either(keyed: Keyed) -> None:
    keyed.make_source(ROWS)
    with pytest.raises(SourceError) as failed:
        keyed.sync(
            mode="replace",
            export="read_api",
            columns={"email": {"exclude": True}},
            options=RunOptions(where="CAST(email AS INT64) > 0"),
        )
    assert "ann@x.io" not in str(failed.value) + str(keyed.history())


def test_a_query_source_cannot_name_the_parameters_that_hold_the_secret(keyed: Keyed) -> None:
    with pytest.raises(ConfigError, match="query"):
        keyed.sync(mode="replace", query="SELECT 1 AS id, @bq2pg_salt AS p")


@pytest.mark.parametrize("column", [{"cast": "INT64"}, {"expression": "id"}, {"default": 0}])
def test_a_merge_key_that_is_changed_on_its_way_is_refused(
    keyed: Keyed, column: dict[str, Any]
) -> None:
    keyed.make_source(ROWS)
    with pytest.raises(ConfigError, match="the key changed: id by"):
        keyed.sync(mode="merge", key=["id"], columns={"id": column})


@pytest.mark.parametrize(
    ("kind", "default"), [("INT64", 0.5), ("INT64", "x"), ("NUMERIC(10, 2)", 0.005)]
)
def test_a_default_that_would_change_the_type_is_refused(
    keyed: Keyed, kind: str, default: Any
) -> None:
    keyed.bq(f"CREATE TABLE {{d}}.source (id INT64, n {kind})")
    with pytest.raises(MappingError, match="digits after the point"):
        keyed.sync(mode="replace", columns={"n": {"default": default}})


def test_a_default_keeps_the_type_of_the_column(keyed: Keyed) -> None:
    keyed.bq("CREATE TABLE {d}.source (id INT64, n NUMERIC(10, 2))")
    keyed.bq("INSERT INTO {d}.source VALUES (9007199254740993, NULL)")
    keyed.sync(mode="replace", columns={"n": {"default": 0.05}, "id": {"default": 0}})
    assert keyed.pg("SELECT id, n::text, pg_typeof(id)::text FROM t") == [
        (9007199254740993, "0.05", "bigint")
    ]


def test_a_target_that_was_altered_since_the_plan_is_not_written(keyed: Keyed) -> None:
    keyed.make_source("SELECT 1 AS id, NUMERIC '1.239' AS n")
    keyed.sync(mode="replace")
    gate = Gate("verify")
    with background(lambda: keyed.sync(mode="replace", report=gate)) as run:
        gate.wait()
        keyed.pg("ALTER TABLE t ALTER n TYPE numeric(10,2)")
        gate.open()
        with pytest.raises(Exception, match="other columns than when the run began"):
            run.result()
    assert [h["outcome"] for h in keyed.history()] == ["loaded", "failed"]
