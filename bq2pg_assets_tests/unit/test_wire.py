"""Bytes of the types whose wire form bq2pg computes itself.

Belongs here: golden bytes, taken from PostgreSQL's own send functions (numeric_send,
interval_send, range_send, array_send), and columns at random against the plain way of writing one
value (slow_wire.py). Does not: a server; integration/test_shard_types.py sends the same forms.
"""

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq2pg_assets.engine import wire
from bq2pg_assets_tests import slow_wire

EXACT = Context(prec=100)
NUMERIC, BIGNUMERIC = pa.decimal128(38, 9), pa.decimal256(76, 38)


def encoded(name: str, values: list[Any], kind: pa.DataType) -> list[bytes | None]:
    found: list[bytes | None] = wire.FORMS[name].encode(pa.array(values, kind)).to_pylist()
    return found


def alone(name: str, value: Any, kind: pa.DataType = pa.string()) -> bytes | None:  # noqa: B008
    [found] = encoded(name, [value], kind)
    return found


def meant(data: bytes | None) -> tuple[Decimal, int] | None:
    """What numeric_recv reads: the value and its scale."""
    if data is None:
        return None
    count, weight, sign, scale = struct.unpack_from(">hhHH", data)
    groups = struct.unpack(f">{count}h", data[8:])
    digits = tuple(int(c) for group in groups for c in f"{group:04d}")
    value = Decimal((0, digits or (0,), 4 * (weight - count + 1)))
    return value.copy_negate() if sign and value else value, scale


@pytest.mark.parametrize("kind", [NUMERIC, BIGNUMERIC], ids=str)
@pytest.mark.parametrize(
    ("value", "golden"),
    [
        ("0", "0001 0000 0000 0000 0000"),
        ("1", "0001 0000 0000 0000 0001"),
        ("-1", "0001 0000 4000 0000 0001"),
        ("9999", "0001 0000 0000 0000 270f"),
        ("10000", "0001 0001 0000 0000 0001"),
        ("100000000", "0001 0002 0000 0000 0001"),
        ("0.5", "0001 ffff 0000 0001 1388"),
        ("-0.0001", "0001 ffff 4000 0004 0001"),
        ("0.00001", "0001 fffe 0000 0005 03e8"),
        ("1234.5678", "0002 0000 0000 0004 04d2 162e"),
        ("1.500000", "0002 0000 0000 0001 0001 1388"),
        ("10000.0001", "0003 0001 0000 0004 0001 0000 0001"),
    ],
)
def test_a_numeric_is_its_digits_in_base_10000(value: str, golden: str, kind: pa.DataType) -> None:
    assert alone("numeric", Decimal(value), kind) == bytes.fromhex(golden)


@pytest.mark.parametrize("scale", [0, 1, 9, 38])
@pytest.mark.parametrize("bits", [128, 256])
@given(data=st.data())
def test_any_column_of_numerics_is_what_it_was(bits: int, scale: int, data: st.DataObject) -> None:
    most = 10 ** (38 if bits == 128 else 76) - 1
    kind = pa.decimal128(38, scale) if bits == 128 else pa.decimal256(76, scale)
    unscaled = data.draw(st.lists(st.none() | st.integers(-most, most) | st.integers(-99, 99)))
    values = [None if n is None else Decimal(n).scaleb(-scale, EXACT) for n in unscaled]
    array = pa.array([None, *values, None], kind)[1:-1]
    found = [meant(one) for one in wire.numeric(array).to_pylist()]
    plain = [None if v is None else meant(slow_wire.numeric(v)) for v in values]
    assert found == plain


def test_the_widest_bignumeric_loses_no_digit() -> None:
    # 2 ** 255 / 10 ** 38: a digit more than Arrow's precision tells.
    text = "578960446186580977117854925043439539266.34992332820282019728792003956564819967"
    data = (2**255 - 1).to_bytes(32, "little")
    array = pa.Array.from_buffers(BIGNUMERIC, 1, [None, pa.py_buffer(data)])
    assert meant(wire.numeric(array)[0].as_py()) == (Decimal(text), 38)


@pytest.mark.parametrize(
    ("text", "micros", "days", "months"),
    [
        ("0-0 0 0:0:0", 0, 0, 0),
        ("1-2 3 4:5:6.789", 14_706_789_000, 3, 14),
        ("-1-2 3 -4:5:6.789", -14_706_789_000, 3, -14),
        ("0-0 -3 0:0:0.000001", 1, -3, 0),
        ("0-11 0 -0:0:0.5", -500_000, 0, 11),
        ("10000-0 3660000 87840000:0:0", 316_224_000_000_000_000, 3_660_000, 120_000),
    ],
)
def test_an_interval_keeps_the_sign_of_each_part(
    text: str, micros: int, days: int, months: int
) -> None:
    assert alone("interval", text) == struct.pack(">qii", micros, days, months)


@pytest.mark.parametrize("text", ["", "P1Y", "1-2 3", "1-2 3 4:5:6.1234567", "x", "1 day"])
def test_what_bigquery_never_writes_is_no_interval(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text!r} is not an INTERVAL as BigQuery writes it"):
        encoded("interval", ["0-0 0 0:0:0", text, None], pa.string())


@pytest.mark.parametrize(
    ("text", "days"),
    [("2000-01-01", 0), ("2000-01-02", 1), ("1999-12-31", -1), ("9999-12-31", 2921939)],
)
def test_a_day_is_counted_from_2000(text: str, days: int) -> None:
    assert wire.days_of(pa.array([text])).tobytes() == struct.pack(">i", days)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2000-01-01 00:00:00+00", 0),
        ("2000-01-01 00:00:00", 0),
        ("2000-01-01 00:00:00.000001+00", 1),
        ("2000-01-01 02:00:00+02", 0),
        ("2000-01-01 00:00:00-05:30", 19_800_000_000),
        ("1999-12-31T23:59:59.5", -500_000),
        ("2000-01-01 00:00:00.5", 500_000),
        ("0001-01-01 00:00:00Z", -63_082_281_600_000_000),
    ],
)
def test_a_moment_is_counted_from_2000_in_utc(text: str, micros: int) -> None:
    zone = "UTC" if text.endswith("Z") or text[-3] in "+-" or text[-6] in "+-" else None
    assert wire.moments_of(zone)(pa.array([text])).tobytes() == struct.pack(">q", micros)


def test_a_timestamp_without_zone_is_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=45))
    aware = datetime(2000, 1, 1, 5, 45, tzinfo=east)
    naive = datetime(2000, 1, 1)  # noqa: DTZ001 - as Parquet holds it
    for value, kind in ((aware, pa.timestamp("us", "UTC")), (naive, pa.timestamp("us"))):
        assert alone("timestamptz", value, kind) == bytes(8)


@pytest.mark.parametrize(
    ("text", "golden"),
    [
        ("[2000-01-01, 2000-01-03)", "02 00000004 00000000 00000004 00000002"),
        ("[UNBOUNDED, 2000-01-03)", "08 00000004 00000002"),
        ("[2000-01-01, UNBOUNDED)", "12 00000004 00000000"),
        ("[UNBOUNDED, UNBOUNDED)", "18"),
        ("[NULL, NULL)", "18"),
    ],
)
def test_a_range_holds_its_flags_and_its_closed_bounds(text: str, golden: str) -> None:
    assert alone("daterange", text) == bytes.fromhex(golden)


@pytest.mark.parametrize("text", ["", "2000-01-01", "[x, y)", "[2000-01-01, 2000-13-01)"])
def test_what_bigquery_never_writes_is_no_range(text: str) -> None:
    for name in ("daterange", "tsrange", "tstzrange"):
        with pytest.raises(ValueError, match=r"as BigQuery writes it|Failed to parse"):
            alone(name, text)


days = st.dates(date(1, 1, 1), date(9999, 12, 31)).map(date.isoformat)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(str)  # noqa: DTZ001
zoned = st.tuples(moments, st.sampled_from(["+00", "Z", "+02", "-05:30"])).map("".join)


def ranges(bounds: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    bound = bounds | st.just("UNBOUNDED")
    return st.tuples(bound, bound).map(lambda b: f"[{b[0]}, {b[1]})")


number = st.integers(0, 9999)
interval = st.builds(
    "{}{}-{} {} {}{}:{}:{}{}".format,
    *(st.sampled_from(["", "-"]), number, st.integers(0, 11), st.integers(-3_660_000, 3_660_000)),
    *(st.sampled_from(["", "-"]), st.integers(0, 87_840_000), st.integers(0, 59)),
    *(st.integers(0, 59), st.sampled_from(["", ".5", ".000001", ".123456", ".10"])),
)
TEXTS: list[tuple[str, st.SearchStrategy[str], Callable[[Any], bytes]]] = [
    ("interval", interval, slow_wire.interval),
    ("daterange", ranges(days), slow_wire.range_of(slow_wire.day)),
    ("tsrange", ranges(moments), slow_wire.range_of(slow_wire.moment)),
    ("tstzrange", ranges(zoned), slow_wire.range_of(slow_wire.moment)),
]


@pytest.mark.parametrize(
    ("name", "texts", "plain"), TEXTS, ids=lambda v: v if v in wire.FORMS else ""
)
@given(data=st.data())
def test_any_column_is_written_as_its_values_are(
    name: str,
    texts: st.SearchStrategy[str],
    plain: Callable[[Any], bytes],
    data: st.DataObject,
) -> None:
    values = data.draw(st.lists(st.none() | texts))
    array = pa.array([None, *values, "x"], pa.string())[1:-1]
    expected = [None if v is None else plain(v) for v in values]
    assert wire.FORMS[name].encode(array).to_pylist() == expected
    lists = data.draw(st.lists(st.none() | st.lists(st.none() | texts)))
    nested = pa.array([["x"], *lists, None], pa.list_(pa.string()))[1:-1]
    oid = wire.FORMS[name].oid
    framed = [None if one is None else an_array(one, oid, plain) for one in lists]
    assert wire.array_of(name)(nested).to_pylist() == framed


def an_array(values: list[Any], oid: int, plain: Callable[[Any], bytes]) -> bytes:
    if not values:
        return struct.pack(">iiI", 0, 0, oid)
    out = struct.pack(">iiIii", 1, int(None in values), oid, len(values), 1)
    for value in values:
        data = None if value is None else plain(value)
        out += struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    return out


@pytest.mark.parametrize(
    ("values", "golden"),
    [
        ([], "00000000 00000000 000006a4"),
        (
            [Decimal(1)],
            "00000001 00000000 000006a4 00000001 00000001 0000000a 00010000000000000001",
        ),
        ([None], "00000001 00000001 000006a4 00000001 00000001 ffffffff"),
    ],
)
def test_an_array_tells_its_dimensions_its_nulls_and_its_elements(
    values: list[Decimal | None], golden: str
) -> None:
    array = pa.array([values, None], pa.list_(BIGNUMERIC))
    assert wire.array_of("numeric")(array).to_pylist() == [bytes.fromhex(golden), None]


def test_what_lies_behind_a_null_array_is_left_out() -> None:
    values = pa.array([Decimal(1), Decimal(2), Decimal(3)], BIGNUMERIC)
    offsets, there = pa.array([0, 1, 2, 3], pa.int32()), pa.array([False, True, False])
    array = pa.ListArray.from_arrays(offsets, values, mask=there)
    first, second, third = wire.array_of("numeric")(array).to_pylist()
    assert second is None
    assert [first[-2:], third[-2:]] == [b"\0\1", b"\0\3"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("numeric", BIGNUMERIC),
        ("timestamptz", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in ("interval", "daterange", "tsrange", "tstzrange")),
    ],
)
def test_every_form_keeps_null_and_takes_no_value_at_all(name: str, kind: pa.DataType) -> None:
    assert alone(name, None, kind) is None
    assert encoded(name, [], kind) == []
    lists = pa.array([[], None, [None]], pa.list_(kind))
    assert [one if one is None else len(one) for one in wire.array_of(name)(lists).to_pylist()] == [
        12,
        None,
        24,
    ]


def test_every_form_is_tried() -> None:
    assert set(wire.FORMS) == {"numeric", "timestamptz", *(name for name, _, _ in TEXTS)}
    assert datetime(2000, 1, 1, tzinfo=UTC) == slow_wire.EPOCH
