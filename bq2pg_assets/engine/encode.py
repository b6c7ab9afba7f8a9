"""Arrow batches as the bytes of PostgreSQL's COPY BINARY. Pure.

Belongs here: choosing and running the encoder of each column. Does not: reading shards, sending
bytes. `pgpq` writes every type it knows; for the rest the value's wire form is computed here
(wire.py) and handed to pgpq as raw bytes: COPY BINARY carries a length and bytes for every type,
and the server reads them as the column's type. Nested values become JSON text first (nested.py).

PostgreSQL does not check that the bytes fit the column: int8 sent to numeric is stored as 0.0.
So the staging table's DDL and this module take both from the same `Column`.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pgpq
import pyarrow as pa
from pgpq.encoders import BinaryEncoderBuilder, StringEncoderBuilder
from pgpq.schema import Jsonb

from bq2pg_assets.engine import nested, nul, wire
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import Column, NulBytes, SourceField
from bq2pg_assets.engine.typemap import RULES

Form = Callable[[pa.Array], pa.Array]

# What Parquet must hold for each PostgreSQL type, so that a surprise is refused and never
# stored as garbage. An array's check looks at its elements.
EXPECTED: dict[str, Callable[[pa.DataType], bool]] = {
    "bigint": pa.types.is_int64,
    "double precision": pa.types.is_float64,
    "numeric": lambda t: pa.types.is_decimal(t),
    "boolean": pa.types.is_boolean,
    "text": pa.types.is_string,
    "bytea": pa.types.is_binary,
    "date": pa.types.is_date32,
    "time without time zone": lambda t: t == pa.time64("us"),
    "timestamp without time zone": lambda t: t == pa.timestamp("us"),
    "timestamp with time zone": lambda t: pa.types.is_timestamp(t) and t.unit == "us",
    "jsonb": pa.types.is_string,
    "interval": pa.types.is_string,
    "daterange": pa.types.is_string,
    "tsrange": pa.types.is_string,
    "tstzrange": pa.types.is_string,
}


class Encoder:
    """Turns the batches of one shard into one COPY BINARY stream: header, batches, footer.

    `nul_bytes` counts, by column, the values that held U+0000, and `nulls` the NULLs. Raises
    MappingError when the shard's columns are not what the mapping expects, or hold U+0000 and the
    policy is to fail, as it always is for a column of the `key`: two keys could become one.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        schema: pa.Schema,
        *,
        where: str,
        policy: NulBytes = NulBytes.FAIL,
        key: Sequence[str] = (),
    ) -> None:
        self.columns, self._where, self._policy = tuple(columns), where, policy
        self._key = frozenset(key)
        self.nul_bytes: Counter[str] = Counter()
        self.nulls: Counter[str] = Counter()
        fields = [_field(schema, c) for c in columns]
        problems = [p for c, f in zip(columns, fields, strict=True) for p in _mismatch(c, f)]
        if problems:
            raise MappingError(
                where,
                problems,
                way_out="The export and the source's schema disagree: run again; if it stays, "
                "use export: export_data.",
            )
        self._forms = [_form(c) for c in columns]
        encoded = [
            _encoded(c, f, form)
            for c, f, form in zip(columns, fields, self._forms, strict=True)
            if f is not None
        ]
        self._pgpq = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(
            pa.schema(encoded),
            {
                field.name: _builder(column, field, raw=form is not None)
                for column, field, form in zip(columns, encoded, self._forms, strict=True)
            },
        )
        self._schema = pa.schema(encoded)

    def stream(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[bytes, int]]:
        """The stream in pieces, each with the number of rows it completes."""
        yield self._pgpq.write_header(), 0
        for batch in batches:
            yield self._pgpq.write_batch(self._shape(batch)), batch.num_rows
        yield self._pgpq.finish(), 0

    def _shape(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            self._apply(column, form, batch.column(column.source))
            for column, form in zip(self.columns, self._forms, strict=True)
        ]
        for column, array in zip(self.columns, arrays, strict=True):
            if array.null_count:
                self.nulls[column.name] += array.null_count
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _apply(self, column: Column, form: Form | None, array: pa.Array) -> pa.Array:
        try:
            if column.wire == "jsonb":
                if column.field is not None and not pa.types.is_string(array.type):
                    array = nested.as_json(array, column.field)
                return self._without_nul(column, nul.clean_json, array)
            if column.pg_type in ("text", "text[]"):
                return self._without_nul(column, nul.clean_text, array)
            return array if form is None else form(array)
        except (ValueError, struct.error) as error:  # struct: beyond the integer it is sent as
            raise MappingError(
                self._where,
                [f"column {column.source} ({column.source_type}): {error}"],
                way_out="Leave the column out, or cast it in a query source.",
            ) from error

    def _without_nul(
        self,
        column: Column,
        clean: Callable[[pa.Array, NulBytes], tuple[pa.Array, int]],
        array: pa.Array,
    ) -> pa.Array:
        policy = NulBytes.FAIL if column.name in self._key else self._policy
        array, count = clean(array, policy)
        if count and policy is NulBytes.FAIL:
            raise MappingError(
                self._where,
                [f"column {column.source}: U+0000 in {count} values of one batch"],
                way_out="PostgreSQL's text and jsonb cannot hold it: say nul_bytes: strip or "
                "nul_bytes: replace (by U+FFFD) in the table's YAML; both count what they change. "
                "Neither applies to a key.",
            )
        if count:
            self.nul_bytes[column.name] += count
        return array


def _field(schema: pa.Schema, column: Column) -> pa.Field | None:
    at = schema.get_field_index(column.source)
    return schema.field(at) if at >= 0 else None


def _mismatch(column: Column, field: pa.Field | None) -> Iterator[str]:
    if field is None:
        yield f"column {column.source} is missing in the shard"
        return
    if column.wire == "jsonb":
        if not pa.types.is_string(field.type):
            yield from _nested_mismatch(column.source, column.field, field.type)
        return
    base, held = column.pg_type.removesuffix("[]"), field.type
    if column.pg_type.endswith("[]"):
        if not pa.types.is_list(held):
            yield f"column {column.source} is {held} in the shard, not a list"
            return
        held = held.value_type
    if not EXPECTED[base.partition("(")[0]](held):
        yield f"column {column.source} ({column.source_type}) is {held} in the shard"


def _nested_mismatch(path: str, field: SourceField | None, held: pa.DataType) -> Iterator[str]:
    """Where struct and list differ from the source's schema; a leaf is judged by its type."""
    if field is None or not nested.carried(field):
        kind = f" ({field.type})" if field is not None else ""
        yield f"column {path}{kind} is {held} in the shard"
        return
    if field.mode == "REPEATED":
        if not pa.types.is_list(held):
            yield f"column {path} is {held} in the shard, not a list"
            return
        held = held.value_type
    if field.type != "STRUCT":
        base = RULES[field.type].pg_type.partition("(")[0]
        if not EXPECTED[base](held):
            yield f"column {path} ({field.type}) is {held} in the shard"
        return
    if not pa.types.is_struct(held):
        yield f"column {path} is {held} in the shard, not a struct"
        return
    for inner in field.fields:
        at = held.get_field_index(inner.name)
        if at < 0:
            yield f"column {path}.{inner.name} is missing in the shard"
        else:
            yield from _nested_mismatch(f"{path}.{inner.name}", inner, held.field(at).type)


def _form(column: Column) -> Form | None:
    """How the column's wire bytes are computed, or None where pgpq does it."""
    if column.wire in ("native", "jsonb", "timestamptz"):
        return None
    if column.wire.endswith("[]"):
        return wire.array_of(column.wire.removesuffix("[]"))
    return wire.FORMS[column.wire].encode


def _encoded(column: Column, field: pa.Field, form: Form | None) -> pa.Field:
    """The column as it is handed to pgpq: JSON text, wire bytes, or as the shard holds it."""
    if column.wire == "jsonb":
        return pa.field(column.name, pa.string())
    return pa.field(column.name, pa.binary() if form else field.type)


def _builder(column: Column, field: pa.Field, *, raw: bool) -> Any:
    if raw:
        return BinaryEncoderBuilder(field)
    if column.wire == "jsonb":
        return StringEncoderBuilder.new_with_output(field, Jsonb())
    return pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(field)
