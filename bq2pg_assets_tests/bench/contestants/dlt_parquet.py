"""dlt at its fastest: Arrow batches kept as Parquet, loaded by ADBC.

Runs in the environment `dlt`, without bq2pg.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["NORMALIZE__WORKERS"] = "2"

import dlt
import pyarrow.parquet as pq


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    schema, name = job["into"].split(".")
    start = time.monotonic()

    @dlt.resource(name=name, write_disposition="replace")
    def rows() -> Iterator[Any]:
        for path in job["files"]:
            yield from pq.ParquetFile(path).iter_batches(100_000)

    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(job["url"]),
        dataset_name=schema,
        pipelines_dir="pipelines",
    )
    pipeline.run(rows(), loader_file_format="parquet").raise_on_failed_jobs()
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
