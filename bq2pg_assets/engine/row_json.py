"""One row as a JSON object by source column names, exact. Pure.

Belongs here: Arrow values as the JSON text that PostgreSQL's to_json would have written, for rows
that PostgreSQL never took. Does not: whole columns of nested values (nested.py).

A name that is missing is NULL; `null` is only the JSON document null. Nothing is checked: a
document that is no JSON stands in the text as it is, so that it is refused again and never bent.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal

import pyarrow as pa

from bq2pg_assets.engine import nested
from bq2pg_assets.engine.bad_rows import joined
from bq2pg_assets.engine.model import Column

UNBOUNDED = ("UNBOUNDED", "NULL")


def row_text(columns: Sequence[Column], row: pa.RecordBatch) -> str:
    """The only row of a batch."""
    return joined((c.source, _column(c, row.column(c.source))) for c in columns)


def _column(column: Column, array: pa.Array) -> str | None:
    if column.wire == "jsonb":
        if column.field is not None and not pa.types.is_string(array.type):
            array = nested.as_json(array, column.field)
        document: str | None = array[0].as_py()
        return document
    value = array[0].as_py()
    if value is None:
        return None
    kind = column.pg_type.removesuffix("[]")
    if isinstance(value, list):
        return "[" + ", ".join("null" if v is None else _scalar(v, kind) for v in value) + "]"
    return _scalar(value, kind)


def _scalar(value: object, kind: str) -> str:
    match value:
        case bool() | int():
            return json.dumps(value)
        case float():
            return repr(value) if abs(value) < float("inf") else nested.float_text(value)
        case Decimal():
            # Parquet's scale is the column's; numeric is sent without trailing zeros (wire.py).
            whole, _, fraction = f"{value:f}".partition(".")
            return f"{whole}.{fraction}".rstrip("0").removesuffix(".")
        case bytes():
            return json.dumps("\\x" + value.hex())
        case datetime() if kind == "timestamp with time zone" and value.tzinfo is None:
            return json.dumps(value.isoformat() + "+00:00")
        case date() | time():
            return json.dumps(value.isoformat())
    return nested.quoted(_range(str(value)) if kind.endswith("range") else str(value))


def _range(text: str) -> str:
    """BigQuery's `[low, UNBOUNDED)` as PostgreSQL reads it: `[low,)`."""
    low, _, high = text.strip("[)").partition(", ")
    return f"[{'' if low in UNBOUNDED else low},{'' if high in UNBOUNDED else high})"
