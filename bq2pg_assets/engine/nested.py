"""Nested Arrow values as JSON text, by the rules of BigQuery's TO_JSON_STRING. Pure.

Belongs here: what an extract job or the Storage Read API carries as struct and list, written as
the export SELECT would have written it, so that every way out ends in the same jsonb. Does not:
jsonb's bytes (encode.py), what a NUL inside a string means (nul.py).

The rules are those of GoogleSQL's reference implementation (google/zetasql,
public/functions/json_format.cc and base/string_numbers.cc). Whole columns are built by Arrow's
kernels; only floats, decimals, bytes and strings that need an escape are written one by one.
"""

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bq2pg_assets.engine.model import SourceField

LOSSLESS = 2**53  # beyond it a number is written as a string, so that a double cannot bend it
ESCAPED = r'["\\\x00-\x1f]'


def as_json(array: pa.Array, field: SourceField) -> pa.Array:
    """Each value of a column as JSON text; NULL stays NULL."""
    if field.mode == "REPEATED":
        return _array(array, field)
    return _struct(array, field) if field.type == "STRUCT" else LEAVES[field.type](array)


def _struct(array: pa.StructArray, field: SourceField) -> pa.Array:
    parts: list[Any] = []
    for number, inner in enumerate(field.fields):
        values = array.field(inner.name)
        # A NULL array inside a row is an empty one: BigQuery stores no other.
        null = "[]" if inner.mode == "REPEATED" else "null"
        parts += [
            f"{',' if number else '{'}{quoted(inner.name)}:",
            _or(as_json(values, inner), null),
        ]
    text = pc.binary_join_element_wise(*parts, "}", "") if parts else _constant("{}", len(array))
    return _where_valid(array, text)


def _array(array: pa.ListArray, field: SourceField) -> pa.Array:
    element = SourceField(field.name, field.type, fields=field.fields)
    values = _or(as_json(array.values, element), "null")
    lists = pa.ListArray.from_arrays(array.offsets, values)
    return _where_valid(
        array, pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
    )


def _int64(array: pa.Array) -> pa.Array:
    text = array.cast(pa.string())
    wide = pc.or_(pc.greater(array, LOSSLESS), pc.less(array, -LOSSLESS))
    return pc.if_else(wide, _quoted(text), text)


def _bool(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _string(array: pa.Array) -> pa.Array:
    awkward = pc.match_substring_regex(array, ESCAPED)
    text = _quoted(array)
    if pc.any(awkward).as_py():
        escaped = [quoted(value) for value in array.filter(awkward).to_pylist()]
        text = pc.replace_with_mask(
            text, pc.fill_null(awkward, False), pa.array(escaped, pa.string())
        )
    return text


def _date(array: pa.Array) -> pa.Array:
    return _quoted(array.cast(pa.string()))


def _time(array: pa.Array) -> pa.Array:
    return _quoted(_short(array.cast(pa.string())))


def _datetime(array: pa.Array) -> pa.Array:
    return _quoted(_moment(array))


def _timestamp(array: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', _moment(array), 'Z"', "")


def _moment(array: pa.Array) -> pa.Array:
    # The zone is UTC or missing; either way the fields are those of UTC.
    naive = array.cast(pa.timestamp("us"))
    return _short(pc.strftime(naive, format="%Y-%m-%dT%H:%M:%S"))


def _short(text: pa.Array) -> pa.Array:
    """Arrow writes six digits of a second; BigQuery 0, 3 or 6, as few as are exact."""
    return pc.replace_substring_regex(text, r"(\.000)?000$", "")


def _one_by_one(write: Callable[..., str]) -> Callable[[pa.Array], pa.Array]:
    def leaf(array: pa.Array) -> pa.Array:
        return pa.array([None if v is None else write(v) for v in array.to_pylist()], pa.string())

    return leaf


def float_text(value: float) -> str:
    """15 digits where they give the same double again, otherwise 17."""
    if value != value:
        return '"NaN"'
    if value in (float("inf"), float("-inf")):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    short = f"{value:.15g}"
    return short if float(short) == value else f"{value:.17g}"


def decimal_text(value: Decimal) -> str:
    """A number only where it is whole and a double holds it; no exponent, no trailing zeros."""
    whole, _, fraction = f"{value:f}".partition(".")
    fraction = fraction.rstrip("0")
    if fraction:
        return f'"{whole}.{fraction}"'
    if whole == "-0":
        return "0"
    return whole if -LOSSLESS <= int(whole) <= LOSSLESS else f'"{whole}"'


def bytes_text(value: bytes) -> str:
    """Base64 with padding, RFC 4648."""
    return f'"{base64.b64encode(value).decode()}"'


def quoted(value: str) -> str:
    """A JSON string."""
    return json.dumps(value, ensure_ascii=False)


LEAVES: dict[str, Callable[[pa.Array], pa.Array]] = {
    "INT64": _int64,
    "FLOAT64": _one_by_one(float_text),
    "NUMERIC": _one_by_one(decimal_text),
    "BIGNUMERIC": _one_by_one(decimal_text),
    "BOOL": _bool,
    "STRING": _string,
    "BYTES": _one_by_one(bytes_text),
    "DATE": _date,
    "TIME": _time,
    "DATETIME": _datetime,
    "TIMESTAMP": _timestamp,
}


def carried(field: SourceField) -> bool:
    """Whether every leaf of a nested field can be written here."""
    if field.type == "STRUCT":
        return all(carried(inner) for inner in field.fields)
    return field.type in LEAVES


def _quoted(text: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', text, '"', "")


def _or(text: pa.Array, instead: str) -> pa.Array:
    return pc.fill_null(text, instead)


def _where_valid(array: pa.Array, text: pa.Array) -> pa.Array:
    return (
        pc.if_else(array.is_valid(), text, pa.scalar(None, pa.string()))
        if array.null_count
        else text
    )


def _constant(text: str, length: int) -> pa.Array:
    return pa.repeat(text, length)
