"""What a plan refuses before anything is exported, each with its way out."""

from dataclasses import replace
from typing import Any

import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import (
    Bq2pgError,
    ConfigError,
    MappingError,
    TargetError,
    VerifyError,
)
from bq2pg_assets.engine.guards import refuse_empty
from bq2pg_assets.engine.model import (
    Mode,
    Origin,
    RunOptions,
    SourceFacts,
    SourceField,
    TargetColumn,
    TargetFacts,
)
from bq2pg_assets_tests.unit.planned import (
    APPEND,
    EMPTY,
    FACTS,
    FIELDS,
    FULL,
    LIMIT,
    MERGE,
    MISSING,
    OURS,
    PLAIN,
    REPLACE,
    STORED,
    THEIRS,
    THERE,
    WHERE,
    plan_of,
)
from bq2pg_assets_tests.unit.plans import a_plan

FREEZE, FAIL = ({**REPLACE, "schema_changes": policy} for policy in ("freeze", "fail"))
WITH_MORE = replace(OURS, columns=(*THERE, TargetColumn("more", "text", True, False)))
NARROW = replace(OURS, columns=(TargetColumn("id", "integer", True, False),))
OF_OTHER_COLUMN = replace(OURS, origin=Origin(FACTS.sql, "old"))
OF_OTHER_TABLE = replace(OURS, origin=Origin("`p`.`d`.`other`", "at"))
REPEATED = replace(FACTS, fields=(FIELDS[0], SourceField("at", "TIMESTAMP", "REPEATED")))
TEXT = replace(FACTS, fields=(FIELDS[0], SourceField("at", "STRING")))
REFUSED: list[
    tuple[dict[str, Any], TargetFacts, RunOptions, SourceFacts, type[Bq2pgError], str]
] = [
    (APPEND, THEIRS, PLAIN, FACTS, TargetError, "content replaced once: with --full-refresh"),
    (MERGE, THEIRS, PLAIN, FACTS, TargetError, "a table with rows that bq2pg did not load"),
    (REPLACE, THEIRS, PLAIN, FACTS, TargetError, "a table with rows that bq2pg did not load"),
    (APPEND, OURS, WHERE, FACTS, ConfigError, "full_refresh to replace the content by these rows"),
    (REPLACE, OURS, LIMIT, FACTS, ConfigError, "limit 5 on a full load would leave only these"),
    (
        REPLACE,
        OURS,
        WHERE,
        FACTS,
        ConfigError,
        "where on a full load .* rows in public.t; .*--full",
    ),
    (
        *(REPLACE, OURS, RunOptions(limit=5, where="id > 1"), FACTS, ConfigError),
        *("limit 5 and where on a full load .*full_refresh: true in Dagster.*another target",),
    ),
    (APPEND, OF_OTHER_COLUMN, PLAIN, FACTS, ConfigError, "read from old of .*--full-refresh"),
    (APPEND, OF_OTHER_TABLE, PLAIN, FACTS, ConfigError, "read from at of `p`.`d`.`other`"),
    (REPLACE, replace(EMPTY, kind="v"), PLAIN, FACTS, TargetError, "a view of that name"),
    (REPLACE, replace(EMPTY, kind="m"), FULL, FACTS, TargetError, "a materialized view of"),
    (REPLACE, replace(EMPTY, kind="f"), PLAIN, FACTS, TargetError, "a foreign table of"),
    (REPLACE, replace(EMPTY, kind="S"), PLAIN, FACTS, TargetError, "Choose another target"),
    (REPLACE | {"target": "x.sync_state"}, MISSING, PLAIN, FACTS, ConfigError, "its own books"),
    (REPLACE | {"target": "sync_history"}, MISSING, PLAIN, FACTS, ConfigError, "its own books"),
    (APPEND | {"cursor": "att"}, OURS, PLAIN, FACTS, ConfigError, "no column att.*Set cursor: at"),
    (APPEND, OURS, PLAIN, REPEATED, ConfigError, "It has no such column: use mode: replace"),
    (APPEND, OURS, PLAIN, TEXT, ConfigError, "column at is STRING"),
    (
        *(APPEND | {"columns": {"at": {"exclude": True}}}, OURS, PLAIN, FACTS),
        *(ConfigError, "Remove exclude from it"),
    ),
    (MERGE | {"key": []}, OURS, PLAIN, FACTS, ConfigError, "merge without a key"),
    (
        *(MERGE | {"columns": {"id": {"exclude": True}}}, OURS, PLAIN, FACTS),
        *(ConfigError, "key id is not among the columns"),
    ),
    (MERGE, replace(OURS, unique_keys=()), PLAIN, FACTS, TargetError, r'ADD PRIMARY KEY \("id"\)'),
    (
        *(MERGE, replace(OURS, unique_keys=(frozenset({"id", "at"}),)), PLAIN, FACTS),
        *(TargetError, r"no unique index on \(id\)"),
    ),
    (FREEZE, WITH_MORE, PLAIN, FACTS, MappingError, "column more of the target is NOT NULL"),
    (
        *(FAIL, NARROW, PLAIN, FACTS, MappingError),
        r"column id is integer in the target, bigint from .*; column at .*is missing",
    ),
    (REPLACE, OURS, RunOptions(where="a) OR (b"), FACTS, ConfigError, "one GoogleSQL condition"),
]


SQL = (
    """INSERT INTO "public"."sync_state" VALUES ('public.t', NULL) """
    "ON CONFLICT (table_name) DO UPDATE SET last_synced_at = NULL"
)


@pytest.mark.parametrize(("config", "target", "options", "facts", "kind", "says"), REFUSED)
def test_what_cannot_be_right_is_refused_with_its_way_out(
    config: dict[str, Any],
    target: TargetFacts,
    options: RunOptions,
    facts: SourceFacts,
    kind: type[Bq2pgError],
    says: str,
) -> None:
    with pytest.raises(kind, match=says) as caught:
        plan_of(config, target, STORED, options, facts)
    assert not caught.value.retryable


@pytest.mark.parametrize("options", [LIMIT, WHERE])
@pytest.mark.parametrize("config", [APPEND, MERGE])
def test_a_partial_first_load_over_rows_is_refused_without_a_cursor_too(
    config: dict[str, Any], options: RunOptions
) -> None:
    with pytest.raises(ConfigError, match="on a full load would leave only these rows"):
        plan_of(config, OURS, None, options)


@pytest.mark.parametrize("target", [THEIRS, OF_OTHER_COLUMN])
def test_what_a_full_load_would_heal_also_says_how_without_any_option(target: TargetFacts) -> None:
    """`bq-to-postgres` has no --full-refresh."""
    with pytest.raises(Bq2pgError) as caught:
        plan_of(APPEND, target)
    assert f"which has no such option, run in the target's database: {SQL}." in caught.value.way_out


def test_a_target_may_have_columns_that_fill_themselves() -> None:
    more = (TargetColumn("a", "text", False, False), TargetColumn("b", "text", True, True))
    assert plan_of(REPLACE, replace(OURS, columns=THERE + more)).publish is Mode.REPLACE


def refuse(rows: int | None, publish: Mode, empty_source: str) -> None:
    config = {"name": "t", "source": "d.t", "empty_source": empty_source}
    refuse_empty(TableConfig.model_validate(config), a_plan(publish=publish), rows=rows)


def test_a_replace_by_nothing_is_refused_and_says_how_to_allow_it() -> None:
    with pytest.raises(VerifyError, match="say empty_source: allow"):
        refuse(0, Mode.REPLACE, "fail")


@pytest.mark.parametrize(
    ("rows", "publish", "empty_source"),
    [
        (0, Mode.REPLACE, "allow"),
        (0, Mode.APPEND, "fail"),
        (0, Mode.MERGE, "fail"),
        (1, Mode.REPLACE, "fail"),
        (None, Mode.REPLACE, "fail"),
    ],
)
def test_nothing_may_be_added_and_what_is_not_known_is_not_refused(
    rows: int | None, publish: Mode, empty_source: str
) -> None:
    refuse(rows, publish, empty_source)
