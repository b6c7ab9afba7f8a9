"""The exported objects in Cloud Storage.

Belongs here: listing, fetching, deleting below one prefix. Does not: what a shard holds
(parquet.py), BigQuery, PostgreSQL.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from google.api_core.exceptions import NotFound
from google.cloud.storage import Client

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.download import REQUEST_SECONDS, Download
from bq2pg_assets.engine.google_errors import storage_errors
from bq2pg_assets.engine.model import RunId, Shard
from bq2pg_assets.engine.parquet import FetchedShard

ROOT = "bq2pg"


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

    ahead = 1

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
        found = [Shard(f"gs://{self.name}/{b.name}", b.size, b.generation, b.crc32c) for b in blobs]
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

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> "FetchedShard":
        """Begin to download the shard."""
        blob = self.client.bucket(self.name).blob(
            self._path(shard.uri), generation=shard.generation
        )
        cancel.check(shard.uri)
        return FetchedShard(shard, Download(blob, shard, piece=piece, cancel=cancel), piece=piece)

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
