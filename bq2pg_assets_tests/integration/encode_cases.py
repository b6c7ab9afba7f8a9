"""Awkward values of every type: as Parquet holds them, and as PostgreSQL must say them.

Belongs here: data for test_encode_roundtrip.py. Does not: encoding, connections.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from bq2pg_assets.engine.model import SourceField

US = pa.timestamp("us")
NUMERIC, BIGNUMERIC = pa.decimal128(38, 9), pa.decimal256(76, 38)


@dataclass(frozen=True)
class Case:
    """What Parquet holds, and what PostgreSQL must say; ranges and intervals are read as text."""

    kind: str
    arrow: pa.DataType
    values: tuple[Any, ...]
    read: tuple[Any, ...] | None = None
    precision: tuple[int, int] | None = None

    @property
    def expected(self) -> list[Any]:
        return list(self.values if self.read is None else self.read)

    def field(self, mode: Any) -> SourceField:
        kind, _, element = self.kind.rstrip(">").partition("<")
        precision, scale = self.precision or (None, None)
        return SourceField("c", kind, mode, None, precision, scale, element or None)

    def __str__(self) -> str:
        return self.kind + (str(self.precision) if self.precision else "")


def _moments(zone: Any) -> tuple[datetime, ...]:
    return (
        datetime(1, 1, 1, tzinfo=zone),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=zone),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=zone),
        datetime(2000, 1, 1, tzinfo=zone),
        datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=zone),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=zone),
    )


def decimals(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for line in texts for text in line.split())


CASES = [
    Case("INT64", pa.int64(), (0, 1, -1, 2**63 - 1, -(2**63))),
    Case(
        "FLOAT64",
        pa.float64(),
        (0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, *map(float, ("nan", "inf", "-inf"))),
    ),
    Case(
        "NUMERIC",
        NUMERIC,
        decimals(
            "0 1 -1 -0.5 10000 0.0001 1234.5678 0.000000001 -0.000000001 -99999999.000000001",
            "99999999999999999999999999999.999999999 -99999999999999999999999999999.999999999",
        ),
    ),
    Case("NUMERIC", pa.decimal128(5, 2), decimals("0.05 -999.99"), precision=(5, 2)),
    Case(
        "BIGNUMERIC",
        BIGNUMERIC,
        decimals(
            "0 1 -1 -0.5 10000 -10000 100000000 0.0001 -0.00001 1234.5678",
            "0.00000000000000000000000000000000000001 -0.00000000000000000000000000000000000001",
            "12345678901234567890123456789012345678.12345678901234567890123456789012345678",
            "99999999999999999999999999999999999999.99999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999.99999999999999999999999999999999999999",
        ),
    ),
    Case(
        "BIGNUMERIC",
        pa.decimal256(40, 2),
        (Decimal("-12345678901234567890123456789012345678.90"),),
        precision=(40, 2),
    ),
    Case("BOOL", pa.bool_(), (True, False)),
    Case(
        "STRING",
        pa.string(),
        (
            *("", " ", "'", '"', "\\", "\\N", "\\.", "\t", "\n", "\r\n", "NULL", "{}", "{1,2}"),
            *("a,b", "🐘 and 🦆", "e\u0301", "\u202e", "\x01\x7f\ufeff", "x" * 100_000),
        ),
    ),
    Case("BYTES", pa.binary(), (b"", bytes(range(256)), b"\\x00", b"\0", b"\xff" * 10_000)),
    Case("DATE", pa.date32(), tuple(m.date() for m in _moments(None))),
    Case("TIME", pa.time64("us"), (time(0), time(12, 30), time(23, 59, 59, 999999))),
    Case("DATETIME", US, _moments(None)),
    Case("TIMESTAMP", US, _moments(None), _moments(UTC)),
    Case(
        "JSON",
        pa.string(),
        ('{"a": [1, null, "\\u00e9\\n\'"]}', "null", '""', "[]", "-1.5", '"\\\\N"'),
        ({"a": [1, None, "é\n'"]}, None, "", [], -1.5, "\\N"),
    ),
    Case("STRUCT", pa.string(), ('{"x": {"y": 1}}', "{}"), ({"x": {"y": 1}}, {})),
    Case("GEOGRAPHY", pa.string(), ("POINT(1 2)", "GEOMETRYCOLLECTION EMPTY")),
    Case(
        "INTERVAL",
        pa.string(),
        (
            *("0-0 0 0:0:0", "1-2 3 4:5:6", "-1-2 3 -4:5:6.789", "1-0 -30 0:0:0.000001"),
            *(
                "0-0 0 -0:0:0.000001",
                "10000-0 3660000 87840000:0:0",
                "-10000-0 -3660000 -87840000:0:0",
            ),
        ),
        (
            *("00:00:00", "1 year 2 mons 3 days 04:05:06"),
            *("-1 years -2 mons +3 days -04:05:06.789", "1 year -30 days +00:00:00.000001"),
            *("-00:00:00.000001", "10000 years 3660000 days 87840000:00:00"),
            "-10000 years -3660000 days -87840000:00:00",
        ),
    ),
    Case(
        "RANGE<DATE>",
        pa.string(),
        (
            *("[2024-01-01, 2024-12-31)", "[0001-01-01, 9999-12-31)", "[UNBOUNDED, 2024-01-01)"),
            *("[2024-01-01, UNBOUNDED)", "[UNBOUNDED, UNBOUNDED)"),
        ),
        (
            *("[2024-01-01,2024-12-31)", "[0001-01-01,9999-12-31)", "(,2024-01-01)"),
            *("[2024-01-01,)", "(,)"),
        ),
    ),
    Case(
        "RANGE<DATETIME>",
        pa.string(),
        ("[2024-01-01 00:00:00, 2024-01-01 12:30:15.123456)", "[UNBOUNDED, 9999-12-31 23:59:59.5)"),
        (
            '["2024-01-01 00:00:00","2024-01-01 12:30:15.123456")',
            '(,"9999-12-31 23:59:59.5")',
        ),
    ),
    Case(
        "RANGE<TIMESTAMP>",
        pa.string(),
        (
            "[2024-01-01 00:00:00+00, 2024-06-01 02:00:00.25+02)",
            "[0001-01-01 00:00:00+00, UNBOUNDED)",
        ),
        (
            '["2024-01-01 00:00:00+00","2024-06-01 00:00:00.25+00")',
            '["0001-01-01 00:00:00+00",)',
        ),
    ),
]
AS_TEXT = ("INTERVAL", "RANGE")
