"""Promise: a table's fields mean what the documentation says."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from bq2pg_assets.config.table import TableConfig, parse_target


def table(**fields: object) -> TableConfig:
    return TableConfig.model_validate({"name": "orders", "source": "sales.orders"} | fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders", ("public", "orders")),
        ("sales.orders", ("sales", "orders")),
        ('"my.schema".orders', ("my.schema", "orders")),
        ('"a ""b"""', ("public", 'a "b"')),
        ("Sales.Orders", ("Sales", "Orders")),
    ],
)
def test_a_target_is_a_table_or_schema_and_table(text: str, expected: tuple[str, str]) -> None:
    name = parse_target(text)
    assert (name.schema, name.table) == expected
    assert parse_target(str(name)) == name


@pytest.mark.parametrize("text", ["a.b.c", "a.", ".a", '"a', "a\0b", "x" * 64, "é" * 32])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a table name|63 bytes"):
        parse_target(text)


@pytest.mark.parametrize(
    ("given", "size"), [("50 GiB", 50 * 2**30), ("1.5 GB", 1_500_000_000), (10, 10)]
)
def test_the_limit_of_bytes_is_a_number_or_a_size(given: object, size: int) -> None:
    assert table(max_bytes_billed=given).max_bytes_billed == size


@pytest.mark.parametrize("given", [0, -5, True, "lots", "0"])
def test_a_limit_that_is_no_size_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        table(max_bytes_billed=given)


@pytest.mark.parametrize("name", ["Europe", "../etc/passwd", "", "Mars/Base", "/etc/localtime"])
def test_a_time_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a time zone of the IANA database"):
        table(timezone=name)


def test_replace_has_no_cursor_and_append_has_one() -> None:
    assert table().cursor_column is None
    assert table(mode="append").cursor_column == "max_ingested_at"
    assert table(mode="merge", cursor=None).cursor_column is None


@pytest.mark.parametrize(
    ("source", "parts"),
    [("a.b", (None, "a", "b")), ("my-project.a.b-c", ("my-project", "a", "b-c"))],
)
def test_a_source_has_a_dataset_and_maybe_a_project(
    source: str, parts: tuple[str | None, str, str]
) -> None:
    assert table(source=source).source_parts == parts


@pytest.mark.parametrize("given", [None, "null"])
def test_the_mask_null_is_one_with_quotes_and_without(given: str | None) -> None:
    """YAML reads the bare word as nothing: it must not leave the column unmasked."""
    assert table(columns={"a": {"mask": given}}).columns["a"].mask == "null"
    assert table(columns={"a": {}}).columns["a"].mask is None


@pytest.mark.parametrize("given", [0, "", False, 2.5, "x"])
def test_a_default_is_text_a_number_or_a_truth_value(given: object) -> None:
    assert table(columns={"a": {"default": given}}).columns["a"].default == given


@pytest.mark.parametrize("given", [None, [1], {}, float("nan"), float("inf")])
def test_what_is_no_default_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="is not a text, a finite number, true or false"):
        table(columns={"a": {"default": given}})


def test_a_column_is_not_included_and_excluded_at_once() -> None:
    with pytest.raises(ValidationError, match="b is in include and excluded in columns"):
        table(include=["a", "b"], columns={"b": {"exclude": True}})


def test_a_lag_is_a_span_of_time() -> None:
    assert table(mode="append", lag="90m").lag == timedelta(minutes=90)


@pytest.mark.parametrize("given", [0, "0m", "1.5h", "-1h", "PT1H", True, ""])
def test_what_is_no_span_of_time_or_none_at_all_is_no_lag(given: object) -> None:
    with pytest.raises(ValidationError, match=r"is not a span of time|is no time at all"):
        table(mode="append", lag=given)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        *(({"mode": m, "lookback": "1h"}, f"lookback is for mode merge and scd2, not {m}")
          for m in ("replace", "append", "mirror", "snapshot")),
        *(({"mode": m, "lag": "1h"}, f"lag is for mode append, merge and scd2, not {m}")
          for m in ("replace", "mirror", "snapshot")),
        *(({"mode": m, "null_cursor": "skip"}, "null_cursor is for mode append, merge and scd2")
          for m in ("replace", "mirror", "snapshot")),
        *(({"mode": m, "null_keys": "match"}, "null_keys is for mode merge, mirror and scd2")
          for m in ("replace", "append", "snapshot")),
        ({"mode": "merge", "deletes": "soft"}, "deletes is for mode mirror, not merge"),
        ({"mode": "mirror", "deleted_column": "d"}, "deleted_column is for deletes: soft"),
        ({"mode": "scd2", "snapshot_column": "d"}, "snapshot_column is for mode snapshot"),
        ({"mode": "mirror", "valid_from_column": "d"}, "valid_from_column is for mode scd2"),
        ({"mode": "scd2", "valid_to_column": "valid_from"}, "need two names"),
        ({"mode": "scd2", "valid_to_column": "x" * 64}, "at most 63 bytes"),
        *(({"mode": "merge", "cursor": None, **o}, "counts from a cursor, and cursor is null")
          for o in ({"lookback": "1h"}, {"lag": "1h"}, {"null_cursor": "fail"})),
        ({"max_shrink": 1.1}, "less than or equal to 1"),
        ({"max_deletes": -0.1}, "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_what_a_mode_has_no_use_for_is_refused_in_a_sentence(
    fields: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        table(**fields)
