"""Promise: what `columns:` may say is one expression or type, and a mask fits or is refused."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import export_sql, shape
from bq2pg_assets.engine.errors import ConfigError, MappingError, SourceError
from bq2pg_assets.engine.google_errors import source_error, without_values
from bq2pg_assets.engine.model import ExportWay, SourceField
from bq2pg_assets.engine.typemap import map_columns
from bq2pg_assets_tests.unit.planned import FACTS, MISSING, plan_of

FIELDS = (
    SourceField("id", "INT64", "REQUIRED", "the key"),
    SourceField("email", "STRING", description="private"),
    SourceField("amount", "NUMERIC", precision=10, scale=2),
    SourceField("tags", "STRING", "REPEATED"),
    SourceField("at", "TIMESTAMP"),
)


def table(**config: Any) -> TableConfig:
    return TableConfig.model_validate({"name": "t", "source": "d.t", **config})


def shaped(columns: dict[str, Any], *typed: SourceField, **config: Any) -> dict[str, SourceField]:
    found = table(columns=columns, **config)
    sources = shape.values(found, FIELDS)
    made = [replace(field, sql=sources[field.name]) for field in typed]
    return {f.name: f for f in shape.shaped_fields(found, FIELDS, made)}


@pytest.mark.parametrize(
    "text",
    [
        *("TRIM(note)", "a -- with a comment", "a.b", "CASE WHEN a THEN b END", "(SELECT 1)"),
        *("ROW_NUMBER() OVER (ORDER BY a)", "'@x; -- '", "STRUCT(a AS b)", "a\n+ b"),
    ],
)
def test_one_expression_is_taken_as_it_is(text: str) -> None:
    assert export_sql.checked_expression(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("a, b", "a AS b", "1), (2", "1) AS x, (2", "SELECT 1", "a; SELECT 2", "", "a) FROM u --"),
        *("@bq2pg_salt", "TO_HEX(@bq2pg_inner)", "?", "a /*", "SELECT 1 UNION ALL SELECT 2"),
    ],
)
def test_what_is_not_one_expression_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected one GoogleSQL expression"):
        export_sql.checked_expression(text)


def test_a_condition_cannot_name_the_parameters_that_carry_the_secret() -> None:
    with pytest.raises(ConfigError, match="one GoogleSQL condition"):
        export_sql.checked_condition("STARTS_WITH(@bq2pg_salt, b'a')")


@pytest.mark.parametrize(
    ("column", "sql"),
    [
        ({"cast": "STRING"}, "CAST(`id` AS STRING\n)"),
        ({"cast": "numeric(10, 2)"}, "ROUND(CAST(`id` AS NUMERIC), 2)"),
        ({"cast": "BIGNUMERIC(40,5)"}, "ROUND(CAST(`id` AS BIGNUMERIC), 5)"),
        ({"cast": "DECIMAL(3)"}, "ROUND(CAST(`id` AS NUMERIC), 0)"),
        ({"default": 0}, "IFNULL(`id`, 0)"),
        ({"expression": "f", "default": -2.5}, "IFNULL((\nf\n), -2.5)"),
        ({"expression": "f", "default": True}, "IFNULL((\nf\n), TRUE)"),
        ({"expression": "f", "default": "it's\n"}, "IFNULL((\nf\n), 'it\\'s\\n')"),
        (
            {"cast": "numeric(10, 2)", "default": 0.05},
            "IFNULL(ROUND(CAST(`id` AS NUMERIC), 2), NUMERIC '0.05')",
        ),
        (
            {"expression": "id + 1", "cast": "STRING", "default": "x"},
            "IFNULL(CAST((\nid + 1\n) AS STRING\n), 'x')",
        ),
    ],
)
def test_a_value_is_made_then_cast_then_filled(column: dict[str, Any], sql: str) -> None:
    assert shape.values(table(columns={"id": column}), FIELDS) == {"id": sql}


def test_every_text_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "id": {"expression": "a, b"},
        "email": {"cast": "STRING(5)"},
        "amount": {"cast": "NUMERIC(40, 2)"},
        "at": {"cast": "STRING FORMAT 'x'"},
        "Tags": {"expression": "1"},
        "more": {"cast": "STRING"},
    }
    with pytest.raises(MappingError) as refused:
        shape.values(table(columns=wrong), FIELDS)
    told = refused.value.problems
    assert [problem.split(":")[0] for problem in told[:4]] == [
        *("column id", "column email", "column amount", "column at"),
    ]
    assert told[4:] == ("columns names Tags, did you mean tags?",)


def test_every_mask_that_does_not_fit_is_told_at_once() -> None:
    wrong = {
        "id": {"mask": "email"},
        "email": {"mask": "year"},
        "tags": {"mask": "partial"},
        "at": {"mask": "year"},
        "amount": {"mask": "partial"},
    }
    with pytest.raises(MappingError) as refused:
        shaped(wrong)
    assert refused.value.problems == (
        "column id is INT64; mask email is for STRING",
        "column email is STRING; mask year is for DATE, DATETIME, TIMESTAMP",
        "column tags is ARRAY<STRING>; mask partial is for STRING, INT64, NUMERIC, BIGNUMERIC",
    )


def test_a_mask_takes_the_description_away_and_a_hash_keeps_not_null() -> None:
    found = shaped({"id": {"mask": "hmac"}, "email": {"mask": "email"}, "at": {"mask": "year"}})
    assert (found["id"].type, found["id"].mode, found["id"].description) == (
        "STRING",
        "REQUIRED",
        None,
    )
    assert found["email"].description is None
    assert (found["at"].type, found["at"].sql) == ("INT64", "EXTRACT(YEAR FROM `at`)")
    assert [f.name for f in found.values() if f.masked] == ["id", "email", "at"]


def test_braces_of_an_expression_stay_its_own() -> None:
    made = SourceField("id", "STRING", sql="(\nCONCAT('{x}{text}', email)\n)")
    masked = shape.masked(made, "hmac").sql
    assert masked is not None
    assert "CAST((\nCONCAT('{x}{text}', email)\n) AS BYTES)" in masked


def test_new_columns_come_last_and_digits_survive_what_does_not_change_them() -> None:
    found = shaped(
        {"amount": {"default": 0}, "id": {"cast": "NUMERIC(5, 1)"}, "new": {"expression": "1"}},
        SourceField("amount", "NUMERIC"),
        SourceField("id", "NUMERIC"),
        SourceField("new", "INT64"),
    )
    assert list(found) == ["id", "email", "amount", "tags", "at", "new"]
    assert (found["amount"].precision, found["amount"].scale) == (10, 2)
    assert (found["id"].precision, found["id"].scale) == (5, 1)
    assert found["id"].description == "the key"


def test_what_is_left_out_is_not_shaped_and_include_leaves_new_columns_in() -> None:
    columns = {
        "email": {"mask": "email"},
        "at": {"cast": "DATE", "exclude": True},
        "amount": {"cast": "STRING"},
        "new": {"expression": "1"},
    }
    config = table(columns=columns, include=["id", "email"])
    assert list(shape.values(config, FIELDS)) == ["new"]
    fields = shape.shaped_fields(config, FIELDS, [SourceField("new", "INT64", sql="1")])
    assert [c.source for c in map_columns(config, fields)] == ["id", "email", "new"]


def test_include_names_what_the_source_has() -> None:
    with pytest.raises(MappingError, match=r"include names emial, .* did you mean email"):
        map_columns(table(include=["id", "emial"]), FIELDS)


@given(st.binary(max_size=200).map(bytes.hex), st.binary(max_size=100))
def test_two_hashes_over_the_padded_keys_are_pythons_hmac(secret: str, value: bytes) -> None:
    found = shape.parameters("@bq2pg_inner @bq2pg_outer", SecretStr(secret))
    inner = hashlib.sha256(found["bq2pg_inner"] + value).digest()
    composed = hashlib.sha256(found["bq2pg_outer"] + inner).hexdigest()
    assert composed == hmac.new(secret.encode(), value, "sha256").hexdigest()


def test_only_the_parameters_that_a_query_names_are_sent() -> None:
    assert shape.parameters("SELECT 1", SecretStr("x")) == {}
    assert shape.parameters("SHA256(@bq2pg_salt)", SecretStr("x")) == {"bq2pg_salt": b"x"}


@pytest.mark.parametrize("reason", ["invalidQuery", "invalid", ""])
def test_bigquerys_words_are_withheld_where_they_may_quote_a_masked_value(reason: str) -> None:
    def failing() -> None:
        try:
            raise ValueError("4111")
        except ValueError as error:
            raise source_error("here", reason=reason, message="Bad value 4111") from error

    with pytest.raises(SourceError) as told:
        without_values(failing, hides=True)
    assert "4111" not in str(told.value)
    assert f"{reason or 'an error'}, whose message is withheld" in told.value.met
    assert told.value.__cause__ is told.value.__context__ is None
    with pytest.raises(SourceError) as whole:
        without_values(failing, hides=False)
    assert "Bad value 4111" in whole.value.met


def test_a_message_about_no_row_is_told_in_full() -> None:
    def failing() -> None:
        raise source_error("here", reason="accessDenied", message="User may not query t")

    with pytest.raises(SourceError, match="User may not query t"):
        without_values(failing, hides=True)


def test_a_lineage_has_the_columns_of_an_expression_or_none() -> None:
    assert export_sql.columns_read("(\nCONCAT(a, `b c`, a, s.x)\n)") == ("a", "b c", "s")
    assert export_sql.columns_read("(SELECT MAX(x) FROM UNNEST(a) AS x)") == ()


def test_shaping_is_done_in_a_select_and_never_by_an_extract_job() -> None:
    facts = replace(FACTS, fields=(replace(FACTS.fields[0], sql="(1)"), FACTS.fields[1]))
    made = plan_of({"mode": "replace"}, facts=facts, target=MISSING)
    assert (made.way, made.reason) == (ExportWay.EXPORT_DATA, "id is shaped in the SELECT")
    with pytest.raises(ConfigError, match="export: extract, but id is shaped in the SELECT"):
        plan_of({"mode": "replace", "export": "extract"}, facts=facts, target=MISSING)


@pytest.mark.parametrize(
    ("config", "met"),
    [
        ({"columns": {"at": {"mask": "year"}}}, "changed by"),
        ({"columns": {"at": {"cast": "DATE"}}}, "changed by"),
        ({"include": ["id"]}, "not in include"),
        ({"columns": {"at": {"exclude": True}}}, "excluded"),
    ],
)
def test_the_cursor_column_travels_as_it_is(config: dict[str, Any], met: str) -> None:
    with pytest.raises(ConfigError, match=f"cursor column at is {met}") as refused:
        plan_of({"mode": "append", "cursor": "at", **config}, target=MISSING)
    assert refused.value.way_out.endswith(".")


@pytest.mark.parametrize("mask", ["redact", "partial", "email", "null", "year"])
def test_a_key_is_masked_by_a_hash_only(mask: str) -> None:
    config = {"mode": "merge", "cursor": None, "key": ["id"]}
    with pytest.raises(ConfigError, match=f"id by {mask}"):
        plan_of({**config, "columns": {"id": {"mask": mask}}}, target=MISSING)
    plan_of({**config, "columns": {"id": {"mask": "hmac"}}}, target=MISSING)
