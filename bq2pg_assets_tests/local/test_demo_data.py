"""The demo's rows: how many, of which types, and which of them come in December."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bq2pg_assets.local import demo_data
from bq2pg_assets.local.catalog import AIRLINES, FLIGHTS, PACKAGES, PLANES, TABLES, DemoTable
from bq2pg_assets.local.packages import requirement

ARROW_NAMES = {
    "STRING": "string",
    "INT64": "int64",
    "FLOAT64": "double",
    "BOOL": "bool",
    "BYTES": "binary",
    "DATE": "date32[day]",
    "TIME": "time64[us]",
    "DATETIME": "timestamp[us]",
    "TIMESTAMP": "timestamp[us, tz=UTC]",
    "NUMERIC": "decimal128(38, 9)",
    "NUMERIC(6,1)": "decimal128(6, 1)",
    "JSON": "string",
}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.id)
def test_rows_have_the_columns_and_types_of_the_catalog(table: DemoTable) -> None:
    rows = demo_data.rows_of(table.id)
    assert rows.column_names == [column.name for column in table.columns]
    for column in table.columns:
        if column.mode == "REQUIRED":
            assert rows[column.name].null_count == 0, column.name
        if not column.fields and column.mode != "REPEATED":
            assert str(rows[column.name].type) == ARROW_NAMES[column.type], column.name
    if table.advanced_rows is not None:
        assert rows.num_rows == table.advanced_rows
    if table.advance != "nothing" and not table.key:
        assert demo_data.seed_part(rows).num_rows == table.seed_rows


def test_december_holds_the_flights_ingested_then_and_the_late_ones() -> None:
    flights = demo_data.flights()
    december = demo_data.advance_part(flights)
    day = december["flight_date"]
    late = december.filter(pc.less(day, dt.date(2013, 11, 30)))
    assert (
        december.num_rows - late.num_rows
        == flights.filter(pc.greater_equal(flights["flight_date"], dt.date(2013, 11, 30))).num_rows
    )
    assert late.num_rows == 123
    assert min(late["flight_date"].to_pylist()) >= demo_data.LATE_FROM
    assert {moment.date() for moment in late["max_ingested_at"].to_pylist()} == {
        dt.date(2013, 12, 3)
    }
    seeded = demo_data.seed_part(flights)
    assert pc.max(seeded["max_ingested_at"]).as_py() < demo_data.SEED_ENDS
    assert seeded.num_rows + december.num_rows == 336_776


def test_na_becomes_null_and_times_of_day_are_read() -> None:
    flights = demo_data.flights()
    assert flights["dep_time"].null_count == 8_255
    assert pc.sum(flights["cancelled"]).as_py() == 8_255
    first = flights.slice(0, 1).to_pylist()[0]
    assert first["sched_dep_time"] == dt.time(5, 15)
    assert first["scheduled_departure"] == dt.datetime(2013, 1, 1, 5, 15)  # noqa: DTZ001 - DATETIME
    assert first["max_ingested_at"].date() == dt.date(2013, 1, 2)


def test_planes_change_and_are_added_in_december() -> None:
    before = demo_data.seed_part(demo_data.planes(refitted=False))
    changes = demo_data.advance_part(demo_data.planes())
    known = set(before["tailnum"].to_pylist())
    changed = [row for row in changes.to_pylist() if row["tailnum"] in known]
    assert before.num_rows == PLANES.seed_rows
    assert (len(changed), changes.num_rows - len(changed)) == (34, 34)
    old = {row["tailnum"]: row for row in before.to_pylist()}
    assert all(row["seats"] == old[row["tailnum"]]["seats"] + 6 for row in changed)


def test_two_readings_are_the_same() -> None:
    for table in (FLIGHTS, AIRLINES):
        assert demo_data.rows_of(table.id).equals(demo_data.rows_of(table.id))


def test_python_packages_show_nested_values_of_this_installation() -> None:
    rows = {row["name"]: row for row in demo_data.rows_of(PACKAGES.id).to_pylist()}
    pyarrow = rows["pyarrow"]
    assert pyarrow["version"] == pa.__version__
    assert pyarrow["classifiers"]
    assert any(len(file["sha256"] or b"") == 32 for file in pyarrow["files"])
    urls = {"name", "specifier", "extra"}
    assert all(set(one) == urls for row in rows.values() for one in row["requires"])


@pytest.mark.parametrize(
    ("line", "name", "specifier", "extra"),
    [
        ("rich", "rich", None, None),
        ("rich (>=14)", "rich", ">=14", None),
        ("rich[jupyter]>=14; python_version < '4' and extra == 'all'", "rich", ">=14", "all"),
        ("rich @ https://example.com/rich.whl", "rich", None, None),
        ("rich >= = 14", "rich >= = 14", None, None),
    ],
)
def test_a_requirement_is_read_as_pip_does_and_a_malformed_one_is_kept_as_it_is(
    line: str, name: str, specifier: str | None, extra: str | None
) -> None:
    assert requirement(line) == {"name": name, "specifier": specifier, "extra": extra}


def test_malformed_metadata_of_an_installed_distribution_does_not_stop_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, content in {
        "odd-1.dist-info": "Metadata-Version: two\nName: odd\nVersion: 1\nRequires-Dist: >=x\n",
        "nameless-1.dist-info": "Version: 1\n",
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    rows = {row["name"]: row for row in demo_data.rows_of(PACKAGES.id).to_pylist()}
    assert None not in rows
    assert rows["odd"]["metadata_version"] is None
    assert rows["odd"]["requires"] == [{"name": ">=x", "specifier": None, "extra": None}]
