# mypy: ignore-errors
"""Rules of the Storage Read API that local_bigquery leaves out, added around its functions.

Belongs here: what may be read, as of when, and in which Arrow types. Avro is not served. Does not
belong here: the rules of BigQuery's own API (`service_rules`). Sources: the docstrings of
google-cloud-bigquery-storage and BigQuery's page on the Storage Read API.
"""

import contextvars
import datetime

import parquet_export
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from local_bigquery.catalog import tables
from local_bigquery.errors import BigQueryError
from local_bigquery.grpc import read
from service_rules import around
from sqlglot import exp

# Small enough that a test's table has several streams.
read.STREAM_ROWS = 1_000
NUMERIC_SCALE = 9
LZ4 = types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
compressed = set()  # the streams whose session asked for it
as_of = contextvars.ContextVar("as_of", default=None)


def checked(request) -> None:
    """Raise what the service says of a session that it does not open."""
    session = request.read_session
    reference = read.table(session.table)
    kind = tables.load(*reference).type
    if kind != "TABLE":
        raise BigQueryError("invalid", f"request failed: a {kind} cannot be read; only tables can")
    known = {field.name.casefold() for field in tables.columns(*reference)}
    wanted = [name.partition(".")[0] for name in session.read_options.selected_fields]
    unknown = [name for name in wanted if known and name.casefold() not in known]
    if unknown:
        names = ", ".join(unknown)
        raise BigQueryError("invalid", f"request failed: selected fields do not exist: {names}")
    condition = session.read_options.row_restriction
    selects = read.parse(f"SELECT 1 WHERE {condition}")[0].find_all(exp.Select) if condition else ()
    if len(list(selects)) > 1:
        raise BigQueryError("invalid", "request failed: Query error: row restriction is a query")


@around(read, "create_session")
def _(old, request):
    checked(request)
    given = request.read_session.table_modifiers.snapshot_time
    as_of.set(given or datetime.datetime.now(datetime.UTC))
    session = old(request)
    asked = request.read_session.read_options.arrow_serialization_options
    if asked.buffer_compression == LZ4:
        compressed.update(stream.name for stream in session.streams)
    return session


@around(read, "parse")
def _(old, sql):
    # Every stream reads the table as it was when the session began, or at the snapshot asked for.
    trees = old(sql)
    if as_of.get() is None or not sql.startswith("SELECT * FROM"):
        return trees
    [source] = trees[0].find_all(exp.Table)
    if source.db != tables.RESULTS:
        moment = exp.Literal.string(as_of.get().isoformat(sep=" "))
        version = exp.Version(this="TIMESTAMP", kind="AS OF", expression=moment)
        source.set("version", version)
    return trees


def sent(held: pa.DataType) -> pa.DataType:
    """The service's Arrow type for one of DuckDB's: no narrow integers, BIGNUMERIC in full."""
    if pa.types.is_list(held):
        return pa.list_(pa.field("item", sent(held.value_type)))
    if pa.types.is_struct(held):
        return pa.struct([pa.field(f.name, sent(f.type)) for f in held])
    if pa.types.is_integer(held):
        return pa.int64()
    if pa.types.is_decimal(held) and held.scale > NUMERIC_SCALE:
        return pa.decimal256(76, 38)
    return held


def serialized(batch: pa.RecordBatch, codec: str | None) -> bytes:
    """The batch as one IPC message, without its schema."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    _, message, *_ = pa.ipc.MessageReader.open_stream(sink.getvalue())
    return message.serialize().to_pybytes()


@around(read, "_schema")
def _(old, avro, arrow):
    return old(avro, pa.schema([pa.field(f.name, sent(f.type)) for f in arrow]))


@around(read, "read_rows")
def _(old, request):
    stream = read._lookup(request.read_stream)
    position, end = request.offset, stream.end - stream.start
    codec = "lz4" if request.read_stream in compressed else None
    with read.database.cursor() as cur:
        rows = f"SELECT * FROM ({stream.query}) LIMIT {end - position} OFFSET "
        reader = cur.sql(f"{rows}{stream.start + position}").to_arrow_reader()
        for batch in reader:
            columns = [
                parquet_export.shaped(column, sent(field.type), field.name)
                for column, field in zip(batch.columns, batch.schema, strict=True)
            ]
            shaped = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
            data = serialized(shaped, codec)
            after = position + batch.num_rows
            yield types.ReadRowsResponse(
                row_count=batch.num_rows,
                stats=read._progress(stream, position, after),
                arrow_record_batch={"serialized_record_batch": data},
            )
            position = after
