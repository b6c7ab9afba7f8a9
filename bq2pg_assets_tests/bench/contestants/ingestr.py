"""ingestr: its program on the local Parquet files.

Runs in the environment `ingestr`, without bq2pg.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    folder = Path(job["files"][0]).parent
    command = [str(Path(sys.executable).parent / "ingestr"), "ingest", "--yes"]
    command += ["--source-uri", f"parquet://{folder}/*.parquet", "--source-table", "bench"]
    command += ["--dest-uri", f"{job['url']}?sslmode=disable", "--dest-table", job["into"]]
    command += ["--progress", "log"]
    start = time.monotonic()
    environment = {**os.environ, "INGESTR_DISABLE_TELEMETRY": "true", "DISABLE_TELEMETRY": "true"}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
