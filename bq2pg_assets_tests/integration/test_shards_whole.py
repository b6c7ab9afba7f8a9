"""Whole shards: a genuine export, many batches, text with U+0000, columns that are not as expected.

Guards what no single value shows. The genuine shard was exported by BigQuery from
`bigquery-public-data.pypi.distribution_metadata`.
"""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import NulBytes, SourceField
from bq2pg_assets.engine.typemap import map_columns
from bq2pg_assets_tests import cases
from bq2pg_assets_tests.integration.test_shard_types import STAGE, TABLE, carry, connected

GENUINE = Path(cases.__file__).parent / "pypi_distribution_metadata-000000000000.parquet"
NUMBER = SourceField("n", "INT64", "REQUIRED")
KINDS = {"string": "STRING", "int64": "INT64", "bool": "BOOL", "timestamp[us]": "TIMESTAMP"}


def rows(conn: Any, *, order: str = "n") -> list[tuple[Any, ...]]:
    statement = sql.SQL("SELECT * FROM {} ORDER BY {}").format(
        postgres_sql.identifier(STAGE), sql.Identifier(order)
    )
    found: list[tuple[Any, ...]] = conn.execute(statement).fetchall()
    return found


def test_a_genuine_export_arrives_as_it_is(postgres_dsn: str, tmp_path: Path) -> None:
    table = pq.read_table(GENUINE)
    fields = [
        SourceField(f.name, "STRING", "REPEATED")
        if pa.types.is_list(f.type)
        else SourceField(f.name, KINDS[str(f.type)])
        for f in table.schema
    ]
    columns = map_columns(TABLE, fields)
    with connected(postgres_dsn) as conn:
        carry(conn, table, columns)
        (found,) = rows(conn, order="name")
    wanted = table.to_pylist()[0]
    assert dict(zip(table.column_names, found, strict=True)) == {
        **wanted,
        "upload_time": datetime(2024, 7, 15, 14, 43, 11, 64072, tzinfo=UTC),
    }
    assert wanted["platform"] == []
    assert wanted["author"] is None


def test_rows_of_many_batches_stay_together(postgres_dsn: str, tmp_path: Path) -> None:
    count, wide = 20_000, pa.decimal256(76, 38)
    struct = pa.struct([("x", pa.int64())])
    data = {
        "n": pa.array(range(count), pa.int64()),
        "c": pa.array([None if n % 7 == 0 else f"text {n}" for n in range(count)]),
        "l": pa.array([list(range(n % 4)) for n in range(count)], pa.list_(pa.int64())),
        "d": pa.array([[Decimal(n)] * (n % 3) for n in range(count)], pa.list_(wide)),
        "s": pa.array([[{"x": n}] * (n % 3) for n in range(count)], pa.list_(struct)),
    }
    fields = (
        NUMBER,
        SourceField("c", "STRING"),
        SourceField("l", "INT64", "REPEATED"),
        SourceField("d", "BIGNUMERIC", "REPEATED"),
        SourceField("s", "STRUCT", "REPEATED", fields=(SourceField("x", "INT64"),)),
    )
    with connected(postgres_dsn) as conn:
        carry(conn, pa.table(data), map_columns(TABLE, fields))
        found = rows(conn)
    assert found == list(zip(*(column.to_pylist() for column in data.values()), strict=True))


NUL_FIELDS = (
    NUMBER,
    SourceField("t", "STRING"),
    SourceField("a", "STRING", "REPEATED"),
    SourceField("j", "JSON"),
    SourceField("s", "STRUCT", fields=(SourceField("x", "STRING"),)),
)
NUL_ROWS = pa.table(
    {
        "n": pa.array([0, 1, 2], pa.int64()),
        "t": ["a\0b", "c", None],
        "a": pa.array([["\0", "d"], [], ["e\0"]]),
        "j": ['{"k\\u0000": "\\u0000"}', '"\\\\u0000"', None],
        "s": pa.array([{"x": "\0\0"}, {"x": None}, None], pa.struct([("x", pa.string())])),
    }
)


@pytest.mark.parametrize(("policy", "put"), [("strip", ""), ("replace", "\ufffd")])
def test_u0000_is_taken_out_and_counted_by_column(policy: str, put: str, postgres_dsn: str) -> None:
    columns = map_columns(TABLE, NUL_FIELDS)
    with connected(postgres_dsn) as conn:
        counted = carry(conn, NUL_ROWS, columns, policy=NulBytes(policy))
        found = rows(conn)
    assert counted == {"t": 1, "a": 2, "j": 1, "s": 1}
    assert found == [
        (0, f"a{put}b", [put, "d"], {f"k{put}": put}, {"x": put * 2}),
        (1, "c", [], "\\u0000", {"x": None}),
        (2, None, [f"e{put}"], None, None),
    ]


@pytest.mark.parametrize("column", ["t", "a", "j", "s"])
def test_u0000_ends_the_run_unless_the_table_says_otherwise(column: str, postgres_dsn: str) -> None:
    fields = [f for f in NUL_FIELDS if f.name in ("n", column)]
    with connected(postgres_dsn) as conn, pytest.raises(MappingError) as refused:
        carry(conn, NUL_ROWS.select(["n", column]), map_columns(TABLE, fields))
    assert f"column {column}: U+0000 in" in str(refused.value)
    assert "nul_bytes: strip" in refused.value.way_out


def test_u0000_in_a_key_always_ends_the_run(postgres_dsn: str, tmp_path: Path) -> None:
    columns = map_columns(TABLE, NUL_FIELDS[:2])
    with connected(postgres_dsn) as conn, pytest.raises(MappingError, match="column t: U"):
        carry(
            conn,
            NUL_ROWS.select(["n", "t"]),
            columns,
            policy=NulBytes.STRIP,
            key=("t",),
        )


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (pa.list_(pa.struct([("x", pa.int64())])), "column s is list<"),
        (pa.struct([("y", pa.int64())]), "column s.x is missing in the shard"),
        (pa.struct([("x", pa.string())]), "column s.x (INT64) is string in the shard"),
        (pa.int64(), "column s is int64 in the shard, not a struct"),
    ],
    ids=str,
)
def test_a_nested_column_of_another_shape_is_refused(
    held: pa.DataType, says: str, postgres_dsn: str
) -> None:
    field = SourceField("s", "STRUCT", fields=(SourceField("x", "INT64"),))
    table = pa.table({"n": pa.array([1], pa.int64()), "s": pa.nulls(1, held)})
    with connected(postgres_dsn) as conn, pytest.raises(MappingError) as refused:
        carry(conn, table, map_columns(TABLE, (NUMBER, field)))
    assert says in str(refused.value)
