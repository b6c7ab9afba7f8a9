"""Sling: its program on local CSV files; for Parquet it fetches DuckDB from GitHub, and is slower.

Runs in the environment `sling`, without bq2pg.
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
    (program,) = Path(sys.prefix).glob("lib/python3.*/site-packages/sling_*/bin/sling-*")
    folder = Path(job["ready"][0]).parent
    command = [str(program), "run", "--src-stream", f"file://{folder}/"]
    command += ["--src-options", '{"format": "csv", "header": false}']
    command += ["--tgt-conn", "BENCH", "--tgt-object", job["into"], "--mode", "full-refresh"]
    environment = {
        **os.environ,
        "BENCH": f"{job['url']}?sslmode=disable",
        "SLING_DISABLE_TELEMETRY": "true",
    }
    start = time.monotonic()
    done = subprocess.run(command, check=False, stdout=sys.stderr, env=environment)
    if done.returncode:
        sys.exit(done.returncode)
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
