"""Promise: a plan reads without knowing the code behind it."""

from dataclasses import replace
from datetime import UTC, datetime

from bq2pg_assets.cli.plan_text import plan_json, plan_lines
from bq2pg_assets.engine.model import (
    Column,
    Cursor,
    Estimate,
    ExportWay,
    Mode,
    SyncPlan,
    TargetName,
    Window,
)

LOW, HIGH = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
PLAN = SyncPlan(
    table="planes",
    target=TargetName("nyc", "planes"),
    publish=Mode.MERGE,
    creates_target=False,
    way=ExportWay.EXPORT_DATA,
    reason="only rows above the cursor are read",
    source_sql="`p`.`nyc`.`planes`",
    location="US",
    columns=(
        Column("id", "id", "INT64", "bigint", True, "`id`", True, "native"),
        Column("info", "raw", "JSON", "jsonb", False, "TO_JSON_STRING(`raw`)", False, "jsonb"),
    ),
    cursor=Cursor("changed_at", "TIMESTAMP", LOW),
    window=Window(LOW, HIGH),
    where="seats > 10",
    limit=5,
    cursor_after="keep",
    key=("id", "year"),
    snapshot_at=None,
    expected_rows=None,
    max_bytes_billed=1024**4,
)
ESTIMATE = Estimate(bytes=5 * 1024**3, cost=0.03)


def test_a_window_that_leaves_no_partition_out_is_told() -> None:
    every = replace(PLAN, every_partition_of="day", where=None)
    assert (
        "  partitions every one is read: BigQuery wants a filter on day, and the window gives none"
        in plan_lines(every, ESTIMATE, verbose=False)
    )
    own = plan_lines(replace(every, where="day > '2024-01-01'"), ESTIMATE, verbose=False)
    assert not any("partition" in line for line in own)


def test_every_decision_has_its_line() -> None:
    assert plan_lines(PLAN, ESTIMATE, verbose=True) == [
        "planes → nyc.planes",
        "  source     `p`.`nyc`.`planes`",
        "  window     changed_at above 2024-01-01 00:00:00Z up to 2024-02-01 00:00:00Z",
        "  condition  seats > 10",
        "  limit      5 rows",
        "  publish    merge: rows are inserted or updated by (id, year)",
        "  way out    EXPORT DATA statement (only rows above the cursor are read)",
        "  expects    a number of rows BigQuery does not tell beforehand",
        "  price      $0.03 on demand for 5.0 GiB; never more than 1.0 TiB",
        "  cursor     changed_at stays: --where may leave rows out",
        "  columns    2",
        "    id          INT64 → bigint NOT NULL",
        "    raw → info  JSON → jsonb             TO_JSON_STRING(`raw`)",
    ]


def test_a_direct_read_names_its_own_price() -> None:
    direct = replace(PLAN, way=ExportWay.READ_API, reason="asked for; of the table", direct=True)
    lines = plan_lines(direct, Estimate(5 * 1024**3, 0.0), verbose=False)
    assert "  way out    Storage Read API (asked for; of the table)" in lines
    assert (
        "  price      free for at most 5.0 GiB, up to 300 TiB a month; then $1.10 per TiB" in lines
    )


def test_nothing_new_says_that_no_export_would_be_started() -> None:
    lines = plan_lines(replace(PLAN, nothing_new=True), ESTIMATE, verbose=False)
    assert "  outcome    nothing new: a sync would start no export" in lines
    assert not [line for line in lines if line.startswith(("  price", "  cursor", "  way out"))]


def test_a_long_query_is_one_short_line_unless_all_is_asked_for() -> None:
    query = replace(PLAN, source_sql="(\nSELECT a,\n" + "  b,\n" * 60 + ") AS q")
    assert len(plan_lines(query, ESTIMATE, verbose=False)[1]) <= 105
    assert plan_lines(query, ESTIMATE, verbose=True)[1].endswith(") AS q")


def test_json_has_texts_for_moments() -> None:
    found = plan_json(PLAN, ESTIMATE)
    assert found["window"] == {
        "low": "2024-01-01T00:00:00+00:00",
        "high": "2024-02-01T00:00:00+00:00",
        "nulls": False,
    }
    assert found["target"] == "nyc.planes"
    assert found["estimate"] == {"bytes": 5 * 1024**3, "cost": 0.03}
