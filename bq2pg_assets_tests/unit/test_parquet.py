"""A shard's row groups as parts, its rows in batches, what is no Parquet.

Belongs here: Parquet made by Arrow, read through a Download. Does not: its bytes on their way
(test_download.py), who copies which part (test_feed.py).
"""

import pyarrow as pa
import pytest

from bq2pg_assets.engine.errors import StorageError
from bq2pg_assets.engine.parquet import BATCH_ROWS
from bq2pg_assets_tests.blobs import PIECE, fetched, parquet

IDS = pa.table({"id": pa.array(range(50_000), pa.int64()), "v": ["x"] * 50_000})


@pytest.mark.parametrize("wanted", [1, 2, 3, 9])
def test_the_parts_together_are_the_shard(wanted: int) -> None:
    with fetched(parquet(IDS, group=9_000)) as shard:
        parts = shard.parts(wanted)
        assert len(parts) == min(wanted, 6)
        assert sum(part.share for part in parts) == pytest.approx(1)
        ids = []
        for part in parts:
            with part.open() as opened:
                found = [i for b in opened.batches(["id"]) for i in b.column(0).to_pylist()]
                assert len(found) == opened.rows
                ids += found
        assert sorted(ids) == list(range(50_000))


def test_parts_are_of_about_as_many_rows_and_begin_at_the_beginning() -> None:
    with fetched(parquet(IDS, group=5_000)) as shard:
        parts = shard.parts(3)
        assert [part.row_groups for part in parts] == [(0, 3, 6, 9), (1, 4, 7), (2, 5, 8)]
        assert [part.rows for part in parts] == [20_000, 15_000, 15_000]


def test_what_is_staged_is_left_out() -> None:
    with fetched(parquet(IDS, group=10_000)) as shard:
        assert [part.row_groups for part in shard.parts(1, staged=[0, 2])] == [(1, 3, 4)]
        assert shard.parts(2, staged=range(5)) == []


def test_a_shard_of_one_row_group_or_none_is_one_part() -> None:
    for table, rows in ((IDS, 50_000), (IDS.slice(0, 0), 0)):
        with fetched(parquet(table, group=100_000)) as shard:
            assert [(part.row_groups, part.rows) for part in shard.parts(4)] == [((), rows)]
            with shard.parts(4)[0].open() as opened:
                assert sum(b.num_rows for b in opened.batches(["id", "v"])) == rows


def test_a_part_can_be_read_twice() -> None:
    with fetched(parquet(IDS, group=30_000)) as shard:
        (part,) = shard.parts(1)
        for _ in range(2):
            with part.open() as opened:
                assert sum(b.num_rows for b in opened.batches(["v"])) == 50_000


@pytest.mark.parametrize(("width", "most"), [(1, BATCH_ROWS), (10_000, PIECE // 10_000)])
def test_wide_rows_come_in_smaller_batches(width: int, most: int) -> None:
    table = pa.table({"v": [f"{i:0{width}d}" for i in range(10_000)]})
    with fetched(parquet(table, group=10_000)) as shard, shard.parts(1)[0].open() as opened:
        sizes = [b.num_rows for b in opened.batches(["v"])]
    assert sum(sizes) == 10_000
    assert most * 0.9 <= max(sizes) <= most


def test_a_checksum_that_differs_is_told_after_the_last_batch() -> None:
    data = parquet(IDS, group=10_000)
    with fetched(data, stored=b"something else") as shard, shard.parts(1)[0].open() as opened:
        batches = opened.batches(["id"])
        next(batches)
        with pytest.raises(StorageError, match="its CRC32C is"):
            list(batches)


def test_what_is_no_parquet_is_told_apart_from_what_came_spoilt() -> None:
    data = bytearray(parquet(IDS, group=10_000))
    data[4:2_000] = b"\xff" * 1_996
    for stored, says in ((None, "not a readable Parquet file"), (b"other", "its CRC32C is")):
        with (
            fetched(bytes(data), stored=stored) as shard,
            shard.parts(1)[0].open() as opened,
            pytest.raises(StorageError, match=says),
        ):
            list(opened.batches(["id", "v"]))
    with (
        fetched(b"<html>no</html>") as shard,
        pytest.raises(StorageError, match="not a readable Parquet file"),
    ):
        shard.parts(1)


def test_texts_of_few_values_come_as_they_are_from_every_row_group() -> None:
    words = pa.array([None if i % 7 == 0 else f"{i // 9_000}-{i % 3}" for i in range(30_000)])
    many = pa.array([f"{i:040}" for i in range(30_000)])
    table = pa.table(
        {"few": words, "many": many, "in": pa.array([{"few": w} for w in words.to_pylist()])}
    )
    with fetched(parquet(table, group=9_000)) as shard:
        (part,) = shard.parts(1)
        with part.open() as opened:
            batches = list(opened.batches(["few", "many", "in"]))
    read = pa.Table.from_batches(batches)
    assert read.schema == table.schema
    assert read.equals(table)
