"""psql: `\\copy` from local files that lie ready, one process per connection.

With `indexes` the table is new, and its primary key and indexes are made afterwards, by hand.
"""

import json
import subprocess
import sys
import time
from typing import Any

FORMS = {"binary": "BINARY", "csv": "CSV", "text": "TEXT"}


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    start = time.monotonic()
    connections = job["options"]["connections"]
    copies = [_copies(job, job["ready"][at::connections]) for at in range(connections)]
    workers = [subprocess.Popen(_command(job, c), stdout=sys.stderr) for c in copies if c]
    codes = [worker.wait() for worker in workers]
    if not any(codes) and job["options"].get("indexes"):
        subprocess.run(_command(job, job["indexes"]), check=True, stdout=sys.stderr)
    seconds = time.monotonic() - start
    if any(codes):
        sys.exit(f"psql ended with {codes}")
    print(json.dumps({"seconds": seconds}))


def _copies(job: dict[str, Any], files: list[str]) -> list[str]:
    form = FORMS[job["form"]]
    return [f"\\copy {job['into']} from '{path}' (format {form})" for path in files]


def _command(job: dict[str, Any], statements: list[str]) -> list[str]:
    """In one transaction."""
    words = [word for statement in statements for word in ("-c", statement)]
    return [job["psql"], "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", *words, job["dsn"]]


if __name__ == "__main__":
    main()
