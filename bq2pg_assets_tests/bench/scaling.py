"""docs/scaling.md: what 1 GB, 100 GB and 10 TB need, computed from what was measured. Pure but for
reading a shard.

Belongs here: the model, its prices, the page's words. Does not: measuring (run.py), the page of the
benchmark itself (report.py).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bq2pg_assets_tests.bench.datasets import LINEITEM_FIELDS
from bq2pg_assets_tests.bench.results import Results
from bq2pg_assets_tests.bench.timing import MIB

GB, TB, TIB = 1e9, 1e12, 1024**4
SIZES = (("1 GB", GB), ("100 GB", 100 * GB), ("10 TB", 10 * TB))
# US dollars, as of 2026: cloud.google.com/bigquery/pricing, cloud.google.com/storage/pricing.
QUERY_PER_TIB, READ_API_PER_TIB, BUCKET_PER_GB_MONTH = 6.25, 1.10, 0.020
HOURS_PER_MONTH = 730
# What BigQuery counts for a value: cloud.google.com/bigquery/pricing#data. A STRING has 2 more.
LOGICAL = {"INT64": 8, "NUMERIC": 16, "DATE": 8, "STRING": 2}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one row of lineitem takes, in bytes, and rows a second over one and two connections."""

    logical: float
    parquet: float
    table: float
    wal: float
    one: float
    two: float


@dataclass(frozen=True, slots=True)
class Need:
    """What a full load of `logical` bytes needs. Bytes, hours, US dollars."""

    rows: float
    parquet: float
    table: float
    wal: float
    hours: float
    query: float
    read_api: float
    bucket: float


def need(logical: float, measured: Measured) -> Need:
    """By the measured rates; sizes and times grow with the rows."""
    rows = logical / measured.logical
    hours = rows / measured.two / 3600
    parquet = rows * measured.parquet
    return Need(
        rows,
        parquet,
        rows * measured.table,
        rows * measured.wal,
        hours,
        logical / TIB * QUERY_PER_TIB,
        logical / TIB * READ_API_PER_TIB,
        # The objects lie there for the time of the run, and that of the export, which is no longer.
        parquet / GB * BUCKET_PER_GB_MONTH * 2 * hours / HOURS_PER_MONTH,
    )


def logical_bytes(table: pa.Table) -> float:
    """What BigQuery counts for a row of lineitem, on average."""
    fixed = sum(LOGICAL[field.type] for field in LINEITEM_FIELDS)
    texts = [f.name for f in LINEITEM_FIELDS if f.type == "STRING"]
    return fixed + sum(pc.mean(pc.binary_length(table[name])).as_py() for name in texts)


def measured(found: Results, shards: list[Path]) -> Measured:
    """From the rows lineitem-2 and lineitem-1 of the benchmark and the shards they read."""
    rows = {row.name: row for row in found.rows}
    two, one = rows["lineitem-2"].entry("bq2pg-2"), rows["lineitem-1"].entry("bq2pg-1")
    held = pq.read_metadata(shards[0])

    def per_row(figure: str) -> float:
        return (two.median(figure) or 0) * MIB / two.rows

    return Measured(
        logical_bytes(pq.read_table(shards[0])),
        shards[0].stat().st_size / held.num_rows,
        per_row("table_mb"),
        per_row("wal_mb"),
        one.rows / (one.median("seconds") or 1),
        two.rows / (two.median("seconds") or 1),
    )


def page(found: Results, at: Measured) -> str:
    """The whole page."""
    needs = [need(size, at) for _, size in SIZES]
    lines = [
        f"| {title} | {' | '.join(cells)} |"
        for title, cells in (
            ("rows", [_count(n.rows) for n in needs]),
            ("BigQuery, extract job", ["0 $" for _ in needs]),
            ("BigQuery, export of a query", [_money(n.query) for n in needs]),
            ("BigQuery, Storage Read API", [_money(n.read_api) for n in needs]),
            ("bucket, for the time of the run", [_size(n.parquet) for n in needs]),
            ("its price", [_money(n.bucket) for n in needs]),
            ("PostgreSQL: the table", [_size(n.table) for n in needs]),
            ("PostgreSQL: WAL written", [_size(n.wal) for n in needs]),
            ("hours, 2 connections", [_hours(n.hours) for n in needs]),
        )
    ]
    return PAGE.format(
        taken=found.taken,
        processor=found.machine.get("processor", "unknown"),
        heads=" | ".join(title for title, _ in SIZES),
        lines="\n".join(lines),
        gain=at.two / at.one,
        **asdict(at),
    )


def _count(number: float) -> str:
    return f"{number / 1e6:,.0f} M"


def _size(number: float) -> str:
    return f"{number / GB:,.1f} GB" if number < TB else f"{number / TB:,.1f} TB"


def _money(dollars: float) -> str:
    return f"{dollars:,.2f} $" if dollars >= 0.005 else "under 0.01 $"


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 0.1 else f"{hours * 3600:.0f} s"


PAGE = """# Scaling

Written by `make bench`: what a full load needs, from what was measured with TPC-H's lineitem
({taken}, {processor}, server and client on the same two cores). Read it as an estimate: nested
rows and long texts cost more per row, and less per byte.

| measured, per row | |
|---|---|
| BigQuery's logical bytes | {logical:.0f} |
| Parquet, Snappy | {parquet:.0f} bytes |
| PostgreSQL's table, without indexes | {table:.0f} bytes |
| WAL | {wal:.0f} bytes |
| rows a second, 1 connection | {one:,.0f} |
| rows a second, 2 connections | {two:,.0f} ({gain:.2f} ×) |

## What a full load needs

| BigQuery's logical size | {heads} |
|---|---|---|---|
{lines}

- **BigQuery**: an extract job is free up to 50 TiB a day and project; it reads a table as a whole,
  without a filter. A query is billed by the bytes of the columns it reads in the partitions it
  needs, on demand at 6.25 $ per TiB, the first TiB of a month free. `bq2pg plan` tells way and
  price before the run, and `max_bytes_billed` caps it.
- **Bucket**: shards are deleted when the run ends, whatever its end. A lifecycle rule of one day is
  for a machine that dies and never comes back.
- **Memory** of the client does not depend on the size: `memory_limit_mb`. Its disk (`TMPDIR`) holds
  one shard more than there are workers, some 1 GB each at the most.
- **PostgreSQL's disk**: a replace by `swap` holds the old and the new table at once. WAL is written
  once; with a replica or archiving it is sent once as well. `max_wal_size` of a few GB spares
  checkpoints during the copy.
- An increment needs what its own rows need: the table's size does not matter, but for its indexes.

## Larger machines

- The server takes about one core for each connection that copies; bq2pg's process takes less than
  that to decode and encode for it. So a VM with half the server's cores feeds it, and
  `parallelism` is best the number of cores that the server can spare, up to 16.
- `sync_history.profile` and the asset's metadata say which of them waits, with a line of advice:
  `server` above half of the time means that a larger VM brings nothing.
- Disks come next: WAL and table are written at the rate of the copy. Cloud SQL's disks grow faster
  with their size.

## When to cut a load

- Above what fits twice on the server's disk: `replace_strategy: truncate`, or `append` with a
  cursor, which fills the table in windows: `bq2pg sync TABLE --limit N`, again and again, or a
  `--where` by partition.
- When readers should see the first part before the last. For safety it needs no cut: a killed run
  goes on from the last shard.
- Above 50 TiB a day, by BigQuery's limit on extract jobs.

## How many machines pay

- One VM, as long as its process does not take all its cores: `bq2pg status --json` and the profile
  tell. Many tables run side by side on it, each with its own connections, and
  `BQ2PG_PG_MAX_CONNECTIONS` keeps them within what the server takes.
- A second VM or pod pays when the tables go to different servers, or when the server has more idle
  cores than one VM can feed: with 2 cores each, from some 16 copying connections on.
- A table is never split over machines: its copy is bound by one server, and one machine feeds it.
"""
