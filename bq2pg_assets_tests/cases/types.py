"""The golden values: of every BigQuery type the smallest, the largest and the awkward ones.

Belongs here: what BigQuery is told, what Parquet holds, what PostgreSQL must say, alone and inside
jsonb. Does not: carrying them (integration/test_types.py), showing them (types_page.py), which
writes docs/types.md from this file.

`pg` is PostgreSQL's own text of the value, `nested` the jsonb it becomes inside a STRUCT; both
are written by hand from PostgreSQL's and GoogleSQL's documentation, never taken from a run.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from bq2pg_assets.engine.model import SourceField

US = pa.timestamp("us")


@dataclass(frozen=True)
class Value:
    """One value on its way. `emulated` is False where the emulator cannot hold it: it then enters
    as the shard that BigQuery would write."""

    label: str
    sql: str
    arrow: Any
    pg: str
    nested: str | None = None
    emulated: bool = True


@dataclass(frozen=True)
class Type:
    """A BigQuery type with its values, and the types it becomes, alone and in an ARRAY.

    `arrow` is what an export holds of it: of the bare column where Parquet carries one, otherwise
    of the text that the export SELECT makes of it. `in_struct` is False where its value inside a
    STRUCT is whatever TO_JSON_STRING writes, and is not proved here.
    """

    name: str
    pg: str
    pg_array: str
    arrow: pa.DataType
    values: tuple[Value, ...]
    in_struct: bool = True
    precision: tuple[int, int] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def rule(self) -> str:
        """The row of typemap.RULES."""
        return self.name.partition("(")[0]

    def field(self, name: str, mode: Any = "NULLABLE") -> SourceField:
        """The field as BigQuery describes it."""
        kind, _, element = self.rule.rstrip(">").partition("<")
        precision, scale = self.precision or (None, None)
        return SourceField(name, kind, mode, None, precision, scale, element or None)


def _moment(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - Parquet's have no zone


def _numbers(kind: str, *texts: str, emulated: bool = True) -> Iterator[Value]:
    """Decimals: BigQuery and PostgreSQL spell them alike; jsonb holds wide ones as strings."""
    for text in texts:
        number = Decimal(text)
        wide = number != number.to_integral_value() or abs(number) > 2**53
        yield Value(
            text if len(text) < 30 else f"{len(text.strip('-').replace('.', ''))} digits",
            f"{kind} '{text}'",
            number,
            text,
            f'"{text}"' if wide else text,
            emulated,
        )


def _text(label: str, value: str, sql: str | None = None, nested: str | None = None) -> Value:
    """A STRING, by default written as a GoogleSQL literal with escapes."""
    escaped = "".join(f"\\U{ord(c):08x}" for c in value)
    return Value(label, sql or f"'{escaped}'", value, value, nested)


def _with_scale(scale: int, *texts: str, emulated: bool = True) -> Iterator[Value]:
    """NUMERICs of a fixed scale, which PostgreSQL writes in full."""
    for value in _numbers("NUMERIC", *texts, emulated=emulated):
        yield Value(
            value.label,
            value.sql,
            value.arrow,
            f"{value.arrow:.{scale}f}",
            value.nested,
            value.emulated,
        )


NINES = "9" * 38 + "." + "9" * 38
LONG_TEXT = "x" * 10_000_000

TYPES = (
    Type(
        "INT64",
        "bigint",
        "bigint[]",
        pa.int64(),
        (
            Value("smallest", "-9223372036854775808", -(2**63), str(-(2**63)), f'"{-(2**63)}"'),
            Value("largest", "9223372036854775807", 2**63 - 1, str(2**63 - 1), f'"{2**63 - 1}"'),
            Value("zero", "0", 0, "0", "0"),
            Value("2^53", "9007199254740992", 2**53, str(2**53), str(2**53)),
            Value("2^53 + 1", "9007199254740993", 2**53 + 1, str(2**53 + 1), f'"{2**53 + 1}"'),
            Value(
                "-2^53 - 1",
                "-9007199254740993",
                -(2**53) - 1,
                str(-(2**53) - 1),
                f'"{-(2**53) - 1}"',
            ),
        ),
    ),
    Type(
        "FLOAT64",
        "double precision",
        "double precision[]",
        pa.float64(),
        (
            Value(
                "smallest",
                "-1.7976931348623157e308",
                -1.7976931348623157e308,
                "-1.7976931348623157e+308",
                "-" + "17976931348623157" + "0" * 292,
            ),
            Value(
                "largest",
                "1.7976931348623157e308",
                1.7976931348623157e308,
                "1.7976931348623157e+308",
                "17976931348623157" + "0" * 292,
            ),
            Value("-0.0", "CAST('-0' AS FLOAT64)", -0.0, "-0", "0"),
            Value("NaN", "CAST('NaN' AS FLOAT64)", float("nan"), "NaN", '"NaN"'),
            Value("Infinity", "CAST('inf' AS FLOAT64)", float("inf"), "Infinity", '"Infinity"'),
            Value(
                "-Infinity", "CAST('-inf' AS FLOAT64)", float("-inf"), "-Infinity", '"-Infinity"'
            ),
            Value("denormal", "5e-324", 5e-324, "5e-324", "0." + "0" * 323 + "494065645841247"),
            Value(
                "0.1 + 0.2",
                "0.30000000000000004",
                0.1 + 0.2,
                "0.30000000000000004",
                "0.30000000000000004",
            ),
            Value("0.1", "0.1", 0.1, "0.1", "0.1"),
            Value("whole", "CAST(1 AS FLOAT64)", 1.0, "1", "1"),
        ),
    ),
    Type(
        "NUMERIC",
        "numeric(38,9)",
        "numeric(38,9)[]",
        pa.decimal128(38, 9),
        tuple(
            _with_scale(
                9,
                "-99999999999999999999999999999.999999999",
                "99999999999999999999999999999.999999999",
                "0",
                "0.000000001",
                "-0.000000001",
                "1.5",
                "10000",
                "9007199254740993",
            )
        ),
    ),
    Type(
        "NUMERIC(10, 2)",
        "numeric(10,2)",
        "numeric(10,2)[]",
        pa.decimal128(10, 2),
        tuple(
            # The emulator forgets the precision of an array's elements.
            _with_scale(2, "-99999999.99", "99999999.99", "0.05", emulated=False)
        ),
        precision=(10, 2),
    ),
    Type(
        "BIGNUMERIC",
        "numeric",
        "numeric[]",
        pa.decimal256(76, 38),
        (
            *_numbers("BIGNUMERIC", f"-{NINES}", NINES, emulated=False),
            *_numbers("BIGNUMERIC", "0." + "0" * 37 + "1", "-0." + "0" * 37 + "1", emulated=False),
            *_numbers("BIGNUMERIC", "0", "-1", "10000", "1234.5678", "9007199254740993"),
            *_numbers("BIGNUMERIC", "12345678901234567890.123456789012345678"),
        ),
    ),
    Type(
        "BOOL",
        "boolean",
        "boolean[]",
        pa.bool_(),
        (
            Value("true", "TRUE", True, "true", "true"),
            Value("false", "FALSE", False, "false", "false"),
        ),
    ),
    Type(
        "STRING",
        "text",
        "text[]",
        pa.string(),
        (
            _text("empty", "", "''", '""'),
            _text("blank", " ", nested='" "'),
            _text("quotes", "'\"`", nested='"\'\\"`"'),
            _text("backslash", "\\", nested='"\\\\"'),
            _text("\\N, COPY's NULL", "\\N", nested='"\\\\N"'),
            _text("\\., COPY's end", "\\.", nested='"\\\\."'),
            _text("tab, CR, LF, CRLF", "\t\r\n\r\n", nested='"\\t\\r\\n\\r\\n"'),
            _text("the word NULL", "NULL", nested='"NULL"'),
            _text("braces and commas", '{1,"2"}', nested='"{1,\\"2\\"}"'),
            _text("4-byte emoji", "🐘🦆", nested='"🐘🦆"'),
            _text("lone combining mark", "\u0301", nested='"\u0301"'),
            _text("right-to-left", "\u202e\u05e9\u05dc", nested='"\u202e\u05e9\u05dc"'),
            _text("control characters", "\x01\x1f\x7f", nested='"\\u0001\\u001f\x7f"'),
            _text("byte order mark", "\ufeff", nested='"\ufeff"'),
            _text("the highest code point", "\U0010ffff", nested='"\U0010ffff"'),
            Value("10 MB", "REPEAT('x', 10000000)", LONG_TEXT, LONG_TEXT, f'"{LONG_TEXT}"'),
        ),
    ),
    Type(
        "BYTES",
        "bytea",
        "bytea[]",
        pa.binary(),
        (
            Value("empty", "b''", b"", "\\x", '""'),
            Value(
                "every byte",
                "FROM_HEX('" + bytes(range(256)).hex() + "')",
                bytes(range(256)),
                "\\x" + bytes(range(256)).hex(),
                f'"{b64encode(bytes(range(256))).decode()}"',
            ),
            Value("zero byte", "b'\\x00'", b"\0", "\\x00", '"AA=="'),
            Value("text like hex", "b'\\\\x00'", b"\\x00", "\\x5c783030", '"XHgwMA=="'),
        ),
    ),
    Type(
        "DATE",
        "date",
        "date[]",
        pa.date32(),
        (
            Value("smallest", "DATE '0001-01-01'", date(1, 1, 1), "0001-01-01", '"0001-01-01"'),
            Value("largest", "DATE '9999-12-31'", date(9999, 12, 31), "9999-12-31", '"9999-12-31"'),
            Value(
                "before 1582", "DATE '1500-02-28'", date(1500, 2, 28), "1500-02-28", '"1500-02-28"'
            ),
            Value("leap day", "DATE '2000-02-29'", date(2000, 2, 29), "2000-02-29", '"2000-02-29"'),
        ),
    ),
    Type(
        "TIME",
        "time without time zone",
        "time without time zone[]",
        pa.time64("us"),
        (
            Value("smallest", "TIME '00:00:00'", time(0), "00:00:00", '"00:00:00"'),
            Value(
                "largest",
                "TIME '23:59:59.999999'",
                time(23, 59, 59, 999999),
                "23:59:59.999999",
                '"23:59:59.999999"',
            ),
            Value(
                "milliseconds",
                "TIME '12:30:00.5'",
                time(12, 30, 0, 500000),
                "12:30:00.5",
                '"12:30:00.500"',
            ),
        ),
    ),
    Type(
        "DATETIME",
        "timestamp without time zone",
        "timestamp without time zone[]",
        US,
        (
            Value(
                "smallest",
                "DATETIME '0001-01-01 00:00:00'",
                _moment(1, 1, 1),
                "0001-01-01 00:00:00",
                '"0001-01-01T00:00:00"',
            ),
            Value(
                "largest",
                "DATETIME '9999-12-31 23:59:59.999999'",
                _moment(9999, 12, 31, 23, 59, 59, 999999),
                "9999-12-31 23:59:59.999999",
                '"9999-12-31T23:59:59.999999"',
            ),
            Value(
                "before 1582",
                "DATETIME '1500-02-28 01:02:03.000001'",
                _moment(1500, 2, 28, 1, 2, 3, 1),
                "1500-02-28 01:02:03.000001",
                '"1500-02-28T01:02:03.000001"',
            ),
            Value(
                "milliseconds",
                "DATETIME '2024-02-29 12:30:15.120'",
                _moment(2024, 2, 29, 12, 30, 15, 120000),
                "2024-02-29 12:30:15.12",
                '"2024-02-29T12:30:15.120"',
            ),
        ),
    ),
    Type(
        "TIMESTAMP",
        "timestamp with time zone",
        "timestamp with time zone[]",
        US,
        (
            Value(
                "smallest",
                "TIMESTAMP '0001-01-01 00:00:00+00'",
                _moment(1, 1, 1),
                "0001-01-01 00:00:00+00",
                '"0001-01-01T00:00:00Z"',
            ),
            Value(
                "largest",
                "TIMESTAMP '9999-12-31 23:59:59.999999+00'",
                _moment(9999, 12, 31, 23, 59, 59, 999999),
                "9999-12-31 23:59:59.999999+00",
                '"9999-12-31T23:59:59.999999Z"',
            ),
            Value(
                "before the epoch",
                "TIMESTAMP '1969-12-31 23:59:59.999999+00'",
                _moment(1969, 12, 31, 23, 59, 59, 999999),
                "1969-12-31 23:59:59.999999+00",
                '"1969-12-31T23:59:59.999999Z"',
            ),
            Value(
                "with an offset",
                "TIMESTAMP '2024-06-01 02:00:00.25+02'",
                _moment(2024, 6, 1, 0, 0, 0, 250000),
                "2024-06-01 00:00:00.25+00",
                '"2024-06-01T00:00:00.250Z"',
            ),
        ),
    ),
    Type(
        "JSON",
        "jsonb",
        "jsonb",
        pa.string(),
        (
            Value("null", "JSON 'null'", "null", "null", "null"),
            Value("empty object", "JSON '{}'", "{}", "{}", "{}"),
            Value("empty text", "JSON '\"\"'", '""', '""', '""'),
            Value(
                "nested",
                """JSON '{"a": [1, {"b": null}], "ä": "🐘"}'""",
                '{"a":[1,{"b":null}],"ä":"🐘"}',
                '{"a": [1, {"b": null}], "ä": "🐘"}',
                '{"a": [1, {"b": null}], "ä": "🐘"}',
            ),
            Value(
                "duplicate keys: BigQuery keeps the first",
                """JSON '{"a": 1, "a": 2}'""",
                '{"a":1}',
                '{"a": 1}',
                '{"a": 1}',
                emulated=False,
            ),
            Value(
                "the largest double",
                "JSON '1.7976931348623157e+308'",
                "1.7976931348623157e+308",
                "17976931348623157" + "0" * 292,
                "17976931348623157" + "0" * 292,
            ),
            Value(
                "int64's ends",
                "JSON '[-9223372036854775808, 18446744073709551615]'",
                "[-9223372036854775808,18446744073709551615]",
                "[-9223372036854775808, 18446744073709551615]",
                "[-9223372036854775808, 18446744073709551615]",
            ),
            Value(
                "deep",
                "JSON '" + "[" * 200 + "]" * 200 + "'",
                "[" * 200 + "]" * 200,
                "[" * 200 + "]" * 200,
                "[" * 200 + "]" * 200,
            ),
        ),
    ),
    Type(
        "GEOGRAPHY",
        "text",
        "text[]",
        pa.string(),
        (
            Value("point", "ST_GEOGPOINT(1, 2)", "POINT(1 2)", "POINT(1 2)"),
            Value("largest", "ST_GEOGPOINT(180, 90)", "POINT(180 90)", "POINT(180 90)"),
        ),
        in_struct=False,
    ),
    Type(
        "INTERVAL",
        "interval",
        "interval[]",
        pa.string(),
        (
            # The emulator's storage refuses negative intervals.
            Value("zero", "INTERVAL '0-0 0 0:0:0' YEAR TO SECOND", "0-0 0 0:0:0", "00:00:00"),
            Value(
                "all parts",
                "INTERVAL '1-2 3 4:5:6.789' YEAR TO SECOND",
                "1-2 3 4:5:6.789",
                "1 year 2 mons 3 days 04:05:06.789",
            ),
            Value(
                "mixed signs",
                "INTERVAL '-1-2 3 -4:5:6.789' YEAR TO SECOND",
                "-1-2 3 -4:5:6.789",
                "-1 years -2 mons +3 days -04:05:06.789",
                emulated=False,
            ),
            Value(
                "one microsecond",
                "INTERVAL '1-0 -30 0:0:0.000001' YEAR TO SECOND",
                "1-0 -30 0:0:0.000001",
                "1 year -30 days +00:00:00.000001",
                emulated=False,
            ),
            Value(
                "largest",
                "INTERVAL '10000-0 3660000 87840000:0:0' YEAR TO SECOND",
                "10000-0 3660000 87840000:0:0",
                "10000 years 3660000 days 87840000:00:00",
                emulated=False,
            ),
            Value(
                "smallest",
                "INTERVAL '-10000-0 -3660000 -87840000:0:0' YEAR TO SECOND",
                "-10000-0 -3660000 -87840000:0:0",
                "-10000 years -3660000 days -87840000:00:00",
                emulated=False,
            ),
        ),
        in_struct=False,
    ),
    Type(
        "RANGE<DATE>",
        "daterange",
        "daterange[]",
        pa.string(),
        (
            Value(
                "closed",
                "RANGE<DATE> '[2024-01-01, 2024-12-31)'",
                "[2024-01-01, 2024-12-31)",
                "[2024-01-01,2024-12-31)",
            ),
            Value(
                "smallest to largest",
                "RANGE<DATE> '[0001-01-01, 9999-12-31)'",
                "[0001-01-01, 9999-12-31)",
                "[0001-01-01,9999-12-31)",
            ),
            Value(
                "no start",
                "RANGE<DATE> '[UNBOUNDED, 2024-01-01)'",
                "[UNBOUNDED, 2024-01-01)",
                "(,2024-01-01)",
            ),
            Value(
                "no end",
                "RANGE<DATE> '[2024-01-01, UNBOUNDED)'",
                "[2024-01-01, UNBOUNDED)",
                "[2024-01-01,)",
            ),
            Value(
                "neither", "RANGE<DATE> '[UNBOUNDED, UNBOUNDED)'", "[UNBOUNDED, UNBOUNDED)", "(,)"
            ),
        ),
        in_struct=False,
    ),
    Type(
        "RANGE<DATETIME>",
        "tsrange",
        "tsrange[]",
        pa.string(),
        (
            Value(
                "closed",
                "RANGE<DATETIME> '[2024-01-01 00:00:00, 2024-01-01 12:30:15.123456)'",
                "[2024-01-01 00:00:00, 2024-01-01 12:30:15.123456)",
                '["2024-01-01 00:00:00","2024-01-01 12:30:15.123456")',
            ),
            Value(
                "no start",
                "RANGE<DATETIME> '[UNBOUNDED, 9999-12-31 23:59:59.5)'",
                "[UNBOUNDED, 9999-12-31 23:59:59.5)",
                '(,"9999-12-31 23:59:59.5")',
            ),
        ),
        in_struct=False,
    ),
    Type(
        "RANGE<TIMESTAMP>",
        "tstzrange",
        "tstzrange[]",
        pa.string(),
        (
            Value(
                "closed",
                "RANGE<TIMESTAMP> '[2024-01-01 00:00:00+00, 2024-06-01 02:00:00.25+02)'",
                "[2024-01-01 00:00:00+00, 2024-06-01 00:00:00.25+00)",
                '["2024-01-01 00:00:00+00","2024-06-01 00:00:00.25+00")',
            ),
            Value(
                "no end",
                "RANGE<TIMESTAMP> '[0001-01-01 00:00:00+00, UNBOUNDED)'",
                "[0001-01-01 00:00:00+00, UNBOUNDED)",
                '["0001-01-01 00:00:00+00",)',
            ),
        ),
        in_struct=False,
    ),
)
