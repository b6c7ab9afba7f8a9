"""The encoder: golden COPY BINARY streams, and every surprise in a shard refused before a byte.

PostgreSQL stores int8 sent to numeric as 0.0 without a word, so the encoder has to be the one that
notices. Whole values per type are compared in integration/test_shard_types.py.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.encode import EXPECTED, Encoder
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import Column, SourceField
from bq2pg_assets.engine.typemap import RULES, map_columns
from bq2pg_assets_tests.fakes import tuples

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
FOOTER = b"\xff\xff"
US = pa.timestamp("us")


def columns_of(*fields: SourceField, **config: Any) -> tuple[Column, ...]:
    table = TableConfig.model_validate({"name": "t", "source": "d.t", "columns": config})
    return map_columns(table, fields)


def stream(columns: tuple[Column, ...], table: pa.Table) -> Iterator[tuple[bytes, int]]:
    return Encoder(columns, table.schema, where="table t").stream(iter(table.to_batches()))


def test_a_stream_is_a_header_the_rows_and_a_footer_and_tells_the_rows_of_each_batch() -> None:
    schema = pa.schema({"n": pa.int64()})
    table = pa.concat_tables([pa.table({"n": [1, 2]}), pa.table({"n": [None]}, schema)])
    pieces = list(stream(columns_of(SourceField("n", "INT64")), table))
    one, two = (b"\0\1\0\0\0\x08" + n.to_bytes(8, "big") for n in (1, 2))
    null = b"\0\1\xff\xff\xff\xff"
    assert b"".join(piece for piece, _ in pieces) == HEADER + one + two + null + FOOTER
    assert [rows for _, rows in pieces] == [0, 2, 1, 0]


def test_a_shard_without_rows_is_a_header_and_a_footer() -> None:
    table = pa.table({"n": pa.array([], pa.int64())})
    pieces = [p for p, _ in stream(columns_of(SourceField("n", "INT64")), table)]
    assert b"".join(pieces) == HEADER + FOOTER


@pytest.mark.parametrize(
    ("kind", "arrow", "golden"),
    [
        ("INT64", pa.array([-2], pa.int64()), "fffffffffffffffe"),
        ("FLOAT64", pa.array([-0.0]), "8000000000000000"),
        ("NUMERIC", pa.array(["-0.5"]).cast(pa.decimal128(38, 9)), "0001 ffff 4000 0009 1388"),
        ("BIGNUMERIC", pa.array(["-0.5"]).cast(pa.decimal256(76, 38)), "0001ffff400000011388"),
        ("BOOL", pa.array([True]), "01"),
        ("STRING", pa.array(["é"]), "c3a9"),
        ("BYTES", pa.array([b"\0\xff"]), "00ff"),
        ("DATE", pa.array([10957], pa.int32()).cast(pa.date32()), "00000000"),
        ("TIME", pa.array([1], pa.time64("us")), "0000000000000001"),
        ("DATETIME", pa.array([946684800000001], US), "0000000000000001"),
        ("TIMESTAMP", pa.array([946684800000001], US), "0000000000000001"),
        ("JSON", pa.array(["{}"]), "01 7b7d"),
        ("STRUCT", pa.array(["{}"]), "01 7b7d"),
        ("GEOGRAPHY", pa.array(["POINT(1 2)"]), b"POINT(1 2)".hex()),
        ("INTERVAL", pa.array(["0-1 2 0:0:0.000003"]), "0000000000000003 00000002 00000001"),
        ("RANGE<DATE>", pa.array(["[UNBOUNDED, UNBOUNDED)"]), "18"),
        ("RANGE<DATETIME>", pa.array(["[UNBOUNDED, UNBOUNDED)"]), "18"),
        ("RANGE<TIMESTAMP>", pa.array(["[UNBOUNDED, UNBOUNDED)"]), "18"),
    ],
)
def test_each_type_is_written_as_its_receive_function_reads_it(
    kind: str, arrow: pa.Array, golden: str
) -> None:
    (columns, table) = (columns_of(field_of(kind)), pa.table({"c": arrow}))
    data = b"".join(p for p, _ in stream(columns, table))
    assert list(tuples(data)) == [[bytes.fromhex(golden)]]


def field_of(kind: str, mode: Any = "NULLABLE") -> SourceField:
    name, _, element = kind.rstrip(">").partition("<")
    return SourceField("c", name, mode, range_element=element or None)


def test_every_type_that_is_mapped_knows_what_parquet_must_hold() -> None:
    assert {rule.pg_type.partition("(")[0] for rule in RULES.values()} == set(EXPECTED)


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("INT64", pa.int32()),
        ("INT64", pa.float64()),
        ("FLOAT64", pa.float32()),
        ("NUMERIC", pa.int64()),
        ("NUMERIC", pa.float64()),
        ("BIGNUMERIC", pa.float64()),
        ("STRING", pa.binary()),
        ("BYTES", pa.string()),
        ("DATE", pa.string()),
        ("DATE", US),
        ("TIME", pa.time32("ms")),
        ("DATETIME", pa.timestamp("ns")),
        ("DATETIME", pa.timestamp("us", "UTC")),
        ("TIMESTAMP", pa.timestamp("ms")),
        ("JSON", pa.struct([("a", pa.int64())])),
        ("INTERVAL", pa.month_day_nano_interval()),
        ("INT64", pa.list_(pa.int64())),
        ("STRING", pa.null()),
    ],
)
def test_a_shard_of_another_type_is_refused(kind: str, held: pa.DataType) -> None:
    with pytest.raises(MappingError, match="run again") as caught:
        Encoder(columns_of(field_of(kind)), pa.schema({"c": held}), where="table t")
    assert caught.value.problems == (f"column c ({kind}) is {held} in the shard",)


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        (pa.int64(), "column c is int64 in the shard, not a list"),
        (pa.list_(pa.string()), "column c (ARRAY<INT64>) is string in the shard"),
    ],
)
def test_an_array_must_be_a_list_of_its_elements(held: pa.DataType, problem: str) -> None:
    columns = columns_of(field_of("INT64", "REPEATED"))
    with pytest.raises(MappingError) as caught:
        Encoder(columns, pa.schema({"c": held}), where="table t")
    assert caught.value.problems == (problem,)


def test_all_that_is_wrong_with_a_shard_is_told_at_once() -> None:
    columns = columns_of(SourceField("a", "INT64"), SourceField("b", "INT64"))
    with pytest.raises(MappingError) as caught:
        Encoder(columns, pa.schema({"a": pa.string()}), where="table t")
    assert caught.value.problems == (
        "column a (INT64) is string in the shard",
        "column b is missing in the shard",
    )


def test_columns_are_found_by_their_name_in_bigquery_whatever_their_order_and_new_name() -> None:
    columns = columns_of(SourceField("a", "INT64"), SourceField("b", "STRING"), a={"name": "Z"})
    table = pa.table({"more": [True], "b": ["x"], "a": [1]})
    data = b"".join(p for p, _ in stream(columns, table))
    assert list(tuples(data)) == [[(1).to_bytes(8, "big"), b"x"]]


def test_a_value_without_wire_form_names_its_column() -> None:
    columns, table = columns_of(field_of("INTERVAL")), pa.table({"c": ["soon"]})
    with pytest.raises(MappingError, match=r"column c \(INTERVAL\): 'soon' is not an INTERVAL"):
        list(stream(columns, table))
