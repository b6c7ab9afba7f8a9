"""Promises: the page says what was measured, what was met, and what did not run and why."""

from dataclasses import replace

import pytest

from bq2pg_assets_tests.bench import report
from bq2pg_assets_tests.bench.contest import Contestant, Entry, Reach, Row, Scale
from bq2pg_assets_tests.bench.results import EntryResult, Results, RowResult, read, verdicts
from bq2pg_assets_tests.bench.rows import ROWS

OURS, THEIRS = Contestant("ours", "ours", "ours"), Contestant("theirs", "theirs", "psql")
ROW = Row(
    "row",
    "A row",
    "lineitem",
    100,
    10,
    (Entry(OURS), Entry(THEIRS)),
    (Reach("seconds", 1.25, "theirs"), Reach("seconds", 0.25, "theirs"), Reach("extra_mb", 128)),
)
RESULT = RowResult(
    "lineitem-2",
    "A row",
    3,
    0,
    (
        EntryResult("ours", "ours", 100, {"seconds": [9, 2, 1], "extra_mb": [90.0] * 3}),
        EntryResult("theirs", "theirs", 100, {"seconds": [2, 2, 2], "peak_mb": [17.0] * 3}),
    ),
)
BROKEN = replace(
    RESULT, entries=(RESULT.entries[0], EntryResult("theirs", "theirs", 100, {}, "no `such` file"))
)


def results(*rows: RowResult, quick: bool = False) -> Results:
    return Results(
        taken="2026-01-02",
        quick=quick,
        machine={"memory": "24 GiB"},
        versions={"PostgreSQL": "18.6"},
        settings={"shared_buffers": "512MB"},
        rows=rows,
    )


def test_a_ratio_is_that_of_the_medians() -> None:
    ratio, faster, memory = verdicts(ROW, RESULT)
    assert (ratio.value, ratio.met) == (1.0, True)
    assert (faster.value, faster.met) == (1.0, False)
    assert (memory.value, memory.met) == (90.0, True)


def test_a_reach_and_its_measure_are_told_in_the_same_words() -> None:
    ratio, faster, memory = ROW.reaches
    assert (ratio.text, ratio.told(1.1)) == ("≤ 1.25 × its time", "1.10 ×")
    assert (faster.text, faster.told(0.1)) == ("≥ 4 × as fast", "10 × as fast")
    assert (memory.text, memory.told(90.4)) == ("≤ 128 MB over idle", "90.4 MB over idle")


def test_of_an_entry_that_failed_nothing_is_said_to_be_met() -> None:
    assert [v.met for v in verdicts(ROW, BROKEN)] == [None, None, True]


def test_an_entry_that_failed_is_in_the_page_with_its_error() -> None:
    section = report.row_section(ROW, BROKEN)
    assert "| theirs | - | - | - |" in section
    assert "theirs did not run here: `no 'such' file`" in section


def test_the_page_has_medians_ranges_machine_versions_and_settings() -> None:
    text = report.reach_table([(ROW, RESULT)]) + report.row_section(ROW, RESULT)
    assert "| A row | time | theirs | ≤ 1.25 × its time | 1.00 × | met |" in text
    assert "| A row | time | theirs | ≥ 4 × as fast | 1 × as fast | **not met** |" in text
    assert "| ours | 2.00 (1.00 to 9.00) | - | 90 |" in text
    text = report.page(results(*[replace(RESULT, name=row.name) for row in ROWS[:1]]))
    assert "| PostgreSQL | 18.6 |" in text
    assert "| shared_buffers | 512MB |" in text
    assert "| memory | 24 GiB |" in text
    assert "quick run" not in text


def test_a_quick_run_says_so() -> None:
    assert "A quick run" in report.page(results(quick=True))


def test_results_are_read_as_they_were_written(tmp_path) -> None:
    path = tmp_path / "results.json"
    path.write_text(results(RESULT, BROKEN).to_json())
    assert read(path).to_json() == results(RESULT, BROKEN).to_json()


def test_a_row_refuses_a_reach_against_nobody_and_two_entries_of_one_name() -> None:
    with pytest.raises(ValueError, match="no entry"):
        replace(ROW, reaches=(Reach("seconds", 1, "nobody"),))
    with pytest.raises(ValueError, match="two entries"):
        replace(ROW, entries=(Entry(OURS), Entry(OURS)), reaches=())


def test_a_quick_run_takes_its_own_size_and_a_part_of_it() -> None:
    assert ROW.data_of(ROW.entries[0], Scale()) == ("lineitem", 100)
    assert ROW.data_of(ROW.entries[0], Scale(quick=True)) == ("lineitem", 10)
    assert ROW.data_of(ROW.entries[0], Scale(part=0.5)) == ("lineitem", 50)


def test_a_row_that_is_measured_again_takes_the_place_of_the_earlier(tmp_path) -> None:
    again, other = replace(RESULT, rounds=5), replace(RESULT, name="wide")
    found = results(RESULT).with_row(again).with_row(other)
    assert found.rows == (again, other)
    path = tmp_path / "results.json"
    assert results().after(path).rows == ()
    path.write_text(found.to_json())
    assert [row.name for row in results().after(path).rows] == ["lineitem-2", "wide"]
    newer = replace(results(), versions={"PostgreSQL": "19"})
    assert newer.after(path).rows == ()
