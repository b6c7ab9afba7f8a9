"""What may not go at once: at the limit it goes, above it nothing is published.

Belongs here: max_shrink and max_deletes, and the option that overrides them once. Does not: empty
sources, which each mode's file has.
"""

from typing import Any

import pytest

from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import RunOptions
from bq2pg_assets_tests.integration.helpers import World, refused

ALLOWED = RunOptions(allow_shrink=True)
BY_KEY: dict[str, Any] = {"key": ["id"], "cursor": None}
GUARDED = [
    ({"mode": "replace"}, "max_shrink"),
    ({"mode": "mirror", "key": ["id"]}, "max_deletes"),
    ({"mode": "mirror", "key": ["id"], "deletes": "soft"}, "max_deletes"),
    ({"mode": "scd2", **BY_KEY}, "max_deletes"),
]


def ids(count: int) -> str:
    return f"SELECT id FROM UNNEST(GENERATE_ARRAY(1, {count})) AS id"


@pytest.mark.parametrize(("mode", "rule"), GUARDED, ids=["replace", "mirror", "soft", "scd2"])
def test_rows_go_up_to_the_limit_and_above_it_only_with_the_override(
    world: World, mode: dict[str, Any], rule: str
) -> None:
    how = {**mode, rule: 0.57}
    world.sync(query=ids(100), **how)
    error = refused(
        world,
        VerifyError,
        says=f"58 of 100 rows go; {rule} is 0.57",
        way_out="--allow-shrink (allow_shrink: true in Dagster)",
        retryable=False,
        query=ids(42),
        **how,
    )
    (failed,) = [c for c in error.checks if not c.passed]  # type: ignore[attr-defined]
    assert (failed.name, failed.numbers) == ("shrink", {"before": 100, "gone": 58})
    at_the_limit = world.sync(query=ids(43), **how)
    assert [c.passed for c in at_the_limit.checks if c.name == "shrink"] == [True]
    allowed = world.sync(query=ids(1), **how, options=ALLOWED)
    (verdict,) = [c for c in allowed.checks if c.name == "shrink"]
    assert verdict.passed
    assert "42 of 43 rows go" in verdict.says


def test_a_full_load_by_key_counts_what_it_would_leave_not_what_it_read(world: World) -> None:
    world.sync(query=ids(4), mode="merge", **BY_KEY)
    copies = "SELECT 1 AS id FROM UNNEST(GENERATE_ARRAY(1, 9))"
    world.pg("UPDATE sync_state SET last_synced_at = NULL")
    with pytest.raises(VerifyError, match="3 of 4 rows go"):
        world.sync(query=copies, mode="merge", **BY_KEY, options=RunOptions(full_refresh=True))


def test_who_asked_for_some_rows_alone_gets_them(world: World) -> None:
    world.sync(query=ids(9))
    some = RunOptions(full_refresh=True, where="id = 1")
    assert world.sync(query=ids(9), options=some).rows == 1
