# mypy: ignore-errors
"""Parquet exports laid out the way BigQuery lays them out, for extract jobs and EXPORT DATA.

Belongs here: BigQuery type -> Parquet type, refusals, sharding, the upload. Does not belong
here: how jobs run and end (`service_rules`). Layout facts come from a genuine export shard:
TIMESTAMP is not adjusted to UTC, just like DATETIME; a repeated field is a required group with
`list.element`; there is no Arrow schema in the file. CSV, Avro and JSON are refused: nothing in
the project reads them.
"""

import contextvars
import json
import os
import pathlib
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from local_bigquery.catalog import tables
from local_bigquery.engine import types
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import extract, storage
from local_bigquery.models import JobStatistics4

SHARD_BYTES = int(os.environ.get("LBQ_SHARD_BYTES", str(64 << 20)))
DELAY_SECONDS = float(os.environ.get("LBQ_EXPORT_DELAY_SECONDS", "0"))
BATCH_ROWS = 50_000
ROW_GROUP_ROWS = 100_000
CODECS = {"NONE": "none", "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd"}
REFUSED = ("JSON", "INTERVAL", "RANGE")
ARROW_TYPES = {
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "GEOGRAPHY": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
}

files_written = contextvars.ContextVar("files_written", default=0)
running_job = contextvars.ContextVar("running_job", default=None)


# -- types -----------------------------------------------------------------------------------


def kind(t) -> str:
    """BigQuery type name of a DuckDB type; ARRAY and STRUCT for the nested ones."""
    if t.id in ("list", "array"):
        return "ARRAY"
    if t.id == "struct":
        names = tuple(name for name, _ in t.children)
        return "RANGE" if names == types.RANGE_FIELDS else "STRUCT"
    return types._scalar(t)[0]


def arrow_type(t, declared=None) -> pa.DataType:
    """Arrow type of the exported column; refuses what BigQuery refuses.

    `declared` is the table's own field: only an extract job knows it, and only there NUMERIC
    keeps its precision and scale. A query result has none.
    """
    name = kind(t)
    if name in REFUSED:
        raise BigQueryError(
            "invalid", f"Type {name} is not currently supported for parquet exports."
        )
    if name == "ARRAY":
        element = pa.field("element", arrow_type(t.children[0][1], declared), nullable=False)
        return pa.list_(element)
    if name == "STRUCT":
        inner = {f.name.casefold(): f for f in (declared.fields if declared else None) or []}
        return pa.struct([arrow_field(n, c, inner.get(n.casefold())) for n, c in t.children])
    if name in ("NUMERIC", "BIGNUMERIC") and declared and declared.precision:
        precision, scale = int(declared.precision), int(declared.scale or 0)
        exact = pa.decimal128 if precision <= 38 else pa.decimal256
        return exact(precision, scale)
    return ARROW_TYPES[name]


def arrow_field(name: str, t, declared=None) -> pa.Field:
    """A column of the export; only a list is never null."""
    return pa.field(name, arrow_type(t, declared), nullable=kind(t) != "ARRAY")


def shaped(array: pa.Array, target: pa.DataType, column: str) -> pa.Array:
    """The same values in the export's type. A NULL array becomes an empty one, as in BigQuery."""
    if pa.types.is_list(target):
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
        values = array.flatten()
        if values.null_count:
            raise BigQueryError(
                "invalidQuery", f"Array cannot have a null element; error in writing field {column}"
            )
        values = shaped(values, target.value_type, column)
        return pa.ListArray.from_arrays(offsets, values, type=target)
    if pa.types.is_struct(target):
        parts = [
            shaped(part, field.type, f"{column}.{field.name}")
            for part, field in zip(array.flatten(), target, strict=True)
        ]
        return pa.StructArray.from_arrays(parts, fields=list(target), mask=array.is_null())
    if pa.types.is_decimal(target) and target.scale < array.type.scale:
        array = pc.round(array, ndigits=target.scale, round_mode="half_towards_infinity")
    return array.cast(target)


# -- writing ---------------------------------------------------------------------------------


def shards(reader, limit: int | None):
    """Cut the stream into tables of about `limit` bytes; no rows make one empty table."""
    batches, size, yielded = [], 0, False
    for batch in reader:
        if not batch.num_rows:
            continue
        batches.append(batch)
        size += batch.nbytes
        if limit and size >= limit:
            yield pa.Table.from_batches(batches)
            batches, size, yielded = [], 0, True
    if batches or not yielded:
        yield pa.Table.from_batches(batches, reader.schema)


def stay_running() -> None:
    """Keep the job RUNNING for LBQ_EXPORT_DELAY_SECONDS; ends at once when it is cancelled."""
    end = time.monotonic() + DELAY_SECONDS
    while time.monotonic() < end:
        stop_if_cancelled()
        time.sleep(0.01)
    stop_if_cancelled()


def stop_if_cancelled() -> None:
    """End the job with the service's reason when jobs.cancel was called for it."""
    running = running_job.get()
    if running is not None and running.cancelled:
        raise BigQueryError("stopped", "Job execution was cancelled: User requested cancellation")


def one_uri(config) -> str:
    """The job's only destination; several are not needed here and refused."""
    uris = config.destinationUris or [config.destinationUri]
    if len(uris) != 1 or not uris[0] or not uris[0].startswith("gs://"):
        raise BigQueryError("invalid", f"Exactly one gs:// destination is needed, met: {uris}")
    if uris[0].count("*") > 1:
        raise BigQueryError("invalid", f"At most one wildcard is allowed in {uris[0]}")
    return uris[0]


def objects_matching(uri: str) -> list[str]:
    """Names of the objects that a wildcard destination would match; refuses a missing bucket."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    before, _, after = name.partition("*")
    host = storage._emulator(uri).rstrip("/")
    query = urllib.parse.urlencode({"prefix": before})
    try:
        address = f"{host}/storage/v1/b/{bucket}/o?{query}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the emulator
            items = json.load(answer).get("items") or []
    except urllib.error.HTTPError:
        raise BigQueryError("notFound", f"Not found: Bucket {bucket}") from None
    pattern = re.compile(re.escape(before) + ".*" + re.escape(after))
    return [item["name"] for item in items if pattern.fullmatch(item["name"])]


def upload(path: pathlib.Path, uri: str) -> None:
    """Send a file to the Cloud Storage emulator, without reading it into memory."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    host = storage._emulator(uri).rstrip("/")
    query = urllib.parse.urlencode({"uploadType": "media", "name": name})
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(path.stat().st_size),
    }
    with path.open("rb") as body:
        request = urllib.request.Request(  # noqa: S310 - the emulator
            f"{host}/upload/storage/v1/b/{bucket}/o?{query}",
            data=body,
            method="POST",
            headers=headers,
        )
        try:
            urllib.request.urlopen(request).close()  # noqa: S310 - the emulator
        except urllib.error.HTTPError as error:
            raise BigQueryError("invalid", f"Unable to write {uri}: HTTP {error.code}") from error


def write(cur, sql: str, params: dict, config, declared=None) -> int:
    """Write the rows of `sql` as Parquet objects; returns the number of rows.

    `declared` (extract only): the table's fields. Sets `files_written`.
    """
    form = (config.destinationFormat or "CSV").upper()
    if form != "PARQUET":
        raise BigQueryError("notImplemented", f"This stand-in exports PARQUET only, met: {form}")
    compression = (config.compression or "NONE").upper()
    if compression not in CODECS:
        raise BigQueryError("invalid", f"Compression {compression} is not supported for PARQUET")
    uri = one_uri(config)
    relation = cur.sql(sql, params=params)
    columns = list(zip(relation.columns, relation.types, strict=True))
    fields = {field.name.casefold(): field for field in declared or []}
    if declared is not None:
        columns = [(name, t) for name, t in columns if name.casefold() in fields]
    schema = pa.schema([arrow_field(n, t, fields.get(n.casefold())) for n, t in columns])
    taken = objects_matching(uri)
    if declared is None:
        if "*" not in uri:
            raise BigQueryError("invalidQuery", "Option 'uri' value must be a wildcard URI.")
        if taken and not (config.model_extra or {}).get("overwrite"):
            raise BigQueryError(
                "invalidQuery",
                f"Invalid destination: {uri} is not empty and option 'overwrite' is false.",
            )
    stay_running()
    casts = ", ".join(f"{types.cast(f'q.{quote(n)}', t)} AS {quote(n)}" for n, t in columns)
    reader = cur.execute(f"SELECT {casts} FROM ({sql}) AS q", params).to_arrow_reader(BATCH_ROWS)
    total = number = 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "object"
        for number, table in enumerate(shards(reader, SHARD_BYTES if "*" in uri else None), 1):
            stop_if_cancelled()
            arrays = [
                pa.chunked_array(
                    [shaped(chunk, field.type, field.name) for chunk in column.chunks],
                    type=field.type,
                )
                for column, field in zip(table.columns, schema, strict=True)
            ]
            pq.write_table(
                pa.Table.from_arrays(arrays, schema=schema),
                path,
                version="1.0",
                compression=CODECS[compression],
                row_group_size=ROW_GROUP_ROWS,
                store_schema=False,
                write_time_adjusted_to_utc=True,
            )
            upload(path, uri.replace("*", f"{number - 1:012d}"))
            total += table.num_rows
    files_written.set(number)
    return total


def run_extract(cur, config, _upload) -> JobStatistics4:
    """Handler of an extract job: one whole table."""
    reference = tables.reference(config.sourceTable)
    source = tables.load(*reference)
    sql = f"SELECT * FROM {tables.name(*reference)}"
    write(cur, sql, {}, config, declared=tables.fields(source))
    counts = [str(files_written.get())]
    return JobStatistics4(destinationUriFileCounts=counts, inputBytes=source.numBytes or "0")


def install() -> None:
    """Replace the exports of local_bigquery by the ones of this file."""
    extract.write = write
    extract.EXPORT_OPTIONS["overwrite"] = "overwrite"
