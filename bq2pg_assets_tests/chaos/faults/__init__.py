"""Every fault, in the order of docs/failures.md: what it is, where it strikes, how a run ends then.

Belongs here: all of them together. Does not: each (process.py, postgres.py, storage.py,
bigquery.py), trying them (matrix.py), the sockets that do it (proxies.py).
"""

from bq2pg_assets_tests.chaos.faults.bigquery import BIGQUERY
from bq2pg_assets_tests.chaos.faults.fault import Fault
from bq2pg_assets_tests.chaos.faults.postgres import CONNECTIONS
from bq2pg_assets_tests.chaos.faults.process import KILLS
from bq2pg_assets_tests.chaos.faults.storage import STORAGE

__all__ = ["FAULTS", "KILLS", "Fault", "named"]

FAULTS = (*KILLS, *CONNECTIONS, *STORAGE, *BIGQUERY)


def named(group: str, what: str) -> Fault:
    """The fault of that name."""
    return next(f for f in FAULTS if (f.group, f.what) == (group, what))
