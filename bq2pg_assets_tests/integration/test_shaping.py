"""Columns are shaped in BigQuery: what arrives is what the YAML says, computed anew in Python.

Belongs here: expression, cast, default, masks, include and rename through emulator and PostgreSQL.
Does not: refusals before anything runs (unit/test_shape.py), what becomes visible
(test_masked_values.py).
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from google.cloud import bigquery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from bq2pg_assets.engine import shape
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.errors import ConfigError, MappingError, SourceError
from bq2pg_assets.engine.model import ExportWay, Outcome, SourceField
from bq2pg_assets_tests.integration import masks
from bq2pg_assets_tests.integration.helpers import Row, World

# Column, a value in GoogleSQL, and the text or bytes that are hashed.
VALUES: list[tuple[str, str, str | bytes]] = [
    ("s", "'grüße'", "grüße"),
    ("i", "4111111111111111", "4111111111111111"),
    ("f", "1.5", "1.5"),
    ("n", "NUMERIC '12345.5'", "12345.5"),
    ("b", "TRUE", "true"),
    ("y", r"b'\xff\x00'", b"\xff\x00"),
    ("d", "DATE '2024-02-29'", "2024-02-29"),
    ("t", "TIME '01:02:03'", "01:02:03"),
    ("dt", "DATETIME '2024-02-29 01:02:03'", "2024-02-29 01:02:03"),
    ("ts", "TIMESTAMP '2024-02-29 01:02:03+00'", "2024-02-29 01:02:03+00"),
    ("g", "ST_GEOGPOINT(1, 2)", "POINT(1 2)"),
    ("j", """JSON '{"a":1}'""", '{"a":1}'),
    ("a", "['x', 'y']", '["x","y"]'),
    ("st", "STRUCT(1 AS k, 'v' AS l)", '{"k":1,"l":"v"}'),
]
NAMES = [name for name, _, _ in VALUES]
PEOPLE = """
    SELECT 1 AS id, 'ann@example.com' AS email, '+49 30 1234567' AS phone, ' hi ' AS note,
      'Ann' AS first_name, 'Lee' AS last_name, '12.345' AS amount, NUMERIC '1.5' AS price,
      TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at
    UNION ALL SELECT 2, 'nobody', '1234', NULL, 'Bo', 'Ek', NULL, NULL,
      TIMESTAMP '2024-01-02 00:00:00+00'
    UNION ALL SELECT 3, NULL, NULL, '', NULL, NULL, '-7', NUMERIC '2',
      TIMESTAMP '2024-01-03 00:00:00+00'
"""


class MaskingWorld(World):
    """A world whose source knows a secret."""

    def source(self, location: str | None = None) -> BigQuerySource:
        return BigQuerySource(
            self.client,
            read_client=self.read_client,
            location=location,
            mask_secret=SecretStr(masks.SECRET),
        )

    def loaded(self, columns: dict[str, Any], **config: Any) -> list[Row]:
        """What arrives of the source with these `columns`, by id."""
        self.sync(columns=columns, **config)
        return self.rows("t")


@pytest.fixture
def masking(world: World) -> MaskingWorld:
    return MaskingWorld(**vars(world))


def every(world: MaskingWorld, mask: str, *, names: list[str] | None = None) -> list[Row]:
    """A row of VALUES and one of NULLs, with `mask` on each column but id."""
    names = names or NAMES
    values = ", ".join(f"{sql} AS {name}" for name, sql, _ in VALUES)
    world.make_source(f"SELECT 1 AS id, {values}")
    world.bq("INSERT INTO {d}.source (id, a) VALUES (2, [])")
    return world.loaded({name: {"mask": mask} for name in names}, include=["id", *names])


@pytest.mark.parametrize(("mask", "model"), [("sha256", masks.sha256), ("hmac", masks.keyed)])
def test_a_hash_is_pythons_for_every_type_and_null_stays_null(
    masking: MaskingWorld, mask: str, model: Any
) -> None:
    first, second = every(masking, mask)
    assert dict(zip(NAMES, first[1:], strict=True)) == {n: model(text) for n, _, text in VALUES}
    assert second == (2, *(None if n != "a" else model("[]") for n in NAMES))


def test_redact_writes_one_word_for_every_type_and_null_stays_null(masking: MaskingWorld) -> None:
    first, second = every(masking, "redact")
    assert first == (1, *["REDACTED"] * len(NAMES))
    assert second == (2, *(None if n != "a" else "REDACTED" for n in NAMES))


def test_the_null_mask_keeps_the_type_and_no_value(masking: MaskingWorld) -> None:
    rows = every(masking, "null")
    assert rows == [(i, *(None if n != "a" else [] for n in NAMES)) for i in (1, 2)]
    types = masking.pg(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE "
        "attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [t for (t,) in types][1:] == [
        *("text", "bigint", "double precision", "numeric(38,9)", "boolean", "bytea", "date"),
        *("time without time zone", "timestamp without time zone", "timestamp with time zone"),
        *("text", "jsonb", "text[]", "jsonb"),
    ]


def test_year_keeps_the_year_of_a_date(masking: MaskingWorld) -> None:
    assert every(masking, "year", names=["d", "dt", "ts"]) == [
        (1, 2024, 2024, 2024),
        (2, None, None, None),
    ]


def test_partial_keeps_four_characters_of_text_and_numbers(masking: MaskingWorld) -> None:
    assert every(masking, "partial", names=["s", "i", "n"]) == [
        (1, "*rüße", "************1111", "***45.5"),
        (2, None, None, None),
    ]


def test_values_are_made_cast_filled_and_masked_in_this_order(masking: MaskingWorld) -> None:
    masking.make_source(PEOPLE)
    rows = masking.loaded(
        {
            "id": {"mask": "hmac", "name": "person_key"},
            "email": {"mask": "email"},
            "phone": {"mask": "partial"},
            "note": {"expression": "TRIM(note) -- spaces"},
            "amount": {"cast": "NUMERIC(10, 2)", "default": 0},
            "price": {
                "expression": "price * 2",
                "cast": "STRING",
                "default": "none",
                "mask": "sha256",
            },
            "first_name": {"exclude": True},
            "last_name": {"exclude": True},
            "max_ingested_at": {"exclude": True},
            "full_name": {"expression": "CONCAT(first_name, ' ', last_name)"},
            "pair": {"expression": "[first_name, last_name]", "mask": "null", "name": "hidden"},
        }
    )
    by_key = {row[0]: row[1:] for row in rows}
    assert by_key == {
        masks.keyed("1"): (
            "a***@example.com",
            "**********4567",
            "hi",
            Decimal("12.35"),
            masks.sha256("3"),
            "Ann Lee",
            [],
        ),
        masks.keyed("2"): ("***", "****", None, Decimal("0.00"), masks.sha256("none"), "Bo Ek", []),
        masks.keyed("3"): (None, None, "", Decimal("-7.00"), masks.sha256("4"), None, []),
    }
    columns = masking.pg(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert columns == [
        ("person_key", "text"),
        ("email", "text"),
        ("phone", "text"),
        ("note", "text"),
        ("amount", "numeric(10,2)"),
        ("price", "text"),
        ("full_name", "text"),
        ("hidden", "text[]"),
    ]


def test_include_copies_these_columns_and_the_new_ones_only(masking: MaskingWorld) -> None:
    masking.make_source(PEOPLE)
    made = {"initial": {"expression": "LEFT(first_name, 1)"}, "phone": {"mask": "partial"}}
    result = masking.sync(columns=made, include=["id", "note"])
    assert masking.rows("t") == [(1, " hi ", "A"), (2, None, "B"), (3, "", None)]
    assert result.way is ExportWay.EXPORT_DATA


def test_a_window_compares_the_bare_columns_and_a_renamed_cursor(masking: MaskingWorld) -> None:
    masking.make_source(PEOPLE)
    config: dict[str, Any] = {
        "mode": "merge",
        "key": ["id"],
        "include": ["id", "email", "max_ingested_at"],
        "columns": {
            "id": {"mask": "hmac"},
            "email": {"mask": "email"},
            "max_ingested_at": {"name": "seen_at"},
        },
    }
    masking.sync(**config)
    masking.bq(
        "UPDATE {d}.source SET email = 'bo@x.org', max_ingested_at = "
        "TIMESTAMP '2024-02-01 00:00:00+00' WHERE id = 2"
    )
    again = masking.sync(**config)
    assert (again.rows, again.outcome) == (1, Outcome.LOADED)
    moved = datetime(2024, 2, 1, tzinfo=UTC)
    assert (masks.keyed("2"), "b***@x.org", moved) in masking.rows("t")
    assert len(masking.rows("t")) == 3


def test_a_query_can_be_shaped_as_a_table_can(masking: MaskingWorld) -> None:
    query = "SELECT 1 AS id, 'ann@example.com' AS email"
    columns = {"email": {"mask": "email"}, "twice": {"expression": "id * 2"}}
    masking.sync(query=query, columns=columns)
    assert masking.rows("t") == [(1, "a***@example.com", 2)]


def test_a_table_that_wants_a_partition_filter_can_be_shaped(masking: MaskingWorld) -> None:
    masking.bq(
        "CREATE TABLE {d}.source (id INT64, day DATE) PARTITION BY day "
        "OPTIONS (require_partition_filter = true)"
    )
    masking.bq("INSERT INTO {d}.source VALUES (1, DATE '2024-01-01'), (2, NULL)")
    assert masking.loaded({"next": {"expression": "id + 1"}}, include=["id"]) == [(1, 2), (2, 3)]


def test_a_digit_too_many_stops_the_run_and_is_not_cut(masking: MaskingWorld) -> None:
    masking.make_source("SELECT 1 AS id, '123456.5' AS amount")
    with pytest.raises(Exception, match="numeric field overflow"):
        masking.sync(columns={"amount": {"cast": "NUMERIC(5, 1)"}})
    assert not masking.exists("t")


def test_an_expression_that_bigquery_refuses_is_told_before_anything_runs(
    masking: MaskingWorld,
) -> None:
    masking.make_source("SELECT 1 AS id")
    for expression in ("nope + 1", "SUM(id) +", "id + CAST(@bq2pg_salt AS INT64)"):
        with pytest.raises((SourceError, MappingError)) as refused:
            masking.sync(columns={"more": {"expression": expression}})
        assert not refused.value.retryable
    assert masking.exports() == []


def test_a_hash_without_a_secret_is_refused(world: World) -> None:
    world.make_source("SELECT 1 AS id, 'x' AS s")
    with pytest.raises(ConfigError, match="s masked by a hash") as refused:
        world.sync(columns={"s": {"mask": "hmac"}})
    assert "BQ2PG_MASK_SECRET" in refused.value.way_out
    assert world.exports() == []
    world.sync(columns={"s": {"mask": "redact"}})


def test_the_read_api_carries_what_the_select_shaped(masking: MaskingWorld) -> None:
    masking.make_source(PEOPLE)
    masking.sync(export="read_api", include=["id", "email"], columns={"email": {"mask": "email"}})
    assert masking.rows("t") == [(1, "a***@example.com"), (2, "***"), (3, None)]


@pytest.mark.parametrize("secret", ["k", "ß" * 32, "x" * 64, "y" * 65, "z" * 500])
@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
            st.emails(),
            st.from_regex(r"\A[ab@. -]{0,9}\Z"),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_masks_of_any_text_are_those_of_the_model(
    bigquery_client: bigquery.Client, secret: str, texts: list[str]
) -> None:
    names = ("sha256", "hmac", "partial", "email")
    key = SecretStr(secret)
    selects = ", ".join(str(shape.masked(SourceField("v", "STRING"), name).sql) for name in names)
    found = shape.parameters(selects, key)
    parameters: list[Any] = [bigquery.ArrayQueryParameter("texts", "STRING", texts)]
    parameters += [bigquery.ScalarQueryParameter(n, "BYTES", v) for n, v in found.items()]  # type: ignore[arg-type]
    rows = bigquery_client.query_and_wait(
        f"SELECT {selects} FROM UNNEST(@texts) AS v WITH OFFSET AS o ORDER BY o",
        job_config=bigquery.QueryJobConfig(query_parameters=parameters),
    )
    assert [tuple(row.values()) for row in rows] == [
        (masks.sha256(t, secret), masks.keyed(t, secret), masks.partial(t), masks.email(t))
        for t in texts
    ]
