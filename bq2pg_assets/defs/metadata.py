"""What a run found out, as the metadata of its materialization. Pure.

Belongs here: SyncResult to Dagster's metadata and data version. Does not: what is known before a
run (spec.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from urllib.parse import quote, urlencode

import dagster as dg

from bq2pg_assets.engine.model import Column, ExportWay, Mode, Outcome, RunOptions, SchemaChange
from bq2pg_assets.engine.results import SyncResult

CONSOLE = "https://console.cloud.google.com/bigquery"
Metadata = dict[str, dg.MetadataValue]


def result_metadata(
    result: SyncResult,
    *,
    options: RunOptions,
    source_key: dg.AssetKey | None,
    project: str,
    uri: str,
) -> Metadata:
    """Everything worth a look on the asset's page.

    `source_key` is the asset the columns come from, None for a query. `project` is the one whose
    BigQuery job exported; `uri` says where the table is, without credentials.
    """
    return {
        **_table(result, uri=uri),
        **_columns(result.columns, source_key=source_key),
        **_work(result),
        **_export(result, project=project),
        **_options(options),
    }


def data_version(
    result: SyncResult, *, options: RunOptions, code_version: str, run_id: str, previous: str | None
) -> dg.DataVersion:
    """Equal for two runs only when the second left the content as it was.

    Nothing new keeps the previous one. A full load by extract job has the version of its source:
    it copies a plain table, and only there does BigQuery's time of the last change tell whether
    the content is another. All else is new with each run.
    """
    if result.outcome is Outcome.NOTHING_NEW and previous is not None:
        return dg.DataVersion(previous)
    modified, copied = result.source_modified_at, result.way is ExportWay.EXTRACT
    if copied and result.publish is Mode.REPLACE and modified is not None and not options.partial:
        return dg.DataVersion(f"{modified.isoformat()} {code_version}")
    return dg.DataVersion(run_id)


def job_url(*, project: str, location: str, job_id: str) -> str:
    """The page of a job in the BigQuery console."""
    return f"{CONSOLE}?{urlencode({'project': project, 'j': f'bq:{location}:{job_id}'}, safe=':')}"


def table_uri(*, host: str, port: str, database: str, schema: str, table: str) -> str:
    """Where a PostgreSQL table is. Holds no user and no password."""
    path = "/".join(quote(part, safe="") for part in (database, schema, table))
    return f"postgresql://{host}:{port}/{path}"


def _table(result: SyncResult, *, uri: str) -> Metadata:
    known = result.target_rows
    if known is None and result.publish is Mode.REPLACE and result.outcome is Outcome.LOADED:
        known = result.rows
    count = {} if known is None else {"dagster/row_count": dg.MetadataValue.int(known)}
    return {
        **count,
        "dagster/table_name": dg.MetadataValue.text(str(result.target)),
        "dagster/uri": dg.MetadataValue.text(uri),
    }


def _columns(columns: tuple[Column, ...], *, source_key: dg.AssetKey | None) -> Metadata:
    if not columns:
        return {}
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=column.pg_type,
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=not column.not_null),
            )
            for column in columns
        ]
    )
    found: Metadata = {"dagster/column_schema": dg.MetadataValue.table_schema(schema)}
    if source_key is not None:
        lineage = dg.TableColumnLineage(
            {
                column.name: [
                    dg.TableColumnDep(asset_key=source_key, column_name=name)
                    for name in _read_by(column)
                ]
                for column in columns
            }
        )
        found["dagster/column_lineage"] = dg.MetadataValue.column_lineage(lineage)
    return found


def _read_by(column: Column) -> Sequence[str]:
    """The source's columns that a column is made of."""
    if column.field is None or column.field.sql is None:
        return (column.source,)
    # Imported here: its sqlglot takes longer than all of this package, and few columns need it.
    from bq2pg_assets.engine.export_sql import columns_read

    return columns_read(column.field.sql)


def _work(result: SyncResult) -> Metadata:
    seconds = {f"seconds/{phase}": took for phase, took in result.phases.items()}
    per_second = result.rows / result.seconds if result.seconds > 0 else 0.0
    return {
        "outcome": dg.MetadataValue.text(result.outcome.value),
        "publish": dg.MetadataValue.text(result.publish.value),
        "rows": dg.MetadataValue.int(result.rows),
        "bytes": dg.MetadataValue.int(result.bytes),
        "shards": dg.MetadataValue.int(result.shards),
        "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
        **{name: dg.MetadataValue.float(round(took, 3)) for name, took in seconds.items()},
        **_profile(result),
        "rows_per_second": dg.MetadataValue.int(round(per_second)),
        # Only where something was taken: a table without U+0000 has nothing to say of it.
        **(
            {"nul_bytes": dg.MetadataValue.json(dict(result.nul_bytes))} if result.nul_bytes else {}
        ),
        **({"quarantined": dg.MetadataValue.int(result.quarantined)} if result.quarantined else {}),
        **_changes(result.schema_changes),
        **{f"rows/{word}": dg.MetadataValue.int(n) for word, n in result.row_counts.items()},
        **(
            {"lock_seconds": dg.MetadataValue.float(result.lock_seconds)}
            if result.lock_seconds is not None
            else {}
        ),
        **_texts(
            {
                "cursor_before": _shown(result.cursor_before),
                "cursor_after": _shown(result.cursor_after),
            }
        ),
    }


def _profile(result: SyncResult) -> Metadata:
    """Seconds of all workers of the copy together, so they may exceed `seconds/copy`."""
    if result.profile is None:
        return {}
    spent = {
        f"worker_seconds/{part}": dg.MetadataValue.float(round(took, 3))
        for part, took in result.profile.seconds.items()
    }
    workers = dg.MetadataValue.int(result.profile.workers)
    return {"workers": workers, **spent, **_texts({"advice": result.advice})}


def _changes(changes: tuple[SchemaChange, ...]) -> Metadata:
    """Only where target and source differed."""
    if not changes:
        return {}
    return {"schema_changes": dg.MetadataValue.md("\n".join(f"- {change}" for change in changes))}


def _export(result: SyncResult, *, project: str) -> Metadata:
    found: Metadata = {
        "bytes_processed": dg.MetadataValue.int(result.bytes_processed),
        "bytes_billed": dg.MetadataValue.int(result.bytes_billed),
        "cost_usd": dg.MetadataValue.float(result.cost),
        **_texts(
            {
                "source": result.source,
                "export": result.way and result.way.value,
                "prefix": result.prefix,
                "resumed_from": result.resumed_from,
            }
        ),
    }
    if result.source_modified_at is not None:
        found["source_modified_at"] = dg.MetadataValue.timestamp(result.source_modified_at)
    if result.job_id is not None:
        url = job_url(project=project, location=result.location, job_id=result.job_id)
        found["job_id"] = dg.MetadataValue.text(result.job_id)
        found["job"] = dg.MetadataValue.url(url)
    return found


def _options(options: RunOptions) -> Metadata:
    return {
        **({"full_refresh": dg.MetadataValue.bool(True)} if options.full_refresh else {}),
        **({"allow_shrink": dg.MetadataValue.bool(True)} if options.allow_shrink else {}),
        **({} if options.limit is None else {"limit": dg.MetadataValue.int(options.limit)}),
        **_texts({"where": options.where}),
    }


def _texts(values: Mapping[str, str | None]) -> Metadata:
    return {name: dg.MetadataValue.text(value) for name, value in values.items() if value}


def _shown(value: date | None) -> str | None:
    return None if value is None else value.isoformat()
