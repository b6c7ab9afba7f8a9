"""Every type through the encoder into a real PostgreSQL and back, value by value.

Guards exactness: COPY BINARY does not check that bytes fit their column, so only the server can say
that they do. Each case is a Parquet file with the schema that BigQuery's own exports have
(timestamps without zone in microseconds, `list<element>`, decimal256(76, 38)), in small row groups.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.encode import Encoder
from bq2pg_assets.engine.model import Shard, SourceField, TargetName
from bq2pg_assets.engine.postgres import CopySink, PostgresTarget
from bq2pg_assets.engine.shards import ParquetShard
from bq2pg_assets.engine.typemap import RULES, map_columns
from bq2pg_assets_tests.integration.encode_cases import AS_TEXT, BIGNUMERIC, CASES, Case
from bq2pg_assets_tests.unit.plans import a_plan

TABLE = TableConfig.model_validate({"name": "t", "source": "d.t"})
STAGE = TargetName("public", "stage")


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with PostgresTarget(dsn).connection(name="test") as conn:
        yield conn


def _carry(
    conn: psycopg.Connection[Any], table: pa.Table, *fields: SourceField, folder: Path
) -> None:
    """The table as a Parquet file, encoded and copied into a staging table."""
    path = folder / "shard.parquet"
    pq.write_table(table, path, row_group_size=3, compression="snappy")
    columns = map_columns(TABLE, fields)
    for statement in postgres_sql.create_stage(a_plan(columns=columns), STAGE):
        conn.execute(statement)
    with pq.ParquetFile(path, pre_buffer=False) as reader:
        shard = ParquetShard(Shard("gs://b/x", 1, 1), reader)
        encoder = Encoder(columns, shard.schema, where="table t")
        pieces = (piece for piece, _ in encoder.stream(shard.batches([c.source for c in columns])))
        sink = CopySink(conn, postgres_sql.copy_in(STAGE, columns), where="x", cancel=CancelToken())
        assert sink.copy(pieces) == table.num_rows


def _read(conn: psycopg.Connection[Any], cast: str = "") -> list[Any]:
    statement = sql.SQL("SELECT c{} FROM {} ORDER BY n").format(
        sql.SQL(cast), postgres_sql.identifier(STAGE)
    )
    return [row[0] for row in conn.execute(statement)]


def _comparable(value: Any) -> Any:
    """Where == is too kind (0.0 and -0.0) or never true (NaN)."""
    if isinstance(value, list):
        return [_comparable(v) for v in value]
    return repr(value) if isinstance(value, float) else value


NUMBER = SourceField("n", "INT64", "REQUIRED")


def test_every_type_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_value_arrives_as_it_was(case: Case, postgres_dsn: str, tmp_path: Path) -> None:
    values = [*case.values, None]
    table = pa.table({"n": range(len(values)), "c": pa.array(values, case.arrow)})
    with _connected(postgres_dsn) as conn:
        _carry(conn, table, NUMBER, case.field("NULLABLE"), folder=tmp_path)
        found = _read(conn, "::text" if case.kind.startswith(AS_TEXT) else "")
    assert _comparable(found) == _comparable([*case.expected, None])


@pytest.mark.parametrize("case", [c for c in CASES if RULES[c.kind].array], ids=str)
def test_an_array_arrives_as_it_was(case: Case, postgres_dsn: str, tmp_path: Path) -> None:
    first, all_ = case.values[0], list(case.values)
    lists = [all_, [], [first], None, [None, first, None], [], all_[::-1]]
    read = case.expected
    expected = [read, [], [read[0]], None, [None, read[0], None], [], read[::-1]]
    kind = pa.list_(pa.field("element", case.arrow))
    table = pa.table({"n": range(len(lists)), "c": pa.array(lists, kind)})
    with _connected(postgres_dsn) as conn:
        _carry(conn, table, NUMBER, case.field("REPEATED"), folder=tmp_path)
        found = _read(conn, "::text[]" if case.kind.startswith(AS_TEXT) else "")
        dimensions = conn.execute("SELECT array_ndims(c), array_lower(c, 1) FROM stage WHERE n = 0")
        assert dimensions.fetchone() == (1, 1)
    assert _comparable(found) == _comparable(expected)


@pytest.mark.parametrize("kind", ["JSON", "STRUCT"])
def test_an_array_of_documents_is_one_document(
    kind: str, postgres_dsn: str, tmp_path: Path
) -> None:
    table = pa.table({"n": [0, 1], "c": ['[{"a": 1}, null]', "[]"]})
    with _connected(postgres_dsn) as conn:
        _carry(conn, table, NUMBER, SourceField("c", kind, "REPEATED"), folder=tmp_path)
        assert _read(conn) == [[{"a": 1}, None], []]


def test_rows_of_many_batches_stay_together(postgres_dsn: str, tmp_path: Path) -> None:
    count = 20_000
    data = {
        "n": pa.array(range(count), pa.int64()),
        "c": pa.array([None if n % 7 == 0 else f"text {n}" for n in range(count)]),
        "l": pa.array([list(range(n % 4)) for n in range(count)], pa.list_(pa.int64())),
        "d": pa.array([[Decimal(n)] * (n % 3) for n in range(count)], pa.list_(BIGNUMERIC)),
    }
    fields = (
        NUMBER,
        SourceField("c", "STRING"),
        SourceField("l", "INT64", "REPEATED"),
        SourceField("d", "BIGNUMERIC", "REPEATED"),
    )
    with _connected(postgres_dsn) as conn:
        _carry(conn, pa.table(data), *fields, folder=tmp_path)
        found = conn.execute("SELECT n, c, l, d FROM stage ORDER BY n").fetchall()
    assert found == list(zip(*(column.to_pylist() for column in data.values()), strict=True))


many = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
bignumerics = st.integers(-(10**76) + 1, 10**76 - 1).map(
    lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -38))
)
intervals = st.tuples(
    st.integers(-120_000, 120_000),
    st.integers(-3_660_000, 3_660_000),
    st.integers(-316_224_000_000_000_000, 316_224_000_000_000_000),
)


def _again(
    conn: psycopg.Connection[Any], table: pa.Table, *fields: SourceField, folder: Path
) -> None:
    conn.execute(postgres_sql.drop(STAGE))
    _carry(conn, table, *fields, folder=folder)


@many
@given(lists=st.lists(st.none() | st.lists(st.none() | bignumerics, max_size=4), min_size=1))
def test_any_array_of_bignumerics_arrives_as_it_was(
    lists: list[Any], postgres_dsn: str, tmp_path: Path
) -> None:
    kind = pa.list_(pa.field("element", BIGNUMERIC))
    table = pa.table({"n": range(len(lists)), "c": pa.array(lists, kind)})
    with _connected(postgres_dsn) as conn:
        _again(conn, table, NUMBER, SourceField("c", "BIGNUMERIC", "REPEATED"), folder=tmp_path)
        assert _read(conn) == lists


@many
@given(values=st.lists(intervals, min_size=1))
def test_any_interval_arrives_as_it_was(
    values: list[tuple[int, int, int]], postgres_dsn: str, tmp_path: Path
) -> None:
    table = pa.table({"n": range(len(values)), "c": [_as_bigquery_writes(*v) for v in values]})
    with _connected(postgres_dsn) as conn:
        _again(conn, table, NUMBER, SourceField("c", "INTERVAL"), folder=tmp_path)
        wanted = [
            conn.execute(
                "SELECT interval_send(%s::interval)", [_as_postgresql_reads(*v)]
            ).fetchone()
            for v in values
        ]
        found = conn.execute("SELECT interval_send(c) FROM stage ORDER BY n").fetchall()
    assert found == wanted


def _as_bigquery_writes(months: int, days: int, micros: int) -> str:
    seconds, fraction = divmod(abs(micros), 1_000_000)
    years, rest = divmod(abs(months), 12)
    clock = f"{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
    clock += f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{'-' * (months < 0)}{years}-{rest} {days} {'-' * (micros < 0)}{clock}"


def _as_postgresql_reads(months: int, days: int, micros: int) -> str:
    return f"{months} months {days} days {micros} microseconds"
