"""Rows made here: nested ones such as patents, a column of every type, long texts, small tables.

Belongs here: the columns and values of the data sets that no other program makes. Does not: TPC-H,
keeping shards (datasets.py). Each shard is seeded with its first row's number.
"""

import base64
import json
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from bq2pg_assets.engine.model import SourceField

MICROS = pa.timestamp("us")  # BigQuery writes DATETIME and TIMESTAMP alike
DAY = 86_400 * 10**6
WORDS = np.array(
    [
        *("method", "for", "the", "production", "of", "an", "apparatus", "comprising", "at"),
        *("least", "one", "semiconductor", "layer", "wherein", "said", "device", "is", "arranged"),
        *("between", "two", "electrodes", "and", "polymer", "film", "having", "high", "thermal"),
        *("resistance", "under", "pressure", "with", "control", "unit", "signal", "processing"),
    ]
)
COUNTRIES = np.array(["US", "EP", "JP", "CN", "KR", "DE", "WO"])


def _nullable(*columns: tuple[str, str]) -> tuple[SourceField, ...]:
    return tuple(SourceField(name, kind) for name, kind in columns)


NESTED = (
    SourceField("publication_number", "STRING", "REQUIRED"),
    *_nullable(("country_code", "STRING"), ("publication_date", "DATE"), ("family_id", "INT64")),
    *_nullable(("title_localized", "JSON"), ("abstract_localized", "JSON"), ("citation", "JSON")),
    SourceField("cpc", "STRING", "REPEATED"),
    SourceField("inventor", "STRING", "REPEATED"),
)


def nested(start: int, rows: int) -> pa.Table:
    """Patents: JSON as the export's TO_JSON_STRING writes it, arrays of text."""
    random = np.random.default_rng(start)
    titles = [_sentence(random, 9) for _ in range(rows)]
    return _table(
        NESTED,
        [
            [f"XX-{start + i:010}-A1" for i in range(rows)],
            random.choice(COUNTRIES, rows).tolist(),
            pa.array(random.integers(0, 20_000, rows).astype("int32"), pa.date32()),
            random.integers(0, 10**8, rows),
            [_json([{"text": t, "language": "en", "truncated": False}]) for t in titles],
            [
                _json([{"text": _sentence(random, 90), "language": "en", "truncated": False}])
                for _ in range(rows)
            ],
            [_citations(random) for _ in range(rows)],
            [_codes(random) for _ in range(rows)],
            [[_sentence(random, 2) for _ in range(random.integers(0, 5))] for _ in range(rows)],
        ],
        [pa.string(), pa.string(), pa.date32(), pa.int64(), *[pa.string()] * 3]
        + [pa.list_(pa.string())] * 2,
    )


WIDE = (
    SourceField("id", "INT64", "REQUIRED"),
    *_nullable(("float", "FLOAT64"), ("numeric", "NUMERIC")),
    SourceField("money", "NUMERIC", "NULLABLE", None, 15, 2),
    *_nullable(("bignumeric", "BIGNUMERIC"), ("bool", "BOOL"), ("string", "STRING")),
    *_nullable(("bytes", "BYTES"), ("date", "DATE"), ("time", "TIME"), ("datetime", "DATETIME")),
    *_nullable(("timestamp", "TIMESTAMP"), ("json", "JSON"), ("geography", "GEOGRAPHY")),
    *_nullable(("interval", "INTERVAL")),
    SourceField("range_date", "RANGE", range_element="DATE"),
    SourceField("range_datetime", "RANGE", range_element="DATETIME"),
    SourceField("range_timestamp", "RANGE", range_element="TIMESTAMP"),
    SourceField("integers", "INT64", "REPEATED"),
    SourceField("strings", "STRING", "REPEATED"),
)


def wide(start: int, rows: int) -> pa.Table:
    """A column of every type; every tenth value of most is NULL."""
    random = np.random.default_rng(start)
    missing = random.random(rows) < 0.1
    whole = random.integers(-(10**15), 10**15, rows)
    small = random.integers(0, 10**6, rows)
    days = random.integers(0, 20_000, rows)
    micros = days * DAY + random.integers(0, DAY, rows)
    texts = [date(1970, 1, 1) + timedelta(days=int(d)) for d in days]
    wholes = whole.tolist()
    values = [
        np.arange(start, start + rows),
        pa.array(random.random(rows) * 1e9, mask=missing),
        _decimals(wholes, 9, 38),
        _decimals(small.tolist(), 2, 15),
        [
            None if n else Decimal(f"{w}.{s:030}")
            for w, s, n in zip(wholes, small, missing, strict=True)
        ],
        pa.array(small % 2 == 0, mask=missing),
        [f"row {n} of the wide table" for n in range(start, start + rows)],
        [random.bytes(16) for _ in range(rows)],
        pa.array(days.astype("int32"), pa.date32(), mask=missing),
        pa.array(micros % DAY, pa.time64("us"), mask=missing),
        pa.array(micros, MICROS, mask=missing),
        pa.array(micros, MICROS, mask=missing),
        [f'{{"n":{n},"tags":["a","b"],"inner":{{"x":{n % 7}.5}}}}' for n in small.tolist()],
        [f"POINT({n % 180} {n % 90})" for n in small.tolist()],
        [f"{n % 9}-{n % 12} {n % 30} {n % 24}:{n % 60}:{n % 59}.5" for n in small.tolist()],
        [f"[{d}, {d + timedelta(days=7)})" for d in texts],
        [f"[{d} 00:00:00, UNBOUNDED)" for d in texts],
        [f"[{d} 00:00:00+00, {d} 12:30:00+00)" for d in texts],
        [[int(n), int(n) + 1, int(n) + 2] for n in small],
        [[f"s{n}", "two"] for n in small.tolist()],
    ]
    types = [
        *(pa.int64(), pa.float64(), pa.decimal128(38, 9), pa.decimal128(15, 2)),
        *(pa.decimal256(76, 38), pa.bool_(), pa.string(), pa.binary(), pa.date32()),
        *(pa.time64("us"), MICROS, MICROS, *[pa.string()] * 6),
        *(pa.list_(pa.int64()), pa.list_(pa.string())),
    ]
    return _table(WIDE, values, types)


LONG = (SourceField("id", "INT64", "REQUIRED"), SourceField("body", "STRING"))


def long(start: int, rows: int) -> pa.Table:
    """Texts of 684 random letters, which Snappy cannot make smaller: 2,000,000 are over 1 GB."""
    random = np.random.default_rng(start)
    body = [base64.b64encode(random.bytes(513)).decode() for _ in range(rows)]
    return _table(LONG, [np.arange(start, start + rows), body], [pa.int64(), pa.string()])


SMALL = (
    SourceField("id", "INT64", "REQUIRED"),
    *_nullable(("name", "STRING"), ("amount", "NUMERIC"), ("at", "TIMESTAMP")),
)


def small(start: int, rows: int) -> pa.Table:
    """A table as there are many in a warehouse."""
    ids = np.arange(start, start + rows)
    return _table(
        SMALL,
        [ids, [f"name {n}" for n in ids], _decimals(ids.tolist(), 9, 38), ids * 10**6],
        [pa.int64(), pa.string(), pa.decimal128(38, 9), MICROS],
    )


def _table(fields: tuple[SourceField, ...], values: list, types: list[pa.DataType]) -> pa.Table:
    schema = pa.schema(
        [
            pa.field(f.name, kind, f.mode != "REQUIRED")
            for f, kind in zip(fields, types, strict=True)
        ]
    )
    arrays = [
        v if isinstance(v, pa.Array) else pa.array(v, kind)
        for v, kind in zip(values, types, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _decimals(whole: list[int], scale: int, precision: int) -> pa.Array:
    unscaled = [Decimal(n).scaleb(-scale) for n in whole]
    return pa.array(unscaled, pa.decimal128(precision, scale))


def _sentence(random: np.random.Generator, words: int) -> str:
    return " ".join(WORDS[random.integers(0, len(WORDS), words)])


def _citations(random: np.random.Generator) -> str:
    numbers = random.integers(0, 10**9, random.integers(0, 8)).tolist()
    return _json(
        [{"publication_number": f"US-{n}-B2", "type": "", "category": "SEA"} for n in numbers]
    )


def _codes(random: np.random.Generator) -> list[str]:
    return [
        f"H01L{n // 100}/{n % 100:02}" for n in random.integers(0, 5000, random.integers(0, 12))
    ]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
