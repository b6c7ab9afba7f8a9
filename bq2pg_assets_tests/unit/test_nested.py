"""Nested values as JSON text: the spelling of GoogleSQL's TO_JSON_STRING, case by case.

The expected texts are those of google/zetasql's json_format.cc, not of this implementation.
"""

import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq2pg_assets.engine.model import SourceField
from bq2pg_assets.engine.nested import as_json, decimal_text, float_text

US = pa.timestamp("us")


def moment(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - Parquet's have no zone


LEAVES = [
    ("INT64", pa.int64(), 2**53, "9007199254740992"),
    ("INT64", pa.int64(), 2**53 + 1, '"9007199254740993"'),
    ("INT64", pa.int64(), -(2**53) - 1, '"-9007199254740993"'),
    ("INT64", pa.int64(), -(2**63), '"-9223372036854775808"'),
    ("FLOAT64", pa.float64(), 1.0, "1"),
    ("FLOAT64", pa.float64(), 0.1, "0.1"),
    ("FLOAT64", pa.float64(), 0.1 + 0.2, "0.30000000000000004"),
    ("FLOAT64", pa.float64(), 5e-324, "4.94065645841247e-324"),
    ("FLOAT64", pa.float64(), 1.7976931348623157e308, "1.7976931348623157e+308"),
    ("FLOAT64", pa.float64(), -0.0, "-0"),
    ("FLOAT64", pa.float64(), float("nan"), '"NaN"'),
    ("FLOAT64", pa.float64(), float("inf"), '"Infinity"'),
    ("FLOAT64", pa.float64(), float("-inf"), '"-Infinity"'),
    ("NUMERIC", pa.decimal128(38, 9), Decimal("123.560000000"), '"123.56"'),
    ("NUMERIC", pa.decimal128(38, 9), Decimal("0E-9"), "0"),
    ("NUMERIC", pa.decimal128(38, 9), Decimal("-0.000000001"), '"-0.000000001"'),
    ("NUMERIC", pa.decimal128(38, 9), Decimal(2**53), "9007199254740992"),
    ("NUMERIC", pa.decimal128(38, 9), Decimal(2**53 + 1), '"9007199254740993"'),
    ("BIGNUMERIC", pa.decimal256(76, 38), Decimal("9" * 38 + "." + "9" * 38), None),
    ("BOOL", pa.bool_(), True, "true"),
    ("STRING", pa.string(), 'a"b\\c\n\r\t\0\x1f', '"a\\"b\\\\c\\n\\r\\t\\u0000\\u001f"'),
    ("STRING", pa.string(), "é🐘\u202e\x7f", '"é🐘\u202e\x7f"'),
    ("BYTES", pa.binary(), b"\0\xff", '"AP8="'),
    ("BYTES", pa.binary(), b"", '""'),
    ("DATE", pa.date32(), date(1, 1, 1), '"0001-01-01"'),
    ("TIME", pa.time64("us"), time(12, 30), '"12:30:00"'),
    ("TIME", pa.time64("us"), time(0, 0, 0, 500_000), '"00:00:00.500"'),
    ("DATETIME", US, moment(1, 1, 1), '"0001-01-01T00:00:00"'),
    ("DATETIME", US, moment(1500, 2, 3, 4, 5, 6, 1), '"1500-02-03T04:05:06.000001"'),
    ("TIMESTAMP", US, moment(9999, 12, 31, 23, 59, 59, 120_000), '"9999-12-31T23:59:59.120Z"'),
    ("TIMESTAMP", pa.timestamp("us", "UTC"), moment(1970, 1, 1), '"1970-01-01T00:00:00Z"'),
]


def _json(values: list[Any], kind: pa.DataType, field: SourceField) -> list[str | None]:
    found: list[str | None] = as_json(pa.array(values, kind), field).to_pylist()
    return found


@pytest.mark.parametrize(("kind", "arrow", "value", "text"), LEAVES, ids=lambda v: repr(v)[:40])
def test_a_leaf_is_spelled_as_bigquery_spells_it(
    kind: str, arrow: pa.DataType, value: Any, text: str | None
) -> None:
    wanted = f'"{value}"' if text is None else text
    assert _json([value, None], arrow, SourceField("c", kind)) == [wanted, None]


INNER = (SourceField("x", "INT64"), SourceField('na"me', "STRING", "REPEATED"))
STRUCT = SourceField("s", "STRUCT", fields=INNER)
ARROW = pa.struct([("x", pa.int64()), ('na"me', pa.list_(pa.string()))])


def test_a_null_struct_is_not_a_struct_of_nulls() -> None:
    rows = [{"x": None, 'na"me': []}, None, {"x": 1, 'na"me': ["a", ""]}]
    assert _json(rows, ARROW, STRUCT) == [
        '{"x":null,"na\\"me":[]}',
        None,
        '{"x":1,"na\\"me":["a",""]}',
    ]


def test_an_array_of_structs_keeps_its_null_elements_and_its_order() -> None:
    many = SourceField("s", "STRUCT", "REPEATED", fields=INNER)
    rows = [[{"x": 2, 'na"me': []}, None, {"x": 1, 'na"me': ["b"]}], [], None]
    assert _json(rows, pa.list_(ARROW), many) == [
        '[{"x":2,"na\\"me":[]},null,{"x":1,"na\\"me":["b"]}]',
        "[]",
        None,
    ]


def test_a_null_array_inside_a_row_is_an_empty_one() -> None:
    assert _json([{"x": 1, 'na"me': None}], ARROW, STRUCT) == ['{"x":1,"na\\"me":[]}']


def test_a_slice_of_a_column_holds_its_own_rows_only() -> None:
    many = SourceField("s", "STRUCT", "REPEATED", fields=INNER)
    rows = [[{"x": n, 'na"me': [str(n)] * (n % 3)}] * (n % 4) for n in range(20)]
    column = pa.array(rows, pa.list_(ARROW))
    whole = as_json(column, many).to_pylist()
    assert as_json(column.slice(7, 5), many).to_pylist() == whole[7:12]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_reads_back_as_the_same_double(value: float) -> None:
    assert float(json.loads(float_text(value))) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**28)))
def test_any_decimal_keeps_its_value(value: Decimal) -> None:
    read = json.loads(decimal_text(value))
    assert Decimal(read) == value
    assert isinstance(read, str) or (read == int(read) and abs(read) <= 2**53)


@given(st.lists(st.none() | st.text()))
def test_any_text_reads_back(values: list[str | None]) -> None:
    texts = _json(values, pa.string(), SourceField("c", "STRING"))
    assert [None if t is None else json.loads(t) for t in texts] == values
