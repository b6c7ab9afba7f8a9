"""The wire form of one value, written the plain way, to compare engine/wire.py with.

Belongs here: bytes of single values as PostgreSQL's receive functions read them. Does not: tests.
"""

import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

EPOCH_DAY = date(2000, 1, 1)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
INTERVAL = re.compile(
    r"^(?P<ysign>-?)(?P<years>\d+)-(?P<months>\d+) (?P<days>-?\d+) "
    r"(?P<tsign>-?)(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,6}))?$"
)
LOWER_INCLUSIVE, LOWER_OPEN, UPPER_OPEN = 0x02, 0x08, 0x10


def numeric(value: object) -> bytes:
    """numeric_recv: digits in base 10,000, the weight of the first, the sign, the scale.

    Trailing zeros of the fraction are left out: Parquet's scale is the column's, not the value's.
    """
    assert isinstance(value, Decimal)
    sign = value.is_signed()
    # copy_abs, because abs() rounds to the context's 28 digits.
    whole, _, fraction = f"{value.copy_abs():f}".partition(".")
    fraction = fraction.rstrip("0")
    scale = len(fraction)
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    fraction = fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int((whole + fraction)[i : i + 4]) for i in range(0, len(whole + fraction), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    head = struct.pack(
        ">hhHH", len(groups), weight if groups else 0, 0x4000 if sign and groups else 0, scale
    )
    return head + struct.pack(f">{len(groups)}h", *groups)


def interval(value: object) -> bytes:
    """interval_recv: microseconds, days, months. From BigQuery's text `Y-M D H:M:S.F`."""
    match = INTERVAL.match(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not an INTERVAL as BigQuery writes it")
    months = int(match["years"]) * 12 + int(match["months"])
    seconds = (int(match["hours"]) * 60 + int(match["minutes"])) * 60 + int(match["seconds"])
    micros = seconds * 1_000_000 + int((match["fraction"] or "0").ljust(6, "0"))
    return struct.pack(
        ">qii",
        -micros if match["tsign"] else micros,
        int(match["days"]),
        -months if match["ysign"] else months,
    )


def day(text: str) -> bytes:
    """date_recv: days since 2000-01-01."""
    return struct.pack(">i", (date.fromisoformat(text) - EPOCH_DAY).days)


def moment(text: str) -> bytes:
    """timestamp_recv and timestamptz_recv: microseconds since 2000-01-01, in UTC."""
    parsed = datetime.fromisoformat(text)
    return micros((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC))


def micros(value: object) -> bytes:
    """A datetime as microseconds since 2000-01-01; one without zone is UTC."""
    assert isinstance(value, datetime)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return struct.pack(">q", (aware - EPOCH) // timedelta(microseconds=1))


def range_of(bound: Callable[[str], bytes]) -> Callable[[object], bytes]:
    """range_recv: flags, then each bound that is not open. From BigQuery's `[low, high)`."""

    def encode(value: object) -> bytes:
        low, _, high = str(value).strip("[)").partition(", ")
        flags, body = LOWER_INCLUSIVE, b""
        for text, flag in ((low, LOWER_OPEN), (high, UPPER_OPEN)):
            if text in ("", "UNBOUNDED", "NULL"):
                flags = (flags | flag) & ~(LOWER_INCLUSIVE if flag == LOWER_OPEN else 0)
            else:
                data = bound(text)
                body += struct.pack(">i", len(data)) + data
        return struct.pack(">B", flags) + body

    return encode
