# mypy: ignore-errors
"""Rules of the BigQuery service that local_bigquery leaves out, added around its functions.

Belongs here: job life (asynchronous inserts, cancellation, jobs cut off by a restart),
locations, bytes processed and billed, row counts and modification times. Does not belong here:
the content of exports (`parquet_export`). The functions wrapped are private ones of
local_bigquery 0.4.0, which is why emulators.txt pins that version exactly.
"""

import contextlib
import contextvars
import functools
import re
import uuid

import duckdb
import parquet_export
from fastapi import APIRouter
from local_bigquery.api import jobs as jobs_api
from local_bigquery.app import PREFIX, app
from local_bigquery.catalog import datasets, metadata, tabledata, tables
from local_bigquery.engine import database
from local_bigquery.errors import STATUSES, BigQueryError, not_found
from local_bigquery.jobs import load, query, runner, store
from local_bigquery.models import Job, JobConfiguration, JobStatistics, QueryRequest, Table
from local_bigquery.sql import script
from local_bigquery.sql.translate import parse
from sqlglot import exp

EXPORT_DATA = re.compile(r"\bEXPORT\s+DATA\b", re.IGNORECASE)
STATUSES["bytesBilledLimitExceeded"] = (400, "INVALID_ARGUMENT")
STATUSES["jobInternalError"] = (400, "INVALID_ARGUMENT")

requested_location = contextvars.ContextVar("requested_location", default=None)
job_location = contextvars.ContextVar("job_location", default="US")


def around(module, name):
    """Decorator: the function gets the one it replaces as its first argument."""

    def decorate(replacement):
        original = getattr(module, name)
        setattr(module, name, functools.wraps(original)(functools.partial(replacement, original)))
        return replacement

    return decorate


# -- locations -------------------------------------------------------------------------------


def dataset_location(project_id: str, dataset_id: str) -> str:
    """Where the dataset lies; US unless it was created elsewhere."""
    return datasets.get(project_id, dataset_id).location or "US"


def datasets_of_query(project_id: str, config) -> list[tuple[str, str]]:
    """Existing datasets that a query names, in order; none when it cannot be parsed yet."""
    default = config.defaultDataset
    named = []
    if default and default.datasetId:
        named.append((default.projectId or project_id, default.datasetId))
    with contextlib.suppress(Exception):
        for statement in script.parse_script(config.query or ""):
            for tree in parse(statement.text):
                for table in tree.find_all(exp.Table):
                    if table.db.upper() == "INFORMATION_SCHEMA":
                        named.append((project_id, table.catalog))
                    elif table.db:
                        named.append((table.catalog or project_id, table.db))
    return [pair for pair in dict.fromkeys(named) if all(pair) and datasets.exists(*pair)]


def datasets_of_job(project_id: str, configuration) -> list[tuple[str, str]]:
    """Existing datasets that a job reads from or writes to."""
    if configuration.query:
        return datasets_of_query(project_id, configuration.query)
    found = []
    for part, name in (("extract", "sourceTable"), ("load", "destinationTable")):
        config = getattr(configuration, part)
        reference = config and getattr(config, name)
        if reference:
            found.append(tables.reference(reference)[:2])
    return [pair for pair in found if datasets.exists(*pair)]


def refuse_other_locations(project_id: str, configuration, location: str) -> None:
    """notFound, as in the service, for a dataset that lies elsewhere."""
    for pair in datasets_of_job(project_id, configuration):
        if dataset_location(*pair).casefold() != location.casefold():
            raise BigQueryError(
                "notFound",
                f"Not found: Dataset {pair[0]}:{pair[1]} was not found in location {location}",
            )


@around(runner, "_job")
def _(old, project_id, job_id, configuration):
    location = job_location.get()
    job = old(project_id, job_id, configuration)
    reference = job.jobReference.replace(location=location)
    return job.replace(id=f"{project_id}:{location}.{job_id}", jobReference=reference.dump())


@around(runner, "submit")
def _(old, project_id, job_id, configuration, upload=None):
    refuse_extract_of_view(configuration)
    named = datasets_of_job(project_id, configuration)
    location = requested_location.get() or (dataset_location(*named[0]) if named else "US")
    job_location.set(location)
    return old(project_id, job_id, configuration, upload)


@around(runner, "_dry_run")
def _(old, project_id, configuration):
    refuse_other_locations(project_id, configuration, job_location.get())
    return old(project_id, configuration)


@around(tables, "defaults")
def _(old, project_id, dataset_id, table_id):
    resource = old(project_id, dataset_id, table_id)
    if dataset_id == tables.RESULTS or not datasets.exists(project_id, dataset_id):
        return resource
    return resource.replace(location=dataset_location(project_id, dataset_id))


# -- the life of a job -----------------------------------------------------------------------


def refuse_extract_of_view(configuration) -> None:
    """Only tables can be extracted; told in the service's words."""
    if not configuration.extract:
        return
    reference = tables.reference(configuration.extract.sourceTable)
    if not tables.exists(*reference):
        return
    found = tables.load(*reference).type
    if found != "TABLE":
        label = f"{reference[0]}:{reference[1]}.{reference[2]}"
        raise BigQueryError(
            "invalid",
            f"{label} is not allowed for this operation because it is currently a {found}.",
        )


def is_export(configuration) -> bool:
    """Whether the job writes objects: an extract job or an EXPORT DATA statement."""
    text = configuration.query.query if configuration.query else None
    return bool(configuration.extract) or bool(EXPORT_DATA.search(text or ""))


@around(runner, "_query")
def _(old, job, session, running):
    parquet_export.running_job.set(running)
    reference = job.jobReference
    refuse_other_locations(reference.projectId, job.configuration, reference.location)
    return old(job, session, running)


@around(runner, "_handle")
def _(old, job, job_type, running, upload):
    parquet_export.running_job.set(running)
    reference = job.jobReference
    refuse_other_locations(reference.projectId, job.configuration, reference.location)
    return old(job, job_type, running, upload)


def fail_interrupted_jobs() -> None:
    """Close the jobs that a restart of the emulator cut off: nobody works on them any more."""
    rows = database.fetch("SELECT resource FROM emulator.jobs WHERE state <> 'DONE'")
    error = BigQueryError("jobInternalError", "The emulator was restarted while the job ran.")
    for (resource,) in rows:
        store.save(runner._done(Job.model_validate_json(resource), JobStatistics(), error))


def located(project_id: str, job_id: str, location: str | None) -> Job:
    """The job; notFound when it ran in another location than the one asked for."""
    job = runner.get(project_id, job_id)
    if location and location.casefold() != (job.jobReference.location or "US").casefold():
        raise not_found("Job", f"{project_id}:{location}.{job_id}")
    return job


def insert_job(project_id: str, body: Job) -> Job:
    """jobs.insert"""
    reference = body.jobReference
    requested_location.set(reference and reference.location)
    job_id = (reference and reference.jobId) or str(uuid.uuid4())
    configuration = body.configuration or JobConfiguration()
    job = runner.submit(project_id, job_id, configuration)
    # The service's inserts return at once. Exports do so here too, because the product polls and
    # cancels them; other jobs may use local_bigquery's second of grace, which saves a poll.
    if job.jobReference.jobId is None or is_export(configuration):
        return job
    return runner.submitted(project_id, job_id)


def get_job(project_id: str, job_id: str, location: str | None = None) -> Job:
    """jobs.get"""
    return located(project_id, job_id, location)


def cancel_job(project_id: str, job_id: str, location: str | None = None):
    """jobs.cancel"""
    located(project_id, job_id, location)
    return jobs_api.cancel_job(project_id, job_id)


def run_query(project_id: str, body: QueryRequest):
    """jobs.query"""
    requested_location.set(body.location)
    return jobs_api.run_query(project_id, body)


def serve_own_routes() -> None:
    """Put the four job routes above in front of the ones of local_bigquery."""
    router = APIRouter(prefix=PREFIX)
    plain = {"response_model_exclude_unset": True}
    path = "/projects/{project_id}/jobs"
    router.add_api_route(path, insert_job, methods=["POST"], **plain)
    router.add_api_route(path + "/{job_id}", get_job, methods=["GET"], **plain)
    router.add_api_route(path + "/{job_id}/cancel", cancel_job, methods=["POST"], **plain)
    router.add_api_route("/projects/{project_id}/queries", run_query, methods=["POST"], **plain)
    before = len(app.router.routes)
    app.include_router(router)
    routes = app.router.routes
    routes[:] = routes[before:] + routes[:before]


# -- bytes, rows, modification times ---------------------------------------------------------


def touch(reference) -> None:
    """Move lastModifiedTime of the table to now."""
    if len(reference) != 3:
        return
    found = metadata.load(Table, *reference) or tables.defaults(*reference)
    metadata.save(found.replace(lastModifiedTime=metadata.now()), *reference)


@around(query, "_run")
def _(old, cur, tree, context, destination, config, dry_run, isolated):
    statistics = old(cur, tree, context, destination, config, dry_run, isolated)
    if isinstance(tree, exp.Export) and not dry_run:
        files = str(parquet_export.files_written.get())
        rows = statistics.exportDataStatistics.rowCount
        statistics = statistics.replace(exportDataStatistics={"fileCount": files, "rowCount": rows})
    elif not dry_run and (type(tree) in query.STATEMENT_TYPES or isinstance(tree, exp.Merge)):
        touch(query._target(tree, context))
    read = 0
    for reference in context.referenced:
        with contextlib.suppress(BigQueryError):
            read += int(tables.load(*reference).numBytes or 0)
    billed = "0" if dry_run else str(read)
    return statistics.replace(totalBytesProcessed=str(read), totalBytesBilled=billed)


@around(query, "execute")
def _(old, cur, project_id, job_id, config, dry_run=False, session=None):
    limit = config.maximumBytesBilled
    if limit and not dry_run:
        planned, _, _ = old(cur, project_id, None, config, dry_run=True, session=session)
        needed = int(planned.totalBytesProcessed or 0)
        if needed > int(limit):
            raise BigQueryError(
                "bytesBilledLimitExceeded",
                f"Query exceeded limit for bytes billed: {limit}. {needed} or higher required.",
            )
    return old(cur, project_id, job_id, config, dry_run=dry_run, session=session)


@around(runner, "_done")
def _(old, job, statistics, error=None):
    processed = statistics.query and statistics.query.totalBytesProcessed
    if processed and not statistics.totalBytesProcessed:
        statistics = statistics.replace(totalBytesProcessed=processed)
    return old(job, statistics, error)


@around(tables, "load")
def _(old, *reference):
    # DuckLake's estimated_size drifts after UPDATE and DELETE; BigQuery's numRows is exact.
    table = old(*reference)
    columns = len(tables.fields(table))
    if table.type != "TABLE" or reference[1] == tables.RESULTS or not columns:
        return table
    with contextlib.suppress(duckdb.Error):
        [(rows,)] = database.fetch(f"SELECT count(*) FROM {tables.name(*reference)}")
        size = str(tables.logical_bytes(rows, columns))
        return table.replace(
            numRows=str(rows),
            numBytes=size,
            numTotalLogicalBytes=size,
            numActiveLogicalBytes=size,
        )
    return table


@around(tables, "write")
def _(old, cur, sql, bound, reference, *rest, **named):
    created = old(cur, sql, bound, reference, *rest, **named)
    if reference[1] != tables.RESULTS:
        touch(reference)
    return created


@around(load, "run")
def _(old, cur, config, upload):
    # A load that (re)creates the table's storage forgets which columns are REQUIRED.
    statistics = old(cur, config, upload)
    reference = tables.reference(config.destinationTable)
    name = tables.name(*reference)
    have = {field.name for field in tables.columns(*reference) if field.mode == "REQUIRED"}
    for field in (config.schema_ and config.schema_.fields) or []:
        if field.mode == "REQUIRED" and field.name not in have:
            database.execute(f"ALTER TABLE {name} ALTER {database.quote(field.name)} SET NOT NULL")
    return statistics


@around(tabledata, "insert_all")
def _(old, project_id, dataset_id, table_id, body):
    answer = old(project_id, dataset_id, table_id, body)
    touch((project_id, dataset_id, table_id))
    return answer


def install() -> None:
    """Everything of this file that is not installed by the decorators above."""
    runner.HANDLERS |= {"extract": parquet_export.run_extract, "load": load.run}
    serve_own_routes()
