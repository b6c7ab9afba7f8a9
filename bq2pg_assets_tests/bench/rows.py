"""The rows of the benchmark, as data: what runs against what, on which data, and what is to be
reached.

Belongs here: contestants and rows; a new row is a new element of ROWS. Does not: how anything is
measured (run.py), how data is made (datasets.py).
"""

from typing import Any

from bq2pg_assets_tests.bench.contest import Contestant, Entry, Reach, Row

MILLION = 1_000_000


def ours(connections: int, **options: Any) -> Contestant:
    """bq2pg's own `sync_table`."""
    given = {"connections": connections, "mode": "replace", **options}
    return Contestant(
        f"bq2pg-{connections}", f"bq2pg, {_connections(connections)}", "ours", options=given
    )


def psql(ready: Any, connections: int, **changes: Any) -> Contestant:
    """`psql \\copy` from files that lie ready."""
    name, form = f"psql-{ready}-{connections}", ready.upper() if ready != "text" else "text"
    given: dict[str, Any] = {
        "ready": ready,
        "creates": False,
        "options": {"connections": connections},
    } | changes
    return Contestant(
        name, f"psql \\copy {form}, {_connections(connections)}", "psql", None, **given
    )


def _connections(count: int) -> str:
    return f"{count} connection{'s' if count > 1 else ''}"


DLT = Contestant("dlt-parquet", "dlt, Parquet through ADBC", "dlt_parquet", "dlt")
DLT_DEFAULTS = Contestant("dlt-defaults", "dlt, its defaults", "dlt_defaults", "dlt")
SLING = Contestant("sling", "Sling, CSV", "sling", "sling", ready="csv")
INGESTR = Contestant("ingestr", "ingestr, Arrow file", "ingestr", "ingestr", ready="arrow")
PANDAS = Contestant("pandas", "pandas to_sql", "pandas_to_sql", "frames")
EXECUTEMANY = Contestant(
    "executemany", "psycopg executemany", "executemany", "frames", creates=False
)
NAIVE = Contestant("naive", "batches of 10,000 rows, SQLAlchemy", "naive", "frames", creates=False)
BY_HAND = psql("binary", 2, into="bench.fresh", options={"connections": 2, "indexes": True})
ONE_RUN = Contestant(
    "one-run", "one Dagster run", "dagster_tables", options={"way": "one run"}, into="bench.t1"
)
QUEUE = Contestant(
    "queue", "one run per table", "dagster_tables", options={"way": "queue"}, into="bench.t1"
)

SMALL_MEMORY = Reach("extra_mb", 128)
NO_FULL_SCAN = Reach("scanned_rows", 100)  # whether there is any row is looked at
LINEITEM: dict[str, Any] = {"data": "lineitem", "size": 6 * MILLION, "quick": 100_000}
ON_LINEITEM: dict[str, Any] = {
    "base": "lineitem",
    "base_size": 6 * MILLION,
    "base_quick": 100_000,
}

ROWS: tuple[Row, ...] = (
    Row(
        "lineitem-2",
        "TPC-H lineitem over 2 connections",
        entries=(Entry(ours(2)), Entry(psql("binary", 2)), Entry(psql("csv", 2))),
        reaches=(
            Reach("seconds", 1.25, "psql-binary-2"),
            Reach("seconds", 1.0, "psql-csv-2"),
            SMALL_MEMORY,
        ),
        **LINEITEM,
    ),
    Row(
        "lineitem-1",
        "TPC-H lineitem over 1 connection",
        entries=(Entry(ours(1)), Entry(psql("binary", 1))),
        reaches=(Reach("seconds", 1.0, "psql-binary-1"),),
        **LINEITEM,
    ),
    Row(
        "peers",
        "TPC-H lineitem, other tools at their fastest",
        entries=(Entry(ours(2)), Entry(DLT), Entry(SLING), Entry(INGESTR)),
        reaches=(
            Reach("seconds", 1 / 4, "dlt-parquet"),
            Reach("seconds", 1 / 10, "sling"),
            Reach("seconds", 1.0, "ingestr"),
        ),
        warms_up=False,  # of turns of minutes the first is as good as any
        **LINEITEM,
    ),
    Row(
        "habits",
        "TPC-H lineitem, what is usually written first",
        "lineitem",
        500_000,
        10_000,
        (Entry(ours(2)), Entry(PANDAS), Entry(DLT_DEFAULTS), Entry(EXECUTEMANY), Entry(NAIVE)),
        tuple(
            Reach("seconds", 1 / 25, name)
            for name in ("pandas", "dlt-defaults", "executemany", "naive")
        ),
        warms_up=False,
    ),
    Row(
        "nested",
        "nested rows such as patents: jsonb and text arrays",
        "nested",
        300_000,
        30_000,
        (Entry(ours(2)), Entry(psql("text", 2))),
        (Reach("seconds", 1.1, "psql-text-2"), SMALL_MEMORY),
    ),
    Row(
        "wide",
        "a column of every type, BIGNUMERIC among them",
        "wide",
        MILLION,
        50_000,
        (Entry(ours(2)), Entry(psql("binary", 2))),
        (Reach("seconds", 1.25, "psql-binary-2"), SMALL_MEMORY),
    ),
    Row(
        "memory-rows",
        "memory, from few rows to many",
        "lineitem",
        50 * MILLION,
        400_000,
        (Entry(ours(2), "many"), Entry(ours(2), "few", size=MILLION, quick=40_000)),
        (
            Reach("extra_mb", 128, of="many"),
            Reach("extra_mb", 128, of="few"),
            Reach("extra_mb", 1.15, "few", of="many"),
        ),
        rounds=1,
    ),
    Row(
        "memory-shard",
        "memory, one shard of 1 GB in one row group",
        "one_group",
        2_000_000,
        200_000,
        (Entry(ours(2)),),
        (SMALL_MEMORY,),
        rounds=1,
    ),
    Row(
        "append",
        "10,000 new rows into lineitem with primary key and two indexes, append",
        "lineitem_new",
        10_000,
        10_000,
        (Entry(ours(2, mode="append")), Entry(psql("binary", 1))),
        (Reach("seconds", 2.0, "psql-binary-1"), NO_FULL_SCAN),
        **ON_LINEITEM,
    ),
    Row(
        "merge",
        "5,000 new and 5,000 changed rows into the same table, merge",
        "lineitem_changed",
        10_000,
        10_000,
        (
            Entry(ours(2, mode="merge")),
            Entry(psql("binary", 1), data="lineitem_new"),
        ),
        (Reach("seconds", 2.0, "psql-binary-1"), NO_FULL_SCAN),
        **ON_LINEITEM,
    ),
    Row(
        "replace-indexed",
        "full replace with primary key and two indexes",
        entries=(Entry(ours(2)), Entry(BY_HAND)),
        reaches=(Reach("seconds", 1.1, "psql-binary-2"),),
        **LINEITEM,
        **ON_LINEITEM,
    ),
    Row(
        "tables",
        "200 tables of 1,000 rows through Dagster",
        "small",
        200,
        10,
        (Entry(ONE_RUN), Entry(QUEUE, quick=2)),
        (Reach("seconds_each", 0.25, of="one-run"), Reach("seconds_each", 0.25, of="queue")),
        rounds=1,
    ),
)
