# mypy: ignore-errors
"""Run the BigQuery stand-in: `python emulator --port N --grpc-port M --data-dir DIR --project P`.

Belongs here: the order of things (extensions, patches, servers). Run with Python >= 3.13 from
the emulators' own environment. Environment variables:

    STORAGE_EMULATOR_HOST      address of the Cloud Storage emulator, for exports and loads
    LBQ_EXT_DIR                folder for DuckDB's extensions
    LBQ_SHARD_BYTES            size in memory at which an export begins a new object
    LBQ_EXPORT_DELAY_SECONDS   every export stays RUNNING this long before it writes (tests)
"""

import argparse
import pathlib
import sys

import offline

offline.install()

import casts  # noqa: E402
import json_text  # noqa: E402
import parquet_export  # noqa: E402
import read_rules  # noqa: E402, F401
import service_rules  # noqa: E402
import uvicorn  # noqa: E402
from local_bigquery.app import app  # noqa: E402
from local_bigquery.grpc import server  # noqa: E402
from local_bigquery.settings import settings  # noqa: E402

SHUTDOWN_SECONDS = 3


def main(arguments: list[str]) -> None:
    """Serve REST on --port and the Storage Read API on --grpc-port until SIGTERM."""
    parser = argparse.ArgumentParser("emulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--project", required=True)
    given = parser.parse_args(arguments)
    settings.bigquery_host = "127.0.0.1"
    settings.bigquery_port = given.port
    settings.grpc_port = given.grpc_port
    settings.default_project_id = given.project
    settings.data_dir = given.data_dir
    casts.install()
    json_text.install()
    parquet_export.install()
    service_rules.install()
    service_rules.fail_interrupted_jobs()
    reading, _ = server.start("127.0.0.1", given.grpc_port)  # kept: it stops when let go
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    reading.stop(None)


main(sys.argv[1:])
