"""ingestr: its program on one local Arrow file, the fastest of the local files it reads.

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
    (file,) = job["ready"]
    command = [str(Path(sys.executable).parent / "ingestr"), "ingest", "--yes"]
    command += ["--source-uri", f"mmap://{file}", "--source-table", "bench"]
    command += ["--dest-uri", f"{job['url']}?sslmode=disable", "--dest-table", job["into"]]
    command += ["--progress", "log"]
    start = time.monotonic()
    environment = {**os.environ, "INGESTR_DISABLE_TELEMETRY": "true", "DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, check=False, stdout=sys.stderr, env=environment)
    if done.returncode:
        sys.exit(done.returncode)
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
