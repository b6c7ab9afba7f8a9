"""The pipeline that many write first: 10,000 rows, an INSERT by SQLAlchemy, a commit, and again.

Runs in the environment `frames`.
"""

import json
import sys
import time
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    schema, name = job["into"].split(".")
    start = time.monotonic()
    engine = sa.create_engine(job["url"].replace("postgresql:", "postgresql+psycopg2:"))
    table = sa.Table(name, sa.MetaData(), schema=schema, autoload_with=engine)
    for path in job["files"]:
        for batch in pq.ParquetFile(path).iter_batches(10_000):
            with engine.begin() as connection:
                connection.execute(sa.insert(table), batch.to_pylist())
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
