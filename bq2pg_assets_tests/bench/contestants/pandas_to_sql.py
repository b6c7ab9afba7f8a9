"""pandas: read_parquet, then to_sql with its defaults. Runs in the environment `frames`."""

import json
import sys
import time
from typing import Any

import pandas as pd
import sqlalchemy as sa


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    schema, name = job["into"].split(".")
    start = time.monotonic()
    frame = pd.concat([pd.read_parquet(path) for path in job["files"]], ignore_index=True)
    engine = sa.create_engine(job["url"].replace("postgresql:", "postgresql+psycopg2:"))
    with engine.begin() as connection:
        frame.to_sql(name, connection, schema=schema, if_exists="replace", index=False)
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
