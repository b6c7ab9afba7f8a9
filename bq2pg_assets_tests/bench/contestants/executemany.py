"""psycopg: executemany of one INSERT, in one transaction. Runs in the environment `frames`."""

import json
import sys
import time
from typing import Any

import psycopg
import pyarrow.parquet as pq


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    start = time.monotonic()
    with psycopg.connect(job["dsn"]) as connection, connection.cursor() as cursor:
        for path in job["files"]:
            for batch in pq.ParquetFile(path).iter_batches(10_000):
                marks = ", ".join(["%s"] * batch.num_columns)
                rows = [tuple(row.values()) for row in batch.to_pylist()]
                cursor.executemany(f"INSERT INTO {job['into']} VALUES ({marks})", rows)
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
