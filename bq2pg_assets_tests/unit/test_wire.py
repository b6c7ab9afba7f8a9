"""Golden bytes of the types whose wire form bq2pg computes itself.

The bytes were taken from PostgreSQL's own send functions (numeric_send, interval_send, range_send,
array_send); integration/test_shard_types.py sends the same forms to a real server.
"""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pyarrow as pa
import pytest

from bq2pg_assets.engine import wire


@pytest.mark.parametrize(
    ("value", "golden"),
    [
        ("0", "0000 0000 0000 0000"),
        ("-0", "0000 0000 0000 0000"),
        ("0.00", "0000 0000 0000 0000"),
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
        ("1E+4", "0001 0001 0000 0000 0001"),
    ],
)
def test_a_numeric_is_its_digits_in_base_10000(value: str, golden: str) -> None:
    assert wire.numeric(Decimal(value)) == bytes.fromhex(golden)


def test_no_digit_is_lost_whatever_the_decimal_context_rounds_to() -> None:
    wide = Decimal("-" + "12345678" * 4 + "." + "8765" * 9)
    with localcontext() as context:
        context.prec = 3
        digits = wire.numeric(wide)[8:]
    assert digits == bytes.fromhex("04d2162e" * 4 + "223d" * 9)


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
    encoded = wire.interval(text)
    assert encoded[:8] == micros.to_bytes(8, "big", signed=True)
    assert encoded[8:12] == days.to_bytes(4, "big", signed=True)
    assert encoded[12:] == months.to_bytes(4, "big", signed=True)


@pytest.mark.parametrize("text", ["", "P1Y", "1-2 3", "1-2 3 4:5:6.1234567", "x", "1 day"])
def test_what_bigquery_never_writes_is_no_interval(text: str) -> None:
    with pytest.raises(ValueError, match="is not an INTERVAL as BigQuery writes it"):
        wire.interval(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [("2000-01-01", 0), ("2000-01-02", 1), ("1999-12-31", -1), ("9999-12-31", 2921939)],
)
def test_a_day_is_counted_from_2000(text: str, days: int) -> None:
    assert wire.day(text) == days.to_bytes(4, "big", signed=True)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2000-01-01 00:00:00", 0),
        ("2000-01-01 00:00:00.000001+00", 1),
        ("2000-01-01 02:00:00+02", 0),
        ("1999-12-31T23:59:59.5", -500_000),
        ("2000-01-01 00:00:00.5", 500_000),
    ],
)
def test_a_moment_is_counted_from_2000_in_utc(text: str, micros: int) -> None:
    assert wire.moment(text) == micros.to_bytes(8, "big", signed=True)


def test_a_timestamp_without_zone_is_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=45))
    aware = datetime(2000, 1, 1, 5, 45, tzinfo=east)
    naive = datetime(2000, 1, 1)  # noqa: DTZ001 - as Parquet holds it
    assert wire.micros(aware) == wire.micros(naive) == wire.micros(naive.replace(tzinfo=UTC))


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
    assert wire.FORMS["daterange"].value(text) == bytes.fromhex(golden)


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
    array = pa.array([values, None], pa.list_(pa.decimal256(76, 38)))
    encoded = wire.array_of("numeric")(array).to_pylist()
    assert encoded == [bytes.fromhex(golden), None]


def test_every_form_keeps_null() -> None:
    for name, form in wire.FORMS.items():
        assert form.encode(pa.array([None], pa.string())).to_pylist() == [None], name
