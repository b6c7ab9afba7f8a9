"""Which way the rows leave BigQuery: extract job, EXPORT DATA or the Storage Read API. Pure.

Belongs here: the choice and its reason. Does not: the rest of the plan (plan.py), going that way
(bigquery.py, read_api.py).
"""

from dataclasses import dataclass

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import export_sql
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import Column, ExportWay, SourceFacts, Window


@dataclass(frozen=True, slots=True)
class WayOut:
    """A way out of BigQuery, and why it is taken. `direct`: the Read API needs no query."""

    way: ExportWay
    reason: str
    direct: bool = False


def choose_way(
    table: TableConfig,
    *,
    facts: SourceFacts,
    columns: tuple[Column, ...],
    window: Window | None,
    where: str | None,
    limit: int | None,
    every_partition_of: str | None = None,
    has_bucket: bool = True,
) -> WayOut:
    """The cheapest way out that is right. Raises ConfigError for an impossible one.

    An extract job is free but reads one whole plain table, writes what Parquet carries, and
    misses rows of the streaming buffer (bigquery-facts: 1.1, 5.3). The Read API reads columns
    and rows of a plain table, and any query's result (4).
    """
    if table.export == "read_api" or (table.export == "auto" and not has_bucket):
        needs = _needs_query(facts, columns, limit=limit, carrier="Arrow")
        if every_partition_of is not None:
            needs.append(f"BigQuery wants a filter on {every_partition_of}")
        if where and export_sql.holds_subquery(where):
            needs.append("the condition holds a query")
        asked = "asked for" if table.export == "read_api" else "no bucket is configured"
        how = f"of a query's result: {'; '.join(needs)}" if needs else "of the table itself"
        return WayOut(ExportWay.READ_API, f"{asked}; {how}", direct=not needs)
    _refuse_without_bucket(table, has_bucket=has_bucket)
    needs = _needs_query(facts, columns, limit=limit, carrier="Parquet")
    if window is not None:
        above = window.low is not None
        needs.append(f"only rows {'above the cursor' if above else 'in a window'} are read")
    if where:
        needs.append("a condition is given")
    excluded = [f.name for f in facts.fields if f.name not in {c.source for c in columns}]
    if excluded:
        needs.append(f"{', '.join(excluded)} must stay in BigQuery")
    if table.export == "extract" and needs:
        raise ConfigError(
            f"table {table.name}",
            met=f"export: extract, but {'; '.join(needs)}",
            expected="a whole plain table",
            way_out="Use export: auto; EXPORT DATA bills the bytes it reads, up to "
            "max_bytes_billed.",
        )
    if needs or table.export == "export_data":
        return WayOut(ExportWay.EXPORT_DATA, "; ".join(needs) or "asked for")
    return WayOut(ExportWay.EXTRACT, "a whole plain table: free")


def _needs_query(
    facts: SourceFacts, columns: tuple[Column, ...], *, limit: int | None, carrier: str
) -> list[str]:
    """What cannot leave BigQuery without a query, whichever way it takes."""
    needs = []
    if facts.kind != "TABLE":
        needs.append(f"the source is a {facts.kind.replace('_', ' ').lower()}")
    if limit is not None:
        needs.append("a limit is given")
    if facts.streaming:
        needs.append("rows wait in the streaming buffer")
    made = [c.source for c in columns if c.field is not None and c.field.sql is not None]
    if made:
        needs.append(f"{', '.join(made)} {'are' if len(made) > 1 else 'is'} shaped in the SELECT")
    foreign = [c.source for c in columns if not c.plain and c.source not in made]
    if foreign:
        needs.append(f"{carrier} cannot carry {', '.join(foreign)} as they are")
    return needs


def _refuse_without_bucket(table: TableConfig, *, has_bucket: bool) -> None:
    if not has_bucket:
        raise ConfigError(
            f"table {table.name}",
            met=f"export: {table.export}, but no bucket is configured",
            expected="a bucket for the exported files",
            way_out="Set BQ2PG_GCS_BUCKET, or use export: read_api, which needs none.",
        )
