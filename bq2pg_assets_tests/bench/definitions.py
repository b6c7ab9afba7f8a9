"""Dagster's definitions over the tables of a folder, with a BigQuery that has exported already.

Belongs here: what `dagster_tables` loads, all as in bq2pg_assets/definitions.py but the source.
Does not: starting runs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from bq2pg_assets.config.load import load_tables
from bq2pg_assets.defs.build import build_definitions
from bq2pg_assets.defs.resources import BigQuery
from bq2pg_assets.defs.schedules import SYNC_ALL
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets_tests.bench.source import PROJECT, ReadySource


class ReadyBigQuery(BigQuery):
    """The data set `small`, under every table's name."""

    size: int
    rows: int

    @contextmanager
    def source(self) -> Iterator[BigQuerySource]:
        yield ReadySource("small", self.size, rows=self.rows)


defs = build_definitions(
    load_tables(Path(os.environ["BQ2PG_TABLES"])),
    resources={
        "bigquery": ReadyBigQuery(
            project=PROJECT, size=int(os.environ["BENCH_SIZE"]), rows=int(os.environ["BENCH_ROWS"])
        )
    },
)


def sync_all_job() -> dg.JobDefinition:
    """The job that loads every table."""
    return defs.resolve_job_def(SYNC_ALL.name)
