"""Copies tables one after another and shows it; behind `bq2pg sync` and `bq-to-postgres`.

Belongs here: attempts, signals, and what becomes of the rest when one table fails. Does not:
what a copy is (engine/sync.py), which tables (selection.py), the final table (result_table.py).
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq2pg_assets.cli import output, result_table
from bq2pg_assets.cli.cancellation import cancelled_by_signals, in_thread
from bq2pg_assets.cli.notes import notes_to
from bq2pg_assets.cli.progress import View
from bq2pg_assets.cli.result_table import ResultRow
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import LockedError
from bq2pg_assets.engine.model import RunId, RunOptions
from bq2pg_assets.engine.redact import redact
from bq2pg_assets.engine.results import SyncResult

if TYPE_CHECKING:
    from bq2pg_assets.config.table import TableConfig
    from bq2pg_assets.engine.bigquery import BigQuerySource
    from bq2pg_assets.engine.postgres import PostgresTarget
    from bq2pg_assets.engine.shards import GcsShards

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How one table ended: the row to show, and the error when there was one."""

    row: ResultRow
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Runner:
    """The three parts of the engine, and what shows their work."""

    source: "BigQuerySource"
    shards: "GcsShards | None"
    target: "PostgresTarget"
    view: View

    def run(self, tables: Sequence["TableConfig"], *, options: RunOptions) -> list[Ended]:
        """One after another. A failing table does not stop the others; an interruption does."""
        cancel, ended = CancelToken(), list[Ended]()
        with cancelled_by_signals(cancel), self.view, notes_to(self.view.line):
            for table in tables:
                if cancel.cancelled:
                    break
                ended.append(self._one(table, options=options, cancel=cancel))
        return ended

    def _one(self, table: "TableConfig", *, options: RunOptions, cancel: CancelToken) -> Ended:
        began = time.monotonic()
        try:
            result = in_thread(lambda: self._copy(table, options=options, cancel=cancel))
        except Exception as error:  # whatever it is, the next table may still go well
            seconds = time.monotonic() - began
            output.print_error(error, write=self.view.line)
            row = result_table.from_error(table.name, table.mode, error=error, seconds=seconds)
            return Ended(row, error)
        return Ended(result_table.from_result(result))

    def _copy(
        self, table: "TableConfig", *, options: RunOptions, cancel: CancelToken
    ) -> SyncResult:
        """As many attempts as the table's `retries` allow, for errors that may pass."""
        from bq2pg_assets.engine.retrying import Again, Patience, call_patiently
        from bq2pg_assets.engine.sync import sync_table

        run_id, most = str(uuid.uuid4()), table.retries + 1

        def attempt(number: int) -> SyncResult:
            return sync_table(
                table,
                source=self.source,
                shards=self.shards,
                target=self.target,
                run=RunId(run_id, number),
                options=options,
                cancel=cancel,
                report=self.view.report,
            )

        def tell(again: Again) -> None:
            what = f"attempt {again.number} of {most} in {again.seconds:.0f} s"
            self.view.line(f"{table.name}: {redact(again.error.met)}; {what}")

        return call_patiently(
            attempt,
            patience=Patience(most, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS),
            cancel=cancel,
            where=f"table {table.name}",
            # Locked: the other run may need hours; who wants to wait for it says --wait.
            may_pass=lambda error: error.retryable and not isinstance(error, LockedError),
            tell=tell,
        )
