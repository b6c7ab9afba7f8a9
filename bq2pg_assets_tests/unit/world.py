"""One table that was loaded once and has new rows since, in a world of fakes.

Belongs here: starting a sync in it and what is asserted again and again. Does not: tests.
"""

from datetime import UTC, datetime
from typing import Any

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.model import RunId, RunOptions
from bq2pg_assets.engine.results import SyncResult
from bq2pg_assets.engine.sync import sync_table
from bq2pg_assets_tests.fakes import FakeShards, FakeSource, FakeTarget, Journal, Row

OLD: list[Row] = [(n, datetime(2024, 1, n, tzinfo=UTC)) for n in (1, 2, 3)]
NEW: list[Row] = [(n, datetime(2024, 2, n, tzinfo=UTC)) for n in (4, 5, 6)]


class World:
    """A table that was loaded with OLD, and a source that holds OLD and NEW."""

    def __init__(self, *, loaded: bool = True, **changes: Any) -> None:
        given = {"name": "t", "source": "d.t", "mode": "append", "cursor": "at", "parallelism": 1}
        self.table = TableConfig.model_validate(given | changes)
        self.journal = Journal()
        self.shards = FakeShards(self.journal)
        self.source = FakeSource(self.journal, self.shards, list(OLD))
        self.target = FakeTarget(self.journal)
        self.runs = 0
        if loaded:
            self.sync()
        self.source.rows += NEW
        self.journal.forget()

    def sync(
        self, *, cancel: CancelToken | None = None, options: RunOptions | None = None
    ) -> SyncResult:
        self.runs += 1
        return sync_table(
            self.table,
            source=self.source,  # type: ignore[arg-type]
            shards=self.shards,  # type: ignore[arg-type]
            target=self.target,  # type: ignore[arg-type]
            run=RunId(f"run{self.runs}"),
            options=options or RunOptions(),
            cancel=cancel,
        )

    def assert_untouched(self) -> None:
        assert self.target.live == OLD
        assert self.target.cursor == OLD[-1][1]

    def assert_clean(self) -> None:
        assert self.target.stages == {}
        assert self.shards.objects == {}
        assert not self.target.held
