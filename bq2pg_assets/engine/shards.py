"""The exported objects in Cloud Storage.

Belongs here: listing, downloading with verification, deleting below one prefix. Does not:
BigQuery, PostgreSQL, encoding.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import NotFound
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import StorageError
from bq2pg_assets.engine.google_errors import storage_errors
from bq2pg_assets.engine.model import RunId, Shard

ROOT = "bq2pg"
# 8,192 rows: faster and smaller than 64 k in the measurements of the COPY route.
BATCH_ROWS = 8_192
REQUEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PrefixLeft:
    """An attempt's prefix that has objects. `run` is the attempt's slug, `bytes` their size."""

    uri: str
    table: str
    run: str
    bytes: int
    newest: datetime


class GcsShards:
    """The exported shards in one bucket, below the folder bq2pg/."""

    def __init__(self, client: Client, *, bucket: str) -> None:
        self.client, self.name = client, bucket.removeprefix("gs://").strip("/")
        self.root = f"gs://{self.name}/{ROOT}/"
        self._where = f"bucket {self.name}"

    def prefix(self, table: str, run: RunId) -> str:
        """A place of its own for every attempt: gs://bucket/bq2pg/table/run-attempt/.

        Exporting onto an earlier prefix would leave the earlier export's extra shards in it.
        """
        return f"{self.root}{table}/{run.slug}/"

    def list(self, prefix: str) -> tuple[Shard, ...]:
        """The objects below `prefix`, largest first, so that parallel workers end together."""
        with storage_errors(self._where):
            blobs = list(
                self.client.list_blobs(
                    self.name, prefix=self._path(prefix), timeout=REQUEST_SECONDS
                )
            )
        found = [Shard(f"gs://{self.name}/{b.name}", b.size, b.generation) for b in blobs]
        return tuple(sorted(found, key=lambda s: (-s.size, s.uri)))

    def prefixes(self) -> tuple[PrefixLeft, ...]:
        """The prefixes of all attempts that have objects. Raises StorageError."""
        with storage_errors(self._where):
            blobs = list(
                self.client.list_blobs(self.name, prefix=f"{ROOT}/", timeout=REQUEST_SECONDS)
            )
        found: dict[tuple[str, str], list[Any]] = {}
        for blob in blobs:
            parts = blob.name.split("/")
            if len(parts) >= 4:  # bq2pg, table, attempt, object
                found.setdefault((parts[1], parts[2]), []).append(blob)
        return tuple(
            PrefixLeft(
                f"{self.root}{table}/{run}/",
                table,
                run,
                sum(blob.size for blob in own),
                max(blob.updated for blob in own),
            )
            for (table, run), own in found.items()
        )

    @contextmanager
    def open(self, shard: Shard, *, cancel: CancelToken) -> Iterator["ParquetShard"]:
        """Download the shard to an unnamed temporary file, verify its checksum, decode it.

        Nothing is decoded before the whole object's CRC32C matched; the file is gone when the
        block ends. Raises StorageError.
        """
        with tempfile.TemporaryFile(prefix="bq2pg-") as file:
            blob = self.client.bucket(self.name).blob(
                self._path(shard.uri), generation=shard.generation
            )
            cancel.check(shard.uri)
            with storage_errors(shard.uri), corrupt_object(shard):
                # No chunk_size on the blob: chunked downloads are not verified.
                guarded = _Interruptible(file, cancel=cancel, where=shard.uri)
                blob.download_to_file(guarded, checksum="crc32c", timeout=REQUEST_SECONDS)
            file.seek(0)
            try:
                reader = pq.ParquetFile(pa.PythonFile(file, "r"), pre_buffer=False)
            except (pa.ArrowInvalid, OSError) as error:
                raise _unreadable(shard) from error
            with reader:
                yield ParquetShard(shard, reader)

    def delete(self, prefix: str) -> int:
        """Delete everything below `prefix`. Returns the number of objects. Raises StorageError.

        In a bucket that does not exist there is nothing to delete.
        """
        path = self._path(prefix)
        if not path.startswith(f"{ROOT}/"):
            raise ValueError(f"{prefix} is not below {ROOT}/")
        with storage_errors(self._where):
            try:
                found = self.client.list_blobs(self.name, prefix=path, timeout=REQUEST_SECONDS)
                blobs = list(found)
            except NotFound:
                return 0
            self.client.bucket(self.name).delete_blobs(
                blobs, on_error=lambda _: None, timeout=REQUEST_SECONDS
            )
        return len(blobs)

    def check(self) -> str:
        """Write, read and delete a small object. Returns a sentence. Raises StorageError."""
        with storage_errors(self._where):
            blob = self.client.bucket(self.name).blob(f"{ROOT}/check-{uuid4().hex}")
            blob.upload_from_string(b"bq2pg", timeout=REQUEST_SECONDS)
            blob.download_as_bytes(timeout=REQUEST_SECONDS)
            blob.delete(timeout=REQUEST_SECONDS)
        return f"bucket {self.name} can be written, read and cleaned"

    def _path(self, uri: str) -> str:
        head = f"gs://{self.name}/"
        if not uri.startswith(head):
            raise ValueError(f"{uri} is not in bucket {self.name}")
        return uri.removeprefix(head)


class _Interruptible:
    """A file that a cancelled run can no longer write to: so a long download ends."""

    def __init__(self, file: IO[bytes], *, cancel: CancelToken, where: str) -> None:
        self._file, self._cancel, self._where = file, cancel, where

    def write(self, data: bytes) -> int:
        self._cancel.check(self._where)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class ParquetShard:
    """One downloaded shard: its schema, its number of rows, its batches."""

    def __init__(self, shard: Shard, reader: pq.ParquetFile) -> None:
        self.shard, self._reader = shard, reader

    @property
    def schema(self) -> pa.Schema:
        """The shard's columns."""
        return self._reader.schema_arrow

    @property
    def rows(self) -> int:
        """The number of rows, from the footer."""
        return int(self._reader.metadata.num_rows)

    @property
    def size(self) -> int:
        """In bytes, all of which are downloaded."""
        return self.shard.size

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The named columns in small batches. Parallelism comes from connections, not threads."""
        try:
            yield from self._reader.iter_batches(BATCH_ROWS, columns=columns, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(self.shard) from error


@contextmanager
def corrupt_object(shard: Shard) -> Iterator[None]:
    """A checksum that does not match, or another object in its place, in our words."""
    try:
        yield
    except NotFound as error:
        raise StorageError(
            shard.uri,
            met="the object is gone or was replaced since it was listed",
            expected="the object as BigQuery wrote it",
            way_out="Run again; nothing else may touch the bucket's bq2pg/ folder, and its objects "
            "must not expire within a run.",
            retryable=True,
        ) from error
    except DataCorruption as error:
        raise StorageError(
            shard.uri,
            met="its CRC32C differs from what was stored",
            expected="the object as BigQuery wrote it",
            way_out="Run again: nothing was published.",
            retryable=True,
        ) from error


def _unreadable(shard: Shard) -> StorageError:
    return StorageError(
        shard.uri,
        met="not a readable Parquet file",
        expected="one that BigQuery exported",
        way_out="Run again; nothing else may write below the bucket's bq2pg/ folder.",
        retryable=True,
    )
