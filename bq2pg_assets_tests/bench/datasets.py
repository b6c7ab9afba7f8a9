"""The data of the benchmark, as BigQuery would export it: Parquet, Snappy, about a million rows a
shard.

Belongs here: each data set's columns and rows, and keeping made shards. Does not: uploading them,
other forms of them (stock.py). Every value follows from its row's number: each machine makes the
same rows.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bq2pg_assets.engine.model import SourceField
from bq2pg_assets_tests.bench import generated, peers

ROWS_PER_SHARD = 1_000_000  # BigQuery's exports hold about so many
LEAST_SHARDS = 4
LINEITEM_PER_SCALE = 6_001_215  # TPC-H, 4.2.5: lineitem at scale factor 1
ROWS_OF_SMALL = 1_000
NEW_KEYS = 10**12  # above every order key
NEW_DAY = date(1999, 1, 1)  # after every ship date, the cursor

Tables = Iterator[pa.Table]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A table: its columns in BigQuery, and its rows, a shard at a time. `key`, `cursor` and
    `indexed` name columns; `groups` is how many row groups a shard has, None as many as the writer
    makes."""

    name: str
    fields: tuple[SourceField, ...]
    rows: Callable[[int, int, Path], Tables]
    key: tuple[str, ...] = ()
    cursor: str | None = None
    indexed: tuple[str, ...] = ()
    groups: int | None = None


def shards(name: str, size: int, *, folder: Path) -> list[Path]:
    """The shards of so many rows of a data set; made when they are not there yet."""
    data = DATA[name]
    place = folder / f"{name}-{size}"
    if not place.exists():
        made = place.with_name(f"{place.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        count = 1 if data.groups == 1 else max(LEAST_SHARDS, -(-size // ROWS_PER_SHARD) // 2 * 2)
        for at, table in enumerate(data.rows(size, count, folder)):
            pq.write_table(
                table,
                made / f"{at:012}.parquet",
                compression="snappy",
                row_group_size=table.num_rows if data.groups == 1 else None,
            )
        made.rename(place)
    return sorted(place.glob("*.parquet"))


def counted(files: list[Path]) -> int:
    """How many rows the shards hold: not exactly `size`, where TPC-H decides."""
    return sum(pq.read_metadata(path).num_rows for path in files)


def _lineitem(size: int, count: int, folder: Path) -> Tables:
    """tpchgen-cli's rows with BigQuery's types: INT64 is its only integer."""
    raw = folder / f"tpch-{size}"
    shutil.rmtree(raw, ignore_errors=True)
    program = peers.built("lineitem", folder.parent).parent / "tpchgen-cli"
    options = ["--tables=lineitem", f"--parts={count}", "-c", "SNAPPY", f"--output-dir={raw}"]
    scale = f"{size / LINEITEM_PER_SCALE:.8f}"
    subprocess.run([program, "parquet", "-s", scale, *options], check=True, env=dict(os.environ))
    for path in sorted(raw.rglob("*.parquet"), key=lambda p: int(p.stem.rpartition(".")[2])):
        yield pq.read_table(path).cast(LINEITEM_SCHEMA)
        path.unlink()
    shutil.rmtree(raw)


def _later(size: int, _: int, folder: Path, *, changed: float) -> Tables:
    """Rows of a day after all others; the first part of them with keys that are there already."""
    first = pq.read_table(shards("lineitem", 100_000, folder=folder)[0]).slice(0, size)
    old = int(size * changed)
    keys = first["l_orderkey"]
    moved = pa.chunked_array(
        [*keys.slice(0, old).chunks, *pc.add(keys.slice(old), NEW_KEYS).chunks]
    )
    days = pa.array([NEW_DAY] * size, pa.date32())
    table = first.set_column(0, LINEITEM_SCHEMA.field(0), moved)
    at = LINEITEM_SCHEMA.get_field_index("l_shipdate")
    yield table.set_column(at, LINEITEM_SCHEMA.field(at), days)


def _fields(*columns: tuple[str, str], mode: str = "NULLABLE") -> tuple[SourceField, ...]:
    return tuple(SourceField(name, kind, mode) for name, kind in columns)  # type: ignore[arg-type]


def _money(name: str) -> SourceField:
    return SourceField(name, "NUMERIC", "REQUIRED", None, 15, 2)


LINEITEM_FIELDS = (
    *_fields(
        ("l_orderkey", "INT64"),
        ("l_partkey", "INT64"),
        ("l_suppkey", "INT64"),
        ("l_linenumber", "INT64"),
        mode="REQUIRED",
    ),
    *(_money(f"l_{name}") for name in ("quantity", "extendedprice", "discount", "tax")),
    *_fields(
        ("l_returnflag", "STRING"),
        ("l_linestatus", "STRING"),
        ("l_shipdate", "DATE"),
        ("l_commitdate", "DATE"),
        ("l_receiptdate", "DATE"),
        ("l_shipinstruct", "STRING"),
        ("l_shipmode", "STRING"),
        ("l_comment", "STRING"),
        mode="REQUIRED",
    ),
)
ARROW = {
    "INT64": pa.int64(),
    "NUMERIC": pa.decimal128(15, 2),
    "STRING": pa.string(),
    "DATE": pa.date32(),
}
LINEITEM_SCHEMA = pa.schema([pa.field(f.name, ARROW[f.type], False) for f in LINEITEM_FIELDS])


def _like_lineitem(name: str, rows: Callable[[int, int, Path], Tables]) -> DataSet:
    return DataSet(
        name,
        LINEITEM_FIELDS,
        rows,
        key=("l_orderkey", "l_linenumber"),
        cursor="l_shipdate",
        indexed=("l_partkey", "l_commitdate"),
    )


def _generated(table: Callable[[int, int], pa.Table]) -> Callable[[int, int, Path], Tables]:
    """A data set of generated.py, in `count` shards."""

    def rows(size: int, count: int, _: Path) -> Tables:
        for at in range(count):
            start, end = size * at // count, size * (at + 1) // count
            yield table(start, end - start)

    return rows


def _one_of_many(_: int, __: int, ___: Path) -> Tables:
    """Of so many tables one, which stands for all of them."""
    yield generated.small(0, ROWS_OF_SMALL)


DATA = {
    data.name: data
    for data in (
        _like_lineitem("lineitem", _lineitem),
        _like_lineitem("lineitem_new", lambda *a: _later(*a, changed=0)),
        _like_lineitem("lineitem_changed", lambda *a: _later(*a, changed=0.5)),
        DataSet("nested", generated.NESTED, _generated(generated.nested)),
        DataSet("wide", generated.WIDE, _generated(generated.wide)),
        DataSet("one_group", generated.LONG, _generated(generated.long), groups=1),
        DataSet("small", generated.SMALL, _one_of_many, groups=1),
    )
}
