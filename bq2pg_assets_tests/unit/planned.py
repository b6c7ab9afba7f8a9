"""A table, what is there, and the plan that follows: for the tests of plan.py.

Belongs here: sources and targets to plan with. Does not: assertions.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.model import (
    CursorValue,
    Probe,
    RunOptions,
    SourceFacts,
    SourceField,
    SyncPlan,
    TargetColumn,
    TargetFacts,
)
from bq2pg_assets.engine.plan import decide, make_plan
from bq2pg_assets.engine.typemap import map_columns

FIELDS = (SourceField("id", "INT64", "REQUIRED"), SourceField("at", "TIMESTAMP"))
FACTS = SourceFacts("`p`.`d`.`t`", "TABLE", FIELDS, "EU", num_rows=9)
THERE = (
    TargetColumn("id", "bigint", True, False),
    TargetColumn("at", "timestamp with time zone", False, False),
)
ID_UNIQUE = (frozenset({"id"}),)
MISSING = TargetFacts(None)
EMPTY = TargetFacts("r", THERE, unique_keys=ID_UNIQUE)
OURS = replace(EMPTY, has_rows=True, owned=True)
THEIRS = replace(EMPTY, has_rows=True)
STORED = datetime(2024, 1, 1)  # noqa: DTZ001 - as sync_state holds it
LOW, HIGH = STORED.replace(tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
AT = datetime(2024, 3, 1, tzinfo=UTC)
PROBE = Probe(HIGH, 3, AT, bytes_billed=7)
FULL, LIMIT, WHERE = RunOptions(full_refresh=True), RunOptions(limit=5), RunOptions(where="id > 1")
FULL_LIMIT = RunOptions(full_refresh=True, limit=5)
FULL_WHERE = RunOptions(full_refresh=True, where="id > 1")
PLAIN = RunOptions()
REPLACE, APPEND = {"mode": "replace"}, {"mode": "append", "cursor": "at"}
MERGE = {"mode": "merge", "cursor": "at", "key": ["id"]}
MERGE_ALL = {"mode": "merge", "cursor": None, "key": ["id"]}


def plan_of(
    config: dict[str, Any],
    target: TargetFacts = OURS,
    stored: CursorValue | None = STORED,
    options: RunOptions = PLAIN,
    facts: SourceFacts = FACTS,
    probe: Probe = PROBE,
    has_bucket: bool = True,
) -> SyncPlan:
    table = TableConfig.model_validate({"name": "t", "source": "d.t", **config})
    columns = map_columns(table, facts.fields)
    intent = decide(
        table, facts=facts, columns=columns, target=target, cursor_value=stored, options=options
    )
    return make_plan(
        table,
        facts=facts,
        columns=columns,
        target=target,
        intent=intent,
        options=options,
        probe=probe if intent.probes else None,
        has_bucket=has_bucket,
    )
