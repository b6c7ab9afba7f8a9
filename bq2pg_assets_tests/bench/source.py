"""A BigQuery that has exported everything already.

Belongs here: what `sync_table` asks of a source, answered at once from the data sets. Does not:
BigQuery's emulator, which would take longer to make six million rows than to load them.
"""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.model import Cursor, Export, Probe, RunId, SourceFacts, SyncPlan
from bq2pg_assets.engine.shards import ROOT
from bq2pg_assets_tests.bench.datasets import DATA
from bq2pg_assets_tests.bench.server import BUCKET

PROJECT = "bench"


def place(data: str, size: int) -> str:
    """Where the shards of a data set lie in the bucket: no attempt's own prefix, so they stay."""
    return f"gs://{BUCKET}/{ROOT}/ready/{data}-{size}/"


class ReadySource(BigQuerySource):
    """A table of `rows` rows, exported to `place(data, size)`; all of them lie above any cursor."""

    def __init__(self, data: str, size: int, *, rows: int, high: date | None = None) -> None:
        super().__init__(
            cast(Any, SimpleNamespace(project=PROJECT)), read_client=lambda: cast(Any, None)
        )
        self._data, self._size, self._rows, self._high = data, size, rows, high

    def describe(self, table: TableConfig) -> SourceFacts:
        """The columns of the data set."""
        name = "lineitem" if self._data.startswith("lineitem") else self._data
        return SourceFacts(
            f"`{PROJECT}`.`bench`.`{name}`",
            "TABLE",
            DATA[self._data].fields,
            "US",
            num_rows=self._rows,
        )

    def modified_at(self, table: TableConfig) -> datetime | None:
        """Never."""
        return None

    def unchanged_rows(self, table: TableConfig, facts: SourceFacts) -> int | None:
        """All of them."""
        return self._rows

    def probe(
        self,
        facts: SourceFacts,
        cursor: Cursor,
        *,
        table: TableConfig,
        where: str | None,
        limit: int | None,
        every_partition_of: str | None,
        run: RunId,
        cancel: CancelToken,
    ) -> Probe:
        """Every row is new."""
        return Probe(self._high, self._rows, datetime.now(UTC))

    def export(self, plan: SyncPlan, *, prefix: str, run: RunId, cancel: CancelToken) -> Export:
        """It is done already."""
        return Export(
            "bench",
            place(self._data, self._size),
            rows=self._rows,
            bytes_processed=0,
            bytes_billed=0,
        )
