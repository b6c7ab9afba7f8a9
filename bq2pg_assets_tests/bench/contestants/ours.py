"""bq2pg: `sync_table` on shards that lie in the object store.

The clock runs from the beginning of step 6, before the first byte is read, to the commit of step 8.
`extra_mb` is what the process held at most above its size before the sync.
"""

import json
import re
import sys
import time
import uuid
from datetime import date
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.model import RunId
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.results import Progress
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.sync import sync_table
from bq2pg_assets_tests.bench.datasets import DATA, NEW_DAY
from bq2pg_assets_tests.bench.server import BUCKET
from bq2pg_assets_tests.bench.source import PROJECT, ReadySource


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    client = storage.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": job["storage"]},
    )
    new = job["data"] in ("lineitem_new", "lineitem_changed")
    source = ReadySource(
        job["data"], job["size"], rows=job["rows"], high=NEW_DAY if new else date(1998, 12, 1)
    )
    began: dict[str, float] = {}

    def note(progress: Progress) -> None:
        began.setdefault(progress.phase, time.monotonic())

    idle = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    result = sync_table(
        table(job),
        source=source,
        shards=GcsShards(client, bucket=BUCKET),
        target=PostgresTarget(job["dsn"]),
        run=RunId(uuid.uuid4().hex),
        report=note,
    )
    figures = {
        "seconds": began["after"] - began["copy"],
        "extra_mb": _status("VmHWM") - idle,
        **{f"phase_{phase}": seconds for phase, seconds in result.phases.items()},
        **(result.profile.seconds if result.profile else {}),
    }
    print(json.dumps(figures))


def table(job: dict[str, Any]) -> TableConfig:
    """The configuration of the table that the job names."""
    data, mode = DATA[job["data"]], job["options"]["mode"]
    given: dict[str, Any] = {"key": data.key} if mode == "merge" else {}
    if mode in ("append", "merge"):
        given["cursor"] = data.cursor
    return TableConfig(
        name="bench",
        source="bench.source",
        target=job["into"],
        mode=mode,
        parallelism=job["options"]["connections"],
        **given,
    )


def _status(name: str) -> float:
    """A size of this process, in MiB. Source: proc(5), /proc/pid/status."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
