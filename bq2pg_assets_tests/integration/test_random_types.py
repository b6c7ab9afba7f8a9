"""Random schemas and rows through a shard into PostgreSQL, compared value by value.

Guards exactness where nobody thought of a case. `make fuzz` runs the same with 2,000 examples.
The expected values are made here, row by row and in plain Python, from GoogleSQL's rules; the
engine works on whole columns.
"""

import base64
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.model import NulBytes, SourceField
from bq2pg_assets.engine.typemap import RULES, map_columns
from bq2pg_assets_tests.integration.test_shard_types import STAGE, TABLE, carry, connected

EXACT = 2**53
NUMBER = SourceField("n", "INT64", "REQUIRED")
US = pa.timestamp("us")
ARROW: dict[str, pa.DataType] = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": US,
    "TIMESTAMP": US,
}


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    largest = 10**digits - 1
    return st.integers(-largest, largest).map(
        lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -scale))
    )


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "FLOAT64": st.floats(),
    "NUMERIC": _decimals(38, 9),
    "BIGNUMERIC": _decimals(76, 38),
    "BOOL": st.booleans(),
    "STRING": st.text(max_size=20),
    "BYTES": st.binary(max_size=20),
    "DATE": st.dates(),
    "TIME": st.times(),
    "DATETIME": st.datetimes(),
    "TIMESTAMP": st.datetimes(),
}
leaves = st.sampled_from(sorted(VALUES))
modes: st.SearchStrategy[Any] = st.sampled_from(["NULLABLE", "REPEATED"])


def _struct(children: st.SearchStrategy[SourceField]) -> st.SearchStrategy[SourceField]:
    def named(inner: list[SourceField], mode: Any) -> SourceField:
        parts = (SourceField(f"f{n}", f.type, f.mode, fields=f.fields) for n, f in enumerate(inner))
        return SourceField("c", "STRUCT", mode, fields=tuple(parts))

    return st.builds(named, st.lists(children, min_size=1, max_size=3), modes)


fields = st.recursive(
    st.builds(lambda kind, mode: SourceField("c", kind, mode), leaves, modes),
    _struct,
    max_leaves=5,
)


def arrow_type(field: SourceField) -> pa.DataType:
    """As a BigQuery export lays the field out."""
    kind = (
        pa.struct([(f.name, arrow_type(f)) for f in field.fields])
        if field.type == "STRUCT"
        else ARROW[field.type]
    )
    return pa.list_(pa.field("element", kind)) if field.mode == "REPEATED" else kind


def values(field: SourceField) -> st.SearchStrategy[Any]:
    one: st.SearchStrategy[Any] = (
        st.fixed_dictionaries({f.name: values(f) for f in field.fields})
        if field.type == "STRUCT"
        else VALUES[field.type]
    )
    # BigQuery stores no NULL element and no NULL array.
    return st.lists(one, max_size=3) if field.mode == "REPEATED" else st.none() | one


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[SourceField, ...], list[dict[str, Any]]]:
    drawn = draw(st.lists(fields, min_size=1, max_size=4))
    named = tuple(
        SourceField(f"c{n}", f.type, f.mode, fields=f.fields) for n, f in enumerate(drawn)
    )
    row = st.fixed_dictionaries({f.name: values(f) for f in named})
    return named, draw(st.lists(row, min_size=1, max_size=10))


def document(value: Any, field: SourceField) -> Any:
    """What TO_JSON_STRING writes, read again: numbers as Decimal, everything else as it is."""
    if field.mode == "REPEATED":
        one = SourceField(field.name, field.type, fields=field.fields)
        return [document(v, one) for v in value]
    if value is None:
        return None
    if field.type == "STRUCT":
        return {f.name: document(value[f.name], f) for f in field.fields}
    return LEAF_DOCUMENTS[field.type](value)


def _float(value: float) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    short = "%.15g" % value  # noqa: UP031 - C's own format is the rule
    return Decimal(short if float(short) == value else "%.17g" % value)  # noqa: UP031


def _number(value: Decimal) -> Any:
    whole = value == value.to_integral_value()
    if whole and abs(value) <= EXACT:
        return Decimal(int(value))
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _second(text: str, micros: int) -> str:
    if not micros:
        return text
    return text + (f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}")


def _moment(value: datetime) -> str:
    return _second(value.replace(microsecond=0).isoformat(), value.microsecond)


LEAF_DOCUMENTS = {
    "INT64": lambda v: Decimal(v) if abs(v) <= EXACT else str(v),
    "FLOAT64": _float,
    "NUMERIC": _number,
    "BIGNUMERIC": _number,
    "BOOL": bool,
    "STRING": lambda v: v.replace("\0", "\ufffd"),
    "BYTES": lambda v: base64.b64encode(v).decode(),
    "DATE": date.isoformat,
    "TIME": lambda v: _second(v.replace(microsecond=0).isoformat(), v.microsecond),
    "DATETIME": _moment,
    "TIMESTAMP": lambda v: _moment(v) + "Z",
}


def scalar(value: Any, kind: str) -> Any:
    """What psycopg must read; floats as text, because NaN is never equal and -0.0 is 0.0."""
    if isinstance(value, list):
        return [scalar(v, kind) for v in value]
    if value is None:
        return None
    if kind == "FLOAT64":
        return repr(value)
    if kind == "STRING":
        return value.replace("\0", "\ufffd")
    return value.replace(tzinfo=UTC) if kind == "TIMESTAMP" else value


def expected(row: dict[str, Any], columns: tuple[SourceField, ...]) -> tuple[Any, ...]:
    return tuple(
        document(row[f.name], f) if f.type == "STRUCT" else scalar(row[f.name], f.type)
        for f in columns
    )


def read(conn: psycopg.Connection[Any], columns: tuple[SourceField, ...]) -> list[tuple[Any, ...]]:
    psycopg.types.json.set_json_loads(_loads, conn)
    found = conn.execute(
        postgres_sql.sql.SQL("SELECT * FROM {} ORDER BY n").format(postgres_sql.identifier(STAGE))
    ).fetchall()
    return [
        tuple(
            _floats(v) if f.type == "FLOAT64" else v for v, f in zip(row[1:], columns, strict=True)
        )
        for row in found
    ]


def _loads(data: str | bytes) -> Any:
    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(v) for v in value]
    return None if value is None else repr(value)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=tables())
def test_any_table_arrives_as_it_was(
    drawn: tuple[tuple[SourceField, ...], list[dict[str, Any]]], postgres_dsn: str
) -> None:
    columns, rows = drawn
    data = {f.name: pa.array([r[f.name] for r in rows], arrow_type(f)) for f in columns}
    table = pa.table({"n": pa.array(range(len(rows)), pa.int64()), **data})
    mapped = map_columns(TABLE, (NUMBER, *columns))
    with connected(postgres_dsn) as conn:
        carry(conn, table, mapped, policy=NulBytes.REPLACE)
        assert read(conn, columns) == [expected(row, columns) for row in rows]


def test_every_type_that_parquet_carries_takes_part() -> None:
    assert set(VALUES) == {k for k, r in RULES.items() if r.select == "{}"}


intervals = st.tuples(
    st.integers(-120_000, 120_000),
    st.integers(-3_660_000, 3_660_000),
    st.integers(-316_224_000_000_000_000, 316_224_000_000_000_000),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(intervals, min_size=1))
def test_any_interval_arrives_as_it_was(
    drawn: list[tuple[int, int, int]], postgres_dsn: str
) -> None:
    texts = [_as_bigquery_writes(*parts) for parts in drawn]
    columns = map_columns(TABLE, (NUMBER, SourceField("c", "INTERVAL")))
    with connected(postgres_dsn) as conn:
        table = pa.table({"n": pa.array(range(len(texts)), pa.int64()), "c": texts})
        carry(conn, table, columns)
        # As text their order of fields may hide a sign: the bytes do not.
        wanted = [
            conn.execute("SELECT interval_send(%s::interval)", [_as_postgresql_reads(*parts)])
            for parts in drawn
        ]
        found = conn.execute("SELECT interval_send(c) FROM stage ORDER BY n").fetchall()
        assert found == [one.fetchone() for one in wanted]


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    drawn=st.lists(st.tuples(st.none() | st.datetimes(), st.none() | st.datetimes()), min_size=1)
)
def test_any_range_of_timestamps_arrives_as_it_was(
    drawn: list[tuple[datetime | None, datetime | None]], postgres_dsn: str
) -> None:
    # BigQuery has no empty range: its start is before its end.
    bounds = [(a, b) for a, b in drawn if a is None or b is None or a < b]
    texts = [f"[{_bound(a)}, {_bound(b)})" for a, b in bounds]
    field = SourceField("c", "RANGE", range_element="TIMESTAMP")
    with connected(postgres_dsn) as conn:
        table = pa.table(
            {"n": pa.array(range(len(texts)), pa.int64()), "c": pa.array(texts, pa.string())}
        )
        carry(conn, table, map_columns(TABLE, (NUMBER, field)))
        found = conn.execute("SELECT lower(c), upper(c) FROM stage ORDER BY n").fetchall()
    assert found == [tuple(v and v.replace(tzinfo=UTC) for v in pair) for pair in bounds]


def _bound(value: datetime | None) -> str:
    return "UNBOUNDED" if value is None else f"{value.isoformat(sep=' ')}+00"


def _as_bigquery_writes(months: int, days: int, micros: int) -> str:
    seconds, fraction = divmod(abs(micros), 1_000_000)
    years, rest = divmod(abs(months), 12)
    clock = f"{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
    clock += f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{'-' * (months < 0)}{years}-{rest} {days} {'-' * (micros < 0)}{clock}"


def _as_postgresql_reads(months: int, days: int, micros: int) -> str:
    return f"{months} months {days} days {micros} microseconds"
