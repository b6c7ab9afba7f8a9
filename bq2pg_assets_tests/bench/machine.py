"""The machine and the versions, for whoever judges or repeats a run.

Belongs here: asking for them. Does not: their words in the report.
"""

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bq2pg_assets_tests.bench import peers
from bq2pg_assets_tests.bench.contest import Row
from bq2pg_assets_tests.bench.server import Servers

OWN = ("bq2pg", "pyarrow", "pgpq", "psycopg", "google-cloud-storage", "dagster")


def today() -> str:
    """The day, in UTC."""
    return datetime.now(UTC).date().isoformat()


def facts() -> dict[str, str]:
    """What the machine is, and how busy it was before."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 1024**2:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f} over a minute",
    }


def versions(servers: Servers, rows: Iterable[Row]) -> dict[str, str]:
    """bq2pg and what it stands on, the server, and the programs it runs against."""
    named = {e.contestant.environment for row in rows for e in row.entries} - {None}
    others = [pin.split("==") for name in sorted(map(str, named)) for pin in peers.versions(name)]
    return {
        "Python": platform.python_version(),
        "PostgreSQL": servers.version,
        **{name: version(name) for name in OWN},
        **{f"{name} (other programs)" if name in OWN else name: at for name, at in others},
    }
