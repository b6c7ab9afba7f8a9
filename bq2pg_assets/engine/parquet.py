"""A shard as Parquet: its row groups as parts that several workers copy, its rows in batches.

Belongs here: what the footer says, reading within a bound of memory. Does not: the object
(shards.py), its bytes on their way (download.py), encoding.

Memory: row groups are read page by page, one page of each column at a time, whatever their size,
through buffers of two pieces for all columns together; a batch holds BATCH_ROWS rows, or a piece
where rows are wide (workers.py says how large a piece is).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from bq2pg_assets.engine.download import ArrivingFile, Download
from bq2pg_assets.engine.errors import StorageError
from bq2pg_assets.engine.model import Shard

# 8,192 rows: faster and smaller than 64 k in the measurements of the COPY route.
BATCH_ROWS = 8_192
# A text column of few values is read as such: Arrow then makes each value once, not for each row.
# A larger dictionary may not hold all values of the column, and is slower than none.
DICTIONARY_BYTES = 32 * 1024


class FetchedShard:
    """A shard that is being downloaded. `close` it when all its parts were read."""

    def __init__(self, shard: Shard, download: Download, *, piece: int) -> None:
        self.shard, self.piece, self._download = shard, piece, download
        self._metadata: pq.FileMetaData | None = None  # the footer, once it was read

    def parts(self, wanted: int, *, staged: Sequence[int] = ()) -> list["ShardPart"]:
        """Its row groups in at most `wanted` parts of about as many rows; those `staged` are left
        out. Waits for the footer. Raises StorageError.

        Parts take turns, so that all can begin before the whole shard is here.
        """
        with self._reading(), self._reader() as reader:
            metadata = self._metadata = reader.metadata
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        left = [i for i in range(len(rows)) if i not in staged]
        if len(left) == len(rows) and (wanted == 1 or len(rows) <= 1):
            return [ShardPart(self, (), rows=sum(rows), share=1.0)]
        if not left:
            return []
        taken = [left[start::wanted] for start in range(min(wanted, len(left)))]
        return [
            ShardPart(
                self,
                tuple(groups),
                rows=sum(rows[i] for i in groups),
                share=sum(rows[i] for i in groups) / max(sum(rows), 1),
            )
            for groups in taken
        ]

    def close(self) -> None:
        """Free what was downloaded."""
        self._download.close()

    def _reader(self, columns: Sequence[str] = ()) -> pq.ParquetFile:
        return pq.ParquetFile(
            pa.PythonFile(ArrivingFile(self._download), "r"),
            metadata=self._metadata,
            read_dictionary=_repeated(self._metadata, columns) if self._metadata else None,
            pre_buffer=False,
            buffer_size=max(2 * self.piece // max(len(columns), 1), 16 * 1024),
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What is no Parquet file, in our words, unless the object came spoilt."""
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            self._download.verify()
            raise StorageError(
                self.shard.uri,
                met="not a readable Parquet file",
                expected="one that BigQuery exported",
                way_out="Run again; nothing else may write below the bucket's bq2pg/ folder.",
                retryable=True,
            ) from error


@dataclass(frozen=True)
class ShardPart:
    """Some row groups of a shard, in no particular order; of all of them, `row_groups` is ().

    `share` is the part of the shard's rows that it holds.
    """

    fetched: FetchedShard
    row_groups: tuple[int, ...]
    rows: int
    share: float

    @property
    def shard(self) -> Shard:
        """The shard it is of."""
        return self.fetched.shard

    @contextmanager
    def open(self) -> Iterator["OpenParquet"]:
        """Read it; any number of times. Raises StorageError."""
        with self.fetched._reading(), self.fetched._reader() as reader:
            schema = reader.schema_arrow
        yield OpenParquet(self, schema)


class OpenParquet:
    """One part that is being read: its schema, its number of rows, its batches."""

    def __init__(self, part: ShardPart, schema: pa.Schema) -> None:
        self.shard, self.rows, self.schema = part.shard, part.rows, schema
        self.size = round(part.shard.size * part.share)
        self._part = part

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The named columns in small batches. Parallelism comes from connections, not threads.

        At the end the whole object's checksum is compared. Raises StorageError.
        """
        fetched = self._part.fetched
        with fetched._reading(), fetched._reader(columns) as reader:
            groups = self._part.row_groups or range(reader.metadata.num_row_groups)
            for batch in reader.iter_batches(
                _batch_rows(reader.metadata, groups, piece=fetched.piece),
                row_groups=list(groups),
                columns=columns,
                use_threads=False,
            ):
                yield _plain(batch)
            fetched._download.verify()


def _repeated(metadata: pq.FileMetaData, columns: Sequence[str]) -> list[str]:
    """Those of the columns that are texts from a small dictionary, in every row group."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    large = {
        chunk.path_in_schema
        for group in groups
        for chunk in (group.column(i) for i in range(group.num_columns))
        if not chunk.has_dictionary_page
        or chunk.physical_type != "BYTE_ARRAY"
        or chunk.data_page_offset - chunk.dictionary_page_offset > DICTIONARY_BYTES
    }
    held = {metadata.schema.column(i).path for i in range(metadata.num_columns)}
    return [name for name in columns if name in held - large]


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """With the values in the place of their numbers in a dictionary."""
    arrays = [a.dictionary_decode() if pa.types.is_dictionary(a.type) else a for a in batch]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _batch_rows(metadata: pq.FileMetaData, groups: Sequence[int], *, piece: int) -> int:
    """How many rows are about `piece` bytes, by the sizes that the footer tells."""
    rows = sum(metadata.row_group(i).num_rows for i in groups)
    size = sum(metadata.row_group(i).total_byte_size for i in groups)
    return max(1, min(BATCH_ROWS, int(piece * rows // max(size, 1))))
