"""BigQuery: what a source is, what lies above the cursor, and exporting it.

Belongs here: calls of the BigQuery client. Does not: SQL texts (export_sql.py), reading what was
exported (shards.py), deciding (plan.py).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from google.api_core import exceptions as api
from google.cloud import bigquery
from pydantic import SecretStr

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import export_sql, shape
from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import Bq2pgError, CancelledError, ConfigError
from bq2pg_assets.engine.google_errors import bigquery_errors, source_error, without_values
from bq2pg_assets.engine.model import (
    Cursor,
    Estimate,
    Export,
    ExportWay,
    Probe,
    RunId,
    SourceFacts,
    SourceField,
    SyncPlan,
)
from bq2pg_assets.engine.typemap import LEGACY_NAMES

if TYPE_CHECKING:
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

TIB = 1024**4
POLL_SECONDS = (0.05, 2.0)  # first and longest wait between two looks at a job
REQUEST_SECONDS = 60.0
STOP_SECONDS = 10.0  # the longest wait for a cancelled job to end


class BigQuerySource:
    """The tables of one BigQuery project, read over `client`.

    `location` is where jobs run; None takes each dataset's own. `price_per_tib` is in US dollars.
    `read_client` makes a client of the Storage Read API. `mask_secret` is what columns masked by
    sha256 or hmac are hashed with.
    """

    def __init__(
        self,
        client: bigquery.Client,
        *,
        read_client: "Callable[[], BigQueryReadClient]",
        location: str | None = None,
        price_per_tib: float = 6.25,
        mask_secret: SecretStr | None = None,
    ) -> None:
        self.client, self.location, self.price_per_tib = client, location, price_per_tib
        self.read_client, self._mask_secret = read_client, mask_secret

    def describe(self, table: TableConfig) -> SourceFacts:
        """What the source is, its columns as `columns:` shapes them. Costs nothing.

        Raises SourceError, ConfigError or MappingError.
        """
        shape.refuse_without_secret(table, self._mask_secret)
        facts = self._facts(table)
        values = shape.values(table, facts.fields)
        typed: Iterable[SourceField] = ()
        if values:
            sql = shape.type_query(values, facts.sql, partition=facts.partition_filter_on)
            with bigquery_errors(f"table {table.name}, types of {', '.join(values)}"):
                job = self._dry_run(sql, location=facts.location)
            typed = [replace(_field(f), sql=values[f.name]) for f in job.schema or ()]
        return replace(
            facts,
            fields=shape.shaped_fields(table, facts.fields, typed),
            hides=shape.hides(table),
            shape=shape.fingerprint(table, self._mask_secret),
        )

    def modified_at(self, table: TableConfig) -> datetime | None:
        """When the source last changed, or None for a view or query. Costs nothing."""
        return None if table.query else self._facts(table).modified_at

    def unchanged_rows(self, table: TableConfig, facts: SourceFacts) -> int | None:
        """The table's number of rows, when it is still as described; else None."""
        if facts.kind != "TABLE" or facts.streaming:
            return None
        now = self._facts(table)
        same = now.modified_at == facts.modified_at and not now.streaming
        return now.num_rows if same else None

    def probe(
        self,
        facts: SourceFacts,
        cursor: Cursor,
        *,
        table: TableConfig,
        where: str | None,
        limit: int | None,
        every_partition_of: str | None,
        run: RunId,
        cancel: CancelToken,
    ) -> Probe:
        """The highest cursor value above the stored one, the rows above it, and when that was.

        Raises SourceError.
        """
        sql = export_sql.probe(
            facts.sql,
            cursor,
            where=where,
            limit=limit,
            every_partition_of=every_partition_of,
            lag=table.lag,
        )
        config = _query_config(table.name, run, max_bytes_billed=table.max_bytes_billed)
        own_id = job_id(table.name, run, "probe")
        asked = f"table {table.name}, looking above the cursor, job {own_id}"

        def looked() -> tuple[Any, Any]:
            job = self._done(
                lambda: self._query(sql, config, job_id=own_id, location=facts.location),
                job_id=own_id,
                location=facts.location,
                cancel=cancel,
                where=asked,
            )
            with bigquery_errors(asked):
                (found,) = job.result(timeout=REQUEST_SECONDS)
            return job, found

        job, found = without_values(looked, hides=facts.hides)
        return Probe(
            high=found["high"],
            rows=int(found["rows_above"]),
            at=found["at"],
            bytes_billed=int(job.total_bytes_billed or 0),
            nulls=int(found["nulls"]),
        )

    def estimate(self, plan: SyncPlan) -> Estimate:
        """What the plan's export would process. Costs nothing."""
        if plan.nothing_new or plan.resumes is not None:
            return Estimate(0, 0.0)
        if plan.way is ExportWay.EXTRACT or plan.direct:
            return Estimate(plan.source_bytes or 0, 0.0)
        with bigquery_errors(f"table {plan.table}, dry run"):
            job = self._dry_run(export_sql.select(plan), location=plan.location)
        size = int(job.total_bytes_processed or 0)
        return Estimate(size, self.cost(size))

    def cost(self, bytes_billed: int) -> float:
        """US dollars for so many bytes, on demand."""
        return bytes_billed / TIB * self.price_per_tib

    def export(self, plan: SyncPlan, *, prefix: str, run: RunId, cancel: CancelToken) -> Export:
        """Export the plan's rows below `prefix` (gs://bucket/path/). Raises SourceError.

        For the Read API they are put into a table: a query's result, or the source as it is. On
        any way out but success BigQuery may have left objects below the prefix.
        """
        if plan.resumes is not None:
            return plan.resumes.export
        if plan.direct:
            return _as_it_is(plan)
        own_id = job_id(plan.table, run, "export")
        job = without_values(
            lambda: self._done(
                lambda: self._export(plan, uri=f"{prefix}*.parquet", job_id=own_id, run=run),
                job_id=own_id,
                location=plan.location,
                cancel=cancel,
                where=f"table {plan.table}, export job {own_id}",
            ),
            hides=plan.hides,
        )
        if plan.way is ExportWay.READ_API:
            with bigquery_errors(f"table {plan.table}, export job {own_id}"):
                rows = job.result(timeout=REQUEST_SECONDS, max_results=0).total_rows
            return replace(_finished(job, place=job.destination.to_bqstorage()), rows=rows)
        return _finished(job, place=prefix)

    def is_unfinished(self, job_id: str, *, location: str) -> bool:
        """Whether a job waits or runs. Costs nothing. Raises SourceError."""
        with bigquery_errors(f"job {job_id}"):
            try:
                job = self.client.get_job(job_id, location=location, timeout=REQUEST_SECONDS)
            except api.NotFound:
                return False
        return str(job.state) != "DONE"

    def finished_export(self, job_id: str, *, location: str, place: str) -> Export | None:
        """What an earlier export wrote to `place`, bills nothing; None unless its job ended well.

        BigQuery knows a job for six months. Raises SourceError.
        """
        with bigquery_errors(f"export job {job_id}"):
            try:
                job = self.client.get_job(job_id, location=location, timeout=REQUEST_SECONDS)
            except api.NotFound:
                return None
        if job.state != "DONE" or job.error_result:
            return None
        export = _finished(job, place=place)
        return replace(export, bytes_processed=0, bytes_billed=0, files=_files(job))

    def cancel(self, job_id: str, *, location: str) -> None:
        """Ask BigQuery to stop a job, as far as it exists and can be reached.

        Gives it a while to stop: what it wrote after the cleaning would stay in the bucket.
        """
        with suppress(api.GoogleAPICallError, Bq2pgError), bigquery_errors(f"job {job_id}"):
            job = self.client.cancel_job(job_id, location=location, timeout=REQUEST_SECONDS / 6)
            end = time.monotonic() + STOP_SECONDS
            while not job.done(timeout=REQUEST_SECONDS / 6) and time.monotonic() < end:
                time.sleep(POLL_SECONDS[0])

    def _done(
        self,
        insert: Callable[[], Any],
        *,
        job_id: str,
        location: str,
        cancel: CancelToken,
        where: str,
    ) -> Any:
        """The job that `insert` starts, when it is done.

        It carries our own id: inserting it twice starts it once. On any way out but success it is
        cancelled.
        """
        with self._stopped_on_failure(job_id, location=location), bigquery_errors(where):
            try:
                job = insert()
            except api.Conflict:  # our first insert arrived although its answer did not
                job = self.client.get_job(job_id, location=location, timeout=REQUEST_SECONDS)
            self._wait(job, cancel=cancel, where=where)
        return job

    @contextmanager
    def _stopped_on_failure(self, job_id: str, *, location: str) -> Iterator[None]:
        """Leave no job running behind, also when the answer to its insert was lost."""
        try:
            yield
        except BaseException:
            self.cancel(job_id, location=location)
            raise

    def _export(self, plan: SyncPlan, *, uri: str, job_id: str, run: RunId) -> Any:
        if plan.way is ExportWay.EXTRACT:
            return self.client.extract_table(
                _reference(plan.source_sql),
                uri,
                job_id=job_id,
                location=plan.location,
                job_config=bigquery.ExtractJobConfig(
                    destination_format="PARQUET",
                    compression="SNAPPY",
                    labels=_labels(plan.table, run),
                ),
                timeout=REQUEST_SECONDS,
            )
        config = _query_config(plan.table, run, max_bytes_billed=plan.max_bytes_billed)
        reads = plan.way is ExportWay.READ_API
        sql = export_sql.select(plan) if reads else export_sql.export_data(plan, uri)
        return self._query(sql, config, job_id=job_id, location=plan.location)

    def _query(
        self, sql: str, config: bigquery.QueryJobConfig, *, job_id: str, location: str
    ) -> Any:
        config.query_parameters = self._parameters(sql)
        return self.client.query(
            sql,
            job_id=job_id,
            location=location,
            job_retry=None,  # a retry would run under another id, an export below the same prefix
            job_config=config,
            timeout=REQUEST_SECONDS,
        )

    def _dry_run(self, sql: str, *, location: str | None) -> Any:
        config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        config.query_parameters = self._parameters(sql)
        return self.client.query(sql, location=location, job_config=config, timeout=REQUEST_SECONDS)

    def _parameters(self, sql: str) -> list[bigquery.ScalarQueryParameter]:
        """What the masks of `sql` are keyed with: never in the text, which BigQuery keeps."""
        found: dict[str, Any] = {**shape.parameters(sql, self._mask_secret)}
        return [bigquery.ScalarQueryParameter(name, "BYTES", v) for name, v in found.items()]

    def _wait(self, job: Any, *, cancel: CancelToken, where: str) -> None:
        wait, longest = POLL_SECONDS
        while not job.done(timeout=REQUEST_SECONDS):
            cancel.wait(wait, where=where)
            wait = min(wait * 1.5, longest)
        error = job.error_result
        if error and error.get("reason") == "stopped" and cancel.cancelled:
            raise CancelledError(where)
        if error:
            raise source_error(
                where, reason=str(error.get("reason", "")), message=str(error.get("message", ""))
            )

    def _facts(self, table: TableConfig) -> SourceFacts:
        """The source as it is."""
        with bigquery_errors(f"table {table.name}, source {table.source or 'query'}"):
            return self._query_facts(table) if table.query else self._table_facts(table)

    def _table_facts(self, table: TableConfig) -> SourceFacts:
        project, dataset, name = table.source_parts
        found = self.client.get_table(
            bigquery.TableReference(
                bigquery.DatasetReference(project or self.client.project, dataset), name
            ),
            timeout=REQUEST_SECONDS,
        )
        location = self._location(table, found.location)
        keys = found.table_constraints.primary_key if found.table_constraints else None
        kind = str(found.table_type)
        partition = found.time_partitioning or found.range_partitioning
        return SourceFacts(
            sql=export_sql.table_sql(found.project, found.dataset_id, found.table_id),
            kind=kind,
            fields=tuple(_field(f) for f in found.schema),
            location=location,
            num_rows=found.num_rows if kind == "TABLE" else None,
            num_bytes=found.num_bytes if kind == "TABLE" else None,
            # Of a view it is the time of its definition, which says nothing of its rows.
            modified_at=found.modified if kind == "TABLE" else None,
            streaming=found.streaming_buffer is not None,
            partition_filter_on=(partition.field or "_PARTITIONTIME")
            if partition is not None and found.require_partition_filter
            else None,
            description=found.description,
            primary_key=tuple(keys.columns) if keys else (),
        )

    def _query_facts(self, table: TableConfig) -> SourceFacts:
        sql = export_sql.query_sql(table.query or "")
        job = self._dry_run(f"SELECT * FROM {sql}", location=table.location or self.location)
        return SourceFacts(
            sql=sql,
            kind="QUERY",
            fields=tuple(_field(f) for f in job.schema or ()),
            location=str(job.location or table.location or self.location or "US"),
            num_bytes=job.total_bytes_processed,
        )

    def _location(self, table: TableConfig, actual: str | None) -> str:
        asked = table.location or self.location
        if asked and actual and asked.upper() != actual.upper():
            raise ConfigError(
                f"table {table.name}, source {table.source}",
                met=f"location {asked}",
                expected=f"{actual}, where the dataset is",
                way_out=f"Use location {actual} (location: in YAML, BQ2PG_BQ_LOCATION, "
                "--bq-location); the bucket must be there as well.",
            )
        return str(actual or asked or "US")


def _as_it_is(plan: SyncPlan) -> Export:
    """The source for the Read API. The probe has counted the rows of a window, as of then."""
    counted = plan.window is not None and plan.limit is None and plan.snapshot_at is not None
    return Export(
        job_id=None,
        place=_reference(plan.source_sql).to_bqstorage(),
        rows=plan.expected_rows if counted else None,
        bytes_processed=0,
        bytes_billed=0,
    )


def _finished(job: Any, *, place: str) -> Export:
    """The job's own figures. EXPORT DATA counts its rows, an extract job does not."""
    rows = _export_statistics(job).get("rowCount")
    extract = isinstance(job, bigquery.ExtractJob)
    return Export(
        job_id=job.job_id,
        place=place,
        rows=int(rows) if rows is not None else None,
        bytes_processed=0 if extract else int(job.total_bytes_processed or 0),
        bytes_billed=0 if extract else int(job.total_bytes_billed or 0),
        files=_files(job) if extract else None,
    )


def _files(job: Any) -> int:
    """How many objects an export wrote."""
    if isinstance(job, bigquery.ExtractJob):
        return sum(job.destination_uri_file_counts or ())
    return int(_export_statistics(job).get("fileCount") or 0)


def _export_statistics(job: Any) -> dict[str, Any]:
    query = job._properties.get("statistics", {}).get("query", {})
    return dict(query.get("exportDataStatistics", {}))


def _field(field: bigquery.SchemaField) -> SourceField:
    kind = LEGACY_NAMES.get(field.field_type, field.field_type)
    element = getattr(field, "range_element_type", None)
    source = SourceField(
        name=field.name,
        type=kind,
        mode=field.mode or "NULLABLE",
        description=field.description,
        precision=field.timestamp_precision.value if kind == "TIMESTAMP" else field.precision,
        scale=field.scale,
        range_element=element.element_type if element else None,
        max_length=field.max_length,
    )
    return (
        replace(source, fields=tuple(_field(f) for f in field.fields)) if field.fields else source
    )


def _reference(source_sql: str) -> bigquery.TableReference:
    return bigquery.TableReference.from_string(source_sql.replace("`", ""))


def _query_config(
    table: str, run: RunId, *, max_bytes_billed: int | None
) -> bigquery.QueryJobConfig:
    return bigquery.QueryJobConfig(
        maximum_bytes_billed=max_bytes_billed, use_query_cache=False, labels=_labels(table, run)
    )


def _labels(table: str, run: RunId) -> dict[str, str]:
    """Whose job it is, for BigQuery's list of jobs and for billing reports."""
    return {"bq2pg_table": _label(table), "bq2pg_run": _label(run.id)}


def _label(text: str) -> str:
    """A label's value: lower-case letters, digits, _ and -, at most 63."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in text.lower())[
        :63
    ]


def job_id(table: str, run: RunId, step: Literal["probe", "export"]) -> str:
    """Our own job id: letters, digits, _ and -, and no two alike within a run."""
    slug = "".join(c if c.isalnum() and c.isascii() else "_" for c in run.slug)
    return f"bq2pg_{table}_{slug}_{step}"
