"""Promises: what the page of scaling says follows from what was measured."""

import pyarrow as pa
import pytest

from bq2pg_assets_tests.bench.datasets import LINEITEM_FIELDS
from bq2pg_assets_tests.bench.scaling import GB, TIB, Measured, logical_bytes, need, page
from bq2pg_assets_tests.bench.test_report import results

AT = Measured(logical=200, parquet=40, table=220, wal=230, one=500_000, two=800_000)


def test_needs_grow_with_the_size() -> None:
    small, large = need(GB, AT), need(100 * GB, AT)
    assert small.rows == 5_000_000
    assert (small.parquet, small.table, small.wal) == (0.2 * GB, 1.1 * GB, 1.15 * GB)
    assert small.hours * 3600 == pytest.approx(6.25)
    assert large.hours == pytest.approx(100 * small.hours)


def test_prices_are_those_of_a_tebibyte() -> None:
    found = need(TIB, AT)
    assert (found.query, found.read_api) == (6.25, 1.10)
    assert found.bucket == pytest.approx(found.parquet / GB * 0.02 * 2 * found.hours / 730)


def test_a_row_counts_as_bigquery_counts_it() -> None:
    texts = {f.name: ["abc"] for f in LINEITEM_FIELDS if f.type == "STRING"}
    assert logical_bytes(pa.table(texts)) == 4 * 8 + 4 * 16 + 3 * 8 + 5 * (2 + 3)


def test_the_page_has_every_size() -> None:
    text = page(results(), AT)
    assert "| BigQuery's logical size | 1 GB | 100 GB | 10 TB |" in text
    assert "| rows | 5 M | 500 M | 50,000 M |" in text
    assert "800,000 (1.60 ×)" in text
