"""dlt as its tutorial has it: dictionaries in, no setting changed.

Runs in the environment `dlt`, without bq2pg.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import pyarrow.parquet as pq


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    schema, name = job["into"].split(".")
    start = time.monotonic()

    @dlt.resource(name=name, write_disposition="replace")
    def rows() -> Iterator[Any]:
        for path in job["files"]:
            for batch in pq.ParquetFile(path).iter_batches(10_000):
                yield from batch.to_pylist()

    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(job["url"]),
        dataset_name=schema,
        pipelines_dir="pipelines",
    )
    pipeline.run(rows()).raise_on_failed_jobs()
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
