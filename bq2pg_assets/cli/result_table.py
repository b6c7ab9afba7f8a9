"""The table every copy ends with: table, mode, rows, seconds, rows/s, cursor. Pure.

Belongs here: rows into a rich table or plain lines. `bq2pg sync` fills it from results,
`bq2pg local demo` from `sync_history`. Does not: printing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq2pg_assets.cli import wording
from bq2pg_assets.engine.errors import CancelledError, LockedError
from bq2pg_assets.engine.model import CursorValue, Outcome, as_stored
from bq2pg_assets.engine.profile import summary
from bq2pg_assets.engine.results import SyncResult, TableStatus

if TYPE_CHECKING:
    from rich.table import Table

HEADER = ("table", "mode", "rows", "seconds", "rows/s", "cursor")
LEFT = {"table", "mode", "cursor"}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """How one table ended. `ended` is empty where rows were loaded, otherwise says what instead.

    `time` tells in a line where the time went, and is empty where there is nothing to tell.
    """

    table: str
    mode: str
    rows: int = 0
    seconds: float = 0.0
    cursor: CursorValue | None = None
    ended: str = ""
    good: bool = True
    time: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of HEADER."""
        return (
            self.table,
            self.mode,
            wording.count(self.rows) if self.good else "",
            f"{self.seconds:.1f}" if self.seconds else "",
            wording.rate(self.rows, self.seconds),
            self.ended or wording.moment(self.cursor),
        )


def from_result(result: SyncResult) -> ResultRow:
    """The row of a run that did what it should."""
    return ResultRow(
        result.table,
        result.publish.value,
        rows=result.rows,
        seconds=result.seconds,
        cursor=as_stored(result.cursor_after),
        ended="nothing new" if result.outcome is Outcome.NOTHING_NEW else "",
        time=_time(result),
    )


def from_error(table: str, mode: str, *, error: BaseException, seconds: float) -> ResultRow:
    """The row of a run that did not."""
    ended = "failed"
    if isinstance(error, LockedError):
        ended = "locked by another run"
    elif isinstance(error, CancelledError):
        ended = "cancelled"
    return ResultRow(table, mode, seconds=seconds, ended=ended, good=False)


def from_status(status: TableStatus) -> ResultRow:
    """The row of the last attempt that `sync_history` knows."""
    good = status.outcome in (Outcome.LOADED, Outcome.NOTHING_NEW)
    return ResultRow(
        status.table,
        status.mode,
        rows=status.rows,
        seconds=status.seconds,
        cursor=status.cursor,
        ended="" if status.outcome is Outcome.LOADED else status.outcome.value.replace("_", " "),
        good=good,
    )


def sentence(row: ResultRow) -> str:
    """One row in one line."""
    if row.ended:
        return row.ended
    rate = wording.rate(row.rows, row.seconds)
    words = [f"{wording.plural(row.rows, 'row')} in {wording.duration(row.seconds)}"]
    words += [f"{rate} rows/s"] if rate else []
    words += [f"cursor {wording.moment(row.cursor)}"] if row.cursor is not None else []
    return ", ".join([*words, f"mode {row.mode}"])


def _time(result: SyncResult) -> str:
    """`export 61 %, server 20 %. BigQuery's query took …`"""
    if result.outcome is not Outcome.LOADED:
        return ""
    told = (summary(result.profile, result.phases), result.advice)
    return ". ".join(part for part in told if part)


def rich_table(rows: Sequence[ResultRow]) -> "Table":
    """The table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in HEADER:
        table.add_column(title, justify="left" if title in LEFT else "right", no_wrap=True)
    for row in rows:
        # Text, not str: a table's name may hold brackets, which rich reads as markup.
        table.add_row(*map(Text, row.cells), style="" if row.good else "red")
    return table


def plain_lines(rows: Sequence[ResultRow]) -> list[str]:
    """The same table as aligned lines, for pipes and logs."""
    return aligned([HEADER, *(row.cells for row in rows)], left=LEFT)


def aligned(cells: Sequence[Sequence[str]], *, left: set[str]) -> list[str]:
    """Lines with columns in a row; the first line is the header. Others than `left` go right."""
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    lines = []
    for line in cells:
        parts = [
            text.ljust(width) if title in left else text.rjust(width)
            for title, text, width in zip(cells[0], line, widths, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return lines
