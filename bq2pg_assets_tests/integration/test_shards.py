"""What happens when the exported objects are not what BigQuery wrote.

Belongs here: a storage that lies, by a small subclass of GcsShards between export and copy; and
what may be deleted. Does not belong here: encoding (unit tests), several shards at once
(test_concurrency.py).
"""

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import storage

from bq2pg_assets.engine.errors import Bq2pgError, MappingError, StorageError, VerifyError
from bq2pg_assets.engine.model import RunId, Shard
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.integration.helpers import Snapshot, World

QUERY = "SELECT x AS id, CONCAT('row ', CAST(x AS STRING)) AS v FROM UNNEST([1, 2, 3]) AS x"
Change = Callable[[storage.Blob], object]


class Tampered(GcsShards):
    """Changes every object before, or after, the run lists them."""

    def __init__(self, world: World, change: Change, *, listed: bool = False) -> None:
        super().__init__(world.storage, bucket=world.bucket)
        self._change, self._listed = change, listed

    def list(self, prefix: str) -> tuple[Shard, ...]:
        before = super().list(prefix)
        for blob in list(self.client.list_blobs(self.name, prefix=self._path(prefix))):
            self._change(blob)
        return before if self._listed else super().list(prefix)


def overwrite(data: bytes) -> Change:
    return lambda blob: blob.upload_from_string(data)


def truncate(blob: storage.Blob) -> None:
    blob.upload_from_string(blob.download_as_bytes()[:-20])


def flip(blob: storage.Blob) -> None:
    """Spoil the data pages and leave the footer as it is."""
    data = bytearray(blob.download_as_bytes())
    data[8:60] = b"\xff" * 52
    blob.upload_from_string(bytes(data))


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def add_empty_shard(blob: storage.Blob) -> None:
    empty = pa.table({"id": pa.array([], pa.int64()), "v": pa.array([], pa.string())})
    name = blob.name.replace("000000000000", "000000000001")
    blob.bucket.blob(name).upload_from_string(parquet(empty))


ROWS = {"id": [1, 2], "v": ["a", "b"]}


SPOILT: list[tuple[str, Change, type[Bq2pgError], str]] = [
    ("truncated", truncate, StorageError, "not a readable Parquet file"),
    ("spoilt pages", flip, StorageError, "not a readable Parquet file"),
    ("empty", overwrite(b""), StorageError, "not a readable Parquet file"),
    (
        "spoilt footer",
        overwrite(b"PAR1" + b"\0" * 100 + b"\x30\0\0\0PAR1"),
        StorageError,
        "not a readable Parquet file",
    ),
    ("other bytes", overwrite(b"<html>no</html>"), StorageError, "not a readable Parquet file"),
    ("deleted", storage.Blob.delete, VerifyError, "0 rows copied; expected 3"),
    ("fewer rows", overwrite(parquet(pa.table(ROWS))), VerifyError, "2 rows copied; expected 3"),
    (
        "another type",
        overwrite(parquet(pa.table({"id": ["1"], "v": ["a"]}))),
        MappingError,
        "column id (INT64) is string",
    ),
    (
        "a column less",
        overwrite(parquet(pa.table({"id": [1]}))),
        MappingError,
        "column v is missing",
    ),
]


def test_a_changed_object_stops_the_run_before_anything_is_published(world: World) -> None:
    world.sync(query="SELECT 0 AS id, 'before' AS v")
    before = Snapshot.of(world)
    for name, change, kind, says in SPOILT:
        with pytest.raises(kind) as stopped:
            world.sync(query=QUERY, shards=Tampered(world, change))
        assert says in str(stopped.value), name
        assert stopped.value.retryable is (kind is not MappingError), name
        assert Snapshot.of(world) == before, name
        world.no_leftovers()


@pytest.mark.parametrize("change", [truncate, storage.Blob.delete], ids=["changed", "deleted"])
def test_an_object_that_changes_after_it_was_listed_stops_the_run(
    world: World, change: Change
) -> None:
    with pytest.raises(StorageError) as stopped:
        world.sync(query=QUERY, shards=Tampered(world, change, listed=True))
    assert stopped.value.retryable
    assert not world.exists("t")
    world.no_leftovers()


def test_an_empty_shard_beside_full_ones_adds_nothing(world: World) -> None:
    result = world.sync(query=QUERY, shards=Tampered(world, add_empty_shard))
    assert (result.rows, result.shards) == (3, 2)
    assert [row[0] for row in world.rows("t")] == [1, 2, 3]
    world.no_leftovers()


def test_no_object_at_all_is_fine_only_when_nothing_was_exported(world: World) -> None:
    gone = Tampered(world, storage.Blob.delete)
    result = world.sync(query=f"{QUERY} WHERE x > 9", empty_source="allow", shards=gone)
    assert (result.rows, result.shards, world.rows("t")) == (0, 0, [])


def test_objects_lost_by_an_extract_job_are_missed_although_it_counts_no_rows(
    world: World,
) -> None:
    world.make_source(QUERY)

    def lose(blob: storage.Blob) -> None:
        blob.delete()
        world.bq("DELETE FROM {d}.source WHERE id = 3")  # now the table's own count tells nothing

    with pytest.raises(Bq2pgError) as stopped:
        world.sync(shards=Tampered(world, lose), empty_source="allow")
    assert stopped.value.retryable
    assert not world.exists("t")


def test_only_what_lies_below_the_runs_own_prefix_is_deleted(world: World) -> None:
    bucket = world.storage.bucket(world.bucket)
    others = ["mine.parquet", "bq2pg/t/run-1/x", "bq2pg/t/run-0x/y", "bq2pg/t2/run-0/z"]
    for name in others:
        bucket.blob(name).upload_from_string(b"keep")
    world.sync(query=QUERY, run=RunId("run"))
    assert sorted(world.objects()) == sorted(others)


def test_nothing_outside_the_folder_bq2pg_can_be_deleted(world: World) -> None:
    bucket = world.storage.bucket(world.bucket)
    bucket.blob("other/t/x").upload_from_string(b"keep")
    for path in ("", "bq2pg", "other/t/", "bq2pgx/t/"):
        with pytest.raises(ValueError, match="is not below bq2pg/"):
            world.shards().delete(f"gs://{world.bucket}/{path}")
    with pytest.raises(ValueError, match="is not in bucket"):
        world.shards().delete("gs://another/bq2pg/t/")
    assert world.objects() == ["other/t/x"]
