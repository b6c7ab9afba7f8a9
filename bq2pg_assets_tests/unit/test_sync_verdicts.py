"""The flow on fakes: what is not published although every step went well.

Guards the rule that a live table is never replaced by nothing, by fewer rows than were exported, or
by rows that break a promise of the table; and that the fakes are called as the real ones are.
"""

import inspect
from typing import Any

import pytest

from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.checks import verify_counts
from bq2pg_assets.engine.copy_sink import CopySink
from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.meter import Copied
from bq2pg_assets.engine.model import Export, Window
from bq2pg_assets.engine.parquet import FetchedShard, OpenParquet, ShardPart
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.session import TargetSession
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets_tests.fakes import (
    FakeParquet,
    FakeSession,
    FakeShards,
    FakeSink,
    FakeSource,
    FakeTarget,
)
from bq2pg_assets_tests.unit.plans import a_plan
from bq2pg_assets_tests.unit.world import OLD, World


def test_an_empty_source_is_refused_before_the_export() -> None:
    world = World(mode="replace")
    world.source.rows = []
    with pytest.raises(VerifyError, match="empty_source: allow"):
        world.sync()
    assert "source.export" not in world.journal.calls
    assert world.target.live == OLD


@pytest.mark.parametrize("changes", [{"streaming": True}, {"num_rows": 5}])
def test_an_export_that_turns_out_empty_is_refused(changes: dict[str, Any]) -> None:
    world = World(mode="replace")
    world.source.rows = []
    for name, value in changes.items():
        setattr(world.source, name, value)
    with pytest.raises(VerifyError, match="replaced by nothing"):
        world.sync()
    assert "source.export" in world.journal.calls
    assert "session.publish" not in world.journal.calls
    assert world.target.live == OLD
    world.assert_clean()


def test_an_empty_source_empties_the_target_where_the_table_says_so() -> None:
    world = World(mode="replace", empty_source="allow")
    world.source.rows = []
    assert world.sync().rows == 0
    assert world.target.live == []


def test_rows_that_were_lost_on_the_way_stop_the_run() -> None:
    world = World()
    world.source.miscounts = 1
    with pytest.raises(VerifyError, match=r"3 rows copied; expected 4") as caught:
        world.sync()
    assert caught.value.retryable
    assert [c.name for c in caught.value.checks] == ["row_count"]
    world.assert_untouched()
    world.assert_clean()


@pytest.mark.parametrize(
    ("exported", "unchanged", "changes", "expected"),
    [
        (3, None, {}, None),
        (4, 3, {}, 4),
        (None, 4, {}, 4),
        (None, 3, {}, None),
        (None, None, {}, None),
        (None, 4, {"where": "id > 1"}, None),
        (None, 4, {"limit": 3}, None),
        (None, 4, {"window": Window(None, None)}, None),
    ],
)
def test_three_rows_are_compared_with_what_is_known_of_the_export(
    exported: int | None, unchanged: int | None, changes: dict[str, Any], expected: int | None
) -> None:
    export = Export("job", "gs://b/bq2pg/t/r-0/", exported, 0, 0)

    def verify() -> None:
        copied = Copied(rows=3, in_shards=3, bytes=0, shards=1)
        verify_counts(a_plan(**changes), export=export, copied=copied, unchanged_rows=unchanged)

    if expected is None:
        verify()
    else:
        with pytest.raises(VerifyError, match=f"3 rows copied; expected {expected}"):
            verify()


def test_a_null_where_none_may_be_stops_the_run() -> None:
    world = World(mode="replace", not_null=["at"])
    world.source.rows.append((7, None))
    with pytest.raises(VerifyError, match="1 NULL in at") as caught:
        world.sync()
    assert [(c.name, c.passed) for c in caught.value.checks] == [
        ("row_count", True),
        ("nulls", False),
    ]
    assert world.target.live == OLD


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (FakeSource, BigQuerySource),
        (FakeShards, GcsShards),
        (FakeParquet, (FetchedShard, ShardPart, OpenParquet)),
        (FakeTarget, PostgresTarget),
        (FakeSession, TargetSession),
        (FakeSink, CopySink),
    ],
)
def test_the_fakes_are_called_as_the_real_ones_are(
    fake: type, real: type | tuple[type, ...]
) -> None:
    methods = {n for n, m in vars(fake).items() if inspect.isfunction(m) and n[0] != "_"} - {
        "facts"
    }
    assert methods
    reals = real if isinstance(real, tuple) else (real,)
    for name in methods:
        (method,) = [getattr(one, name) for one in reals if hasattr(one, name)]
        theirs = inspect.signature(method).parameters.values()
        ours = inspect.signature(getattr(fake, name)).parameters.values()
        assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in theirs], name
