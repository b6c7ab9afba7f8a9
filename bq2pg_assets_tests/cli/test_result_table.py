"""Promise: whatever ran the tables, the final table is the same."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from bq2pg_assets.cli import result_table
from bq2pg_assets.cli.result_table import ResultRow
from bq2pg_assets.engine.errors import Bq2pgError, CancelledError, LockedError, SourceError
from bq2pg_assets.engine.model import Mode, Outcome, TargetName
from bq2pg_assets.engine.profile import PARTS, Profile
from bq2pg_assets.engine.results import SyncResult, TableStatus

CURSOR = datetime(2024, 1, 31, 5, tzinfo=UTC)
STORED = CURSOR.replace(tzinfo=None)  # as PostgreSQL keeps and gives it back
ROWS = [
    ResultRow("orders", "append", rows=1_234_567, seconds=12.34, cursor=CURSOR),
    ResultRow("t", "replace", rows=0, seconds=0.2, ended="nothing new"),
    ResultRow("broken[red]", "merge", seconds=0.1, ended="failed", good=False),
]


def test_plain_lines_are_aligned() -> None:
    assert result_table.plain_lines(ROWS) == [
        "table        mode          rows  seconds   rows/s  cursor",
        "orders       append   1,234,567     12.3  100,046  2024-01-31 05:00:00Z",
        "t            replace          0      0.2           nothing new",
        "broken[red]  merge                   0.1           failed",
    ]


def test_the_terminal_shows_the_same_words_and_takes_no_markup_from_names() -> None:
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(result_table.rich_table(ROWS))
    shown = [line.split() for line in capture.get().splitlines()]
    assert shown == [line.split() for line in result_table.plain_lines(ROWS)]


def result(outcome: Outcome) -> SyncResult:
    return SyncResult(
        table="orders",
        target=TargetName("public", "orders"),
        outcome=outcome,
        publish=Mode.APPEND,
        rows=5,
        bytes=10,
        shards=1,
        seconds=2.0,
        phases={},
        columns=(),
        checks=(),
        cursor_before=None,
        cursor_after=CURSOR,
    )


@pytest.mark.parametrize(
    ("outcome", "last"),
    [(Outcome.LOADED, "2024-01-31 05:00:00"), (Outcome.NOTHING_NEW, "nothing new")],
)
def test_a_result_and_the_history_of_it_give_the_same_row(outcome: Outcome, last: str) -> None:
    status = TableStatus("orders", outcome, "append", 5, 2.0, CURSOR, STORED, 0, "run")
    rows = [result_table.from_result(result(outcome)), result_table.from_status(status)]
    assert rows[0] == rows[1]
    assert rows[0].cells == ("orders", "append", "5", "2.0", "2", last)


def test_where_the_time_went_is_one_line_with_the_advice() -> None:
    phases = {"export": 7.0, "copy": 3.0}
    profile = Profile(2, 2, dict.fromkeys(PARTS, 0.0) | {"server": 6.0})
    loaded = replace(result(Outcome.LOADED), phases=phases, profile=profile, advice="Do less.")
    assert result_table.from_result(loaded).time == "export 70%, server 30%. Do less."
    assert result_table.from_result(replace(loaded, advice=None)).time == "export 70%, server 30%"
    short = replace(loaded, phases={"export": 0.7}, advice=None)
    assert result_table.from_result(short).time == ""
    nothing = replace(loaded, outcome=Outcome.NOTHING_NEW, profile=None)
    assert result_table.from_result(nothing).time == ""


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (SourceError("x", met="a", expected="b", way_out="c"), "failed"),
        (LockedError("x", met="a", expected="b", way_out="c"), "locked by another run"),
        (CancelledError("x"), "cancelled"),
    ],
)
def test_a_failed_table_has_a_row_too(error: Bq2pgError, ended: str) -> None:
    row = result_table.from_error("t", "append", error=error, seconds=1.0)
    assert row.cells == ("t", "append", "", "1.0", "", ended)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            ROWS[0],
            "1,234,567 rows in 12.3 s, 100,046 rows/s, cursor 2024-01-31 05:00:00Z, mode append",
        ),
        (ROWS[1], "nothing new"),
        (ResultRow("t", "replace", rows=1, seconds=0.5), "1 row in 0.5 s, 2 rows/s, mode replace"),
    ],
)
def test_one_row_as_a_sentence(row: ResultRow, text: str) -> None:
    assert result_table.sentence(row) == text
