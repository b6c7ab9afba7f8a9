"""An object of Cloud Storage that answers as a test wants, range by range.

Belongs here: the stand-in for Google's Blob, a shard's checksum, Parquet as a shard on its way.
Does not: tests.
"""

import io
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.download import Download
from bq2pg_assets.engine.model import Shard
from bq2pg_assets.engine.parquet import FetchedShard

PIECE = 4 * 1024**2
Answer = Callable[[int, int], bytes]


def crc32c(data: bytes) -> str:
    """The checksum as Cloud Storage tells it."""
    return b64encode(google_crc32c.Checksum(data).digest()).decode()


class Blob:
    """Answers the bytes from `start` to `end`, both included; the requests are kept."""

    name = "a blob"

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, list[tuple[int, int]]()

    def download_to_file(self, file: IO[bytes], *, start: int, end: int, **options: Any) -> None:
        """As Google's."""
        self.asked.append((start, end))
        file.write(self.answer(start, end))


def parquet(table: pa.Table, *, group: int | None = None) -> bytes:
    """The table as BigQuery writes it, in row groups of `group` rows."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=group, compression="snappy")
    return sink.getvalue()


def shard_of(data: bytes, *, stored: bytes | None = None, uri: str = "gs://b/x") -> FetchedShard:
    """A shard whose bytes come as `data`; its checksum is that of `stored`."""
    shard = Shard(uri, len(data), 1, crc32c(stored or data))
    blob = Blob(lambda start, end: data[start : end + 1])
    return FetchedShard(
        shard, Download(blob, shard, piece=PIECE, cancel=CancelToken()), piece=PIECE
    )


@contextmanager
def fetched(data: bytes, *, stored: bytes | None = None) -> Iterator[FetchedShard]:
    """The same, let go at the end."""
    it = shard_of(data, stored=stored)
    try:
        yield it
    finally:
        it.close()
