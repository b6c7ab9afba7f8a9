"""The decisions of a run, as tables: what is there and what is asked, and what follows from it.

What is refused instead is in test_plan_refusals.py.
"""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import (
    CursorValue,
    ExportWay,
    Mode,
    Probe,
    RunOptions,
    SourceFacts,
    SourceField,
    TargetFacts,
    Window,
)
from bq2pg_assets_tests.unit.planned import (
    APPEND,
    AT,
    EMPTY,
    FACTS,
    FIELDS,
    FULL,
    FULL_LIMIT,
    FULL_WHERE,
    HIGH,
    LIMIT,
    LOW,
    MERGE,
    MERGE_ALL,
    MISSING,
    OURS,
    PLAIN,
    REPLACE,
    STORED,
    THEIRS,
    WHERE,
    plan_of,
)

# mode, target, stored cursor, options -> publish, incremental, what becomes of the cursor
DECISIONS = [
    *[(REPLACE, t, STORED, o, Mode.REPLACE, False, "clear")
      for t in (MISSING, EMPTY) for o in (PLAIN, FULL, LIMIT, WHERE)],
    *[(REPLACE, OURS, STORED, o, Mode.REPLACE, False, "clear")
      for o in (PLAIN, FULL, FULL_LIMIT, FULL_WHERE)],
    (REPLACE, THEIRS, None, FULL, Mode.REPLACE, False, "clear"),
    *[(m, MISSING, STORED, o, Mode.REPLACE, False, "advance")
      for m in (APPEND, MERGE) for o in (PLAIN, FULL)],
    *[(m, t, None, PLAIN, Mode.REPLACE, False, "advance")
      for m in (APPEND, MERGE) for t in (MISSING, EMPTY, OURS)],
    *[(m, t, None, o, Mode.REPLACE, False, "clear")
      for m in (APPEND, MERGE) for t in (MISSING, EMPTY) for o in (LIMIT, WHERE)],
    *[(m, MISSING, STORED, o, Mode.REPLACE, False, "clear")
      for m in (APPEND, MERGE) for o in (LIMIT, WHERE)],
    *[(m, OURS, stored, o, Mode.REPLACE, False, "clear")
      for m in (APPEND, MERGE) for stored in (None, STORED) for o in (FULL_LIMIT, FULL_WHERE)],
    *[(m, t, STORED, FULL, Mode.REPLACE, False, "advance")
      for m in (APPEND, MERGE) for t in (EMPTY, OURS, THEIRS)],
    *[(APPEND, t, STORED, o, Mode.APPEND, True, "advance")
      for t in (EMPTY, OURS) for o in (PLAIN, LIMIT)],
    *[(MERGE, t, STORED, o, Mode.MERGE, True, "advance")
      for t in (EMPTY, OURS) for o in (PLAIN, LIMIT)],
    (MERGE, OURS, STORED, WHERE, Mode.MERGE, True, "keep"),
    (MERGE_ALL, MISSING, None, PLAIN, Mode.REPLACE, False, "clear"),
    *[(MERGE_ALL, OURS, None, o, Mode.MERGE, False, "clear") for o in (PLAIN, LIMIT, WHERE)],
    (MERGE_ALL, OURS, None, FULL_WHERE, Mode.REPLACE, False, "clear"),
    (MERGE_ALL, THEIRS, None, FULL, Mode.REPLACE, False, "clear"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "target", "stored", "options", "publish", "incremental", "after"), DECISIONS
)
def test_what_is_there_and_what_is_asked_decide_the_run(
    config: dict[str, Any],
    target: TargetFacts,
    stored: CursorValue | None,
    options: RunOptions,
    publish: Mode,
    incremental: bool,
    after: str,
) -> None:
    plan = plan_of(config, target, stored, options)
    assert (plan.publish, plan.cursor_after) == (publish, after)
    assert plan.window == (Window(LOW, HIGH) if incremental else None)
    assert plan.snapshot_at == (AT if incremental else None)
    assert plan.expected_rows == (3 if incremental else None if options.partial else 9)
    assert plan.bytes_probed == (7 if incremental else 0)
    assert plan.creates_target is (target is MISSING)
    assert not plan.nothing_new
    assert plan.key == (("id",) if "key" in config else ())
    assert (plan.where, plan.limit) == (options.where, options.limit)


def test_nothing_above_the_cursor_is_nothing_new() -> None:
    plan = plan_of(APPEND, probe=Probe(None, 0, AT))
    assert plan.nothing_new
    assert plan.window == Window(LOW, None)


@pytest.mark.parametrize(
    ("kind", "stored", "value"),
    [
        ("TIMESTAMP", STORED, LOW),
        ("DATETIME", STORED, STORED),
        ("DATE", STORED, date(2024, 1, 1)),
        ("DATE", date(2024, 1, 1), date(2024, 1, 1)),
    ],
)
def test_a_stored_cursor_gets_its_bigquery_type_back(
    kind: str, stored: CursorValue, value: CursorValue
) -> None:
    facts = replace(FACTS, fields=(FIELDS[0], SourceField("at", kind)))
    plan = plan_of(APPEND, MISSING, stored, facts=facts)
    assert plan.cursor is not None
    assert (plan.cursor.type, plan.cursor.value) == (kind, value)


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT", "QUERY"])
def test_only_a_plain_table_is_read_as_of_a_moment(kind: str) -> None:
    assert plan_of(APPEND, facts=replace(FACTS, kind=kind)).snapshot_at is None


VIEW = replace(FACTS, kind="MATERIALIZED_VIEW")
JSON = replace(FACTS, fields=(*FIELDS, SourceField("doc", "JSON")))
WAYS: list[tuple[dict[str, Any], RunOptions, SourceFacts, str]] = [
    (REPLACE, PLAIN, VIEW, "the source is a materialized view"),
    (REPLACE, PLAIN, replace(FACTS, kind="QUERY"), "the source is a query"),
    (REPLACE, WHERE, FACTS, "a condition is given"),
    (REPLACE, LIMIT, FACTS, "a limit is given"),
    (REPLACE, PLAIN, replace(FACTS, streaming=True), "rows wait in the streaming buffer"),
    (REPLACE, PLAIN, JSON, "Parquet cannot carry doc as they are"),
    (REPLACE | {"columns": {"at": {"exclude": True}}}, PLAIN, FACTS, "at must stay in BigQuery"),
    (APPEND, PLAIN, FACTS, "only rows above the cursor are read"),
    (REPLACE, LIMIT, VIEW, "the source is a materialized view; a limit is given"),
]


@pytest.mark.parametrize(("config", "options", "facts", "reason"), WAYS)
def test_what_an_extract_job_cannot_do_is_exported_by_a_query(
    config: dict[str, Any], options: RunOptions, facts: SourceFacts, reason: str
) -> None:
    target = OURS if config is APPEND else MISSING
    plan = plan_of(config, target, STORED, options, facts)
    assert (plan.way, plan.reason) == (ExportWay.EXPORT_DATA, reason)
    with pytest.raises(ConfigError, match="Use export: auto") as caught:
        plan_of(config | {"export": "extract"}, target, STORED, options, facts)
    assert caught.value.met == f"export: extract, but {reason}"


@pytest.mark.parametrize("export", ["auto", "extract"])
@pytest.mark.parametrize("columns", [{}, {"at": {"name": "renamed"}}])
def test_a_whole_plain_table_is_extracted_for_free(export: str, columns: dict[str, Any]) -> None:
    plan = plan_of(REPLACE | {"export": export, "columns": columns}, MISSING)
    assert plan.way is ExportWay.EXTRACT


READS: list[tuple[dict[str, Any], RunOptions, SourceFacts, str]] = [
    (REPLACE, PLAIN, FACTS, ""),
    (APPEND, PLAIN, FACTS, ""),
    (REPLACE, WHERE, FACTS, ""),
    (REPLACE | {"columns": {"at": {"exclude": True}}}, PLAIN, FACTS, ""),
    (APPEND, PLAIN, replace(FACTS, partition_filter_on="at"), ""),
    (APPEND, PLAIN, replace(FACTS, partition_filter_on="day"), "BigQuery wants a filter on day"),
    (REPLACE, LIMIT, VIEW, "the source is a materialized view; a limit is given"),
    (REPLACE, PLAIN, replace(FACTS, streaming=True), "rows wait in the streaming buffer"),
    (REPLACE, PLAIN, JSON, "Arrow cannot carry doc as they are"),
    (REPLACE, RunOptions(where="id IN (SELECT 1)"), FACTS, "the condition holds a query"),
]


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(("config", "options", "facts", "needs"), READS)
def test_the_read_api_reads_a_plain_table_and_the_result_of_a_query(
    config: dict[str, Any], options: RunOptions, facts: SourceFacts, needs: str, asked: bool
) -> None:
    target = OURS if config is APPEND else MISSING
    config = config | ({"export": "read_api"} if asked else {})
    plan = plan_of(config, target, STORED, options, facts, has_bucket=asked)
    why = "asked for" if asked else "no bucket is configured"
    how = f"of a query's result: {needs}" if needs else "of the table itself"
    assert (plan.way, plan.reason) == (ExportWay.READ_API, f"{why}; {how}")
    assert plan.direct is not bool(needs)
    assert (plan.every_partition_of == "day") is (facts.partition_filter_on == "day")


@pytest.mark.parametrize("export", ["extract", "export_data"])
def test_a_way_through_the_bucket_needs_one(export: str) -> None:
    with pytest.raises(ConfigError, match="Set BQ2PG_GCS_BUCKET, or use export: read_api"):
        plan_of(REPLACE | {"export": export}, MISSING, has_bucket=False)


def test_a_query_export_can_be_asked_for() -> None:
    plan = plan_of(REPLACE | {"export": "export_data"})
    assert (plan.way, plan.reason) == (ExportWay.EXPORT_DATA, "asked for")


BY_AT, BY_DAY = (replace(FACTS, partition_filter_on=column) for column in ("at", "day"))
PARTITIONS: list[tuple[dict[str, Any], TargetFacts, RunOptions, SourceFacts, str | None]] = [
    (APPEND, OURS, PLAIN, BY_AT, None),
    (MERGE, OURS, WHERE, BY_AT, None),
    (APPEND, OURS, PLAIN, BY_DAY, "day"),
    (APPEND, MISSING, LIMIT, BY_AT, "at"),
    (REPLACE, MISSING, WHERE, BY_AT, "at"),
    (REPLACE, MISSING, PLAIN, BY_AT, None),  # an extract job, which needs no filter
    (APPEND, OURS, PLAIN, FACTS, None),
]


@pytest.mark.parametrize(("config", "target", "options", "facts", "every"), PARTITIONS)
def test_a_filter_that_bigquery_asks_for_is_added_unless_the_window_is_one(
    config: dict[str, Any],
    target: TargetFacts,
    options: RunOptions,
    facts: SourceFacts,
    every: str | None,
) -> None:
    assert plan_of(config, target, STORED, options, facts).every_partition_of == every


@pytest.mark.parametrize(
    ("configured", "in_bigquery", "comment"),
    [("ours", "theirs", "ours"), (None, "theirs", "theirs"), (None, None, None)],
)
def test_a_table_is_described_by_its_yaml_else_by_bigquery(
    configured: str | None, in_bigquery: str | None, comment: str | None
) -> None:
    facts = replace(FACTS, description=in_bigquery)
    assert plan_of(REPLACE | {"description": configured}, facts=facts).comment == comment


def test_the_key_of_a_merge_is_bigquerys_primary_key_and_follows_a_new_name() -> None:
    facts = replace(FACTS, primary_key=("id",))
    config = MERGE | {"key": [], "columns": {"id": {"name": "Id"}}}
    assert plan_of(config, MISSING, facts=facts).key == ("Id",)
