"""Which plans may share an export: those that would write and stage the same rows alike."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bq2pg_assets.engine.fingerprint import PASSING, fingerprint
from bq2pg_assets.engine.model import Cursor, ExportWay, SyncPlan, TargetName, Window
from bq2pg_assets_tests.unit.plans import a_plan

AT, LATER = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
PLAN = a_plan()


def test_it_names_fields_that_a_plan_has() -> None:
    assert {field.name for field in fields(SyncPlan)} >= PASSING


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "another"},
        {"expected_rows": 7, "source_bytes": 8, "bytes_probed": 9},
        {"snapshot_at": AT},
        {"parallelism": 9, "max_bytes_billed": 1, "comment": "new"},
    ],
    ids=str,
)
def test_what_differs_from_run_to_run_does_not_count(change: dict[str, Any]) -> None:
    assert fingerprint(replace(PLAN, **change)) == fingerprint(PLAN)


def test_of_a_window_the_low_end_counts_which_is_the_cursors_value() -> None:
    low = replace(PLAN, cursor=Cursor("at", "TIMESTAMP", AT), window=Window(AT, LATER))
    assert fingerprint(replace(low, window=Window(AT, None))) == fingerprint(low)
    assert fingerprint(replace(low, window=None)) != fingerprint(low)
    other = replace(low, cursor=Cursor("at", "TIMESTAMP", LATER), window=Window(LATER, None))
    assert fingerprint(other) != fingerprint(low)


@pytest.mark.parametrize(
    "change",
    [
        {"source_sql": "`p.d.other`"},
        {"target": TargetName("public", "other")},
        {"columns": ()},
        {"where": "x > 1"},
        {"limit": 1},
        {"creates_target": not PLAN.creates_target},
        {"key": ("id", "more")},
        {"every_partition_of": "day"},
        {"location": "US-EAST1"},
    ],
    ids=str,
)
def test_whatever_else_differs_counts(change: dict[str, Any]) -> None:
    assert fingerprint(replace(PLAN, **change)) != fingerprint(PLAN)


def test_streams_and_masks_made_with_the_secret_are_never_used_again() -> None:
    assert fingerprint(replace(PLAN, way=ExportWay.READ_API)) is None
    masked = replace(PLAN.columns[0], select="SHA256(CONCAT(@bq2pg_salt, `v`))", masked=True)
    assert fingerprint(replace(PLAN, columns=(masked,))) is None
