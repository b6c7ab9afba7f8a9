"""Faults of the process itself: SIGKILL at every step.

Belongs here: kills. Does not: what they are made of (fault.py, orders.py).
"""

from bq2pg_assets_tests.chaos.faults.fault import RUN_AGAIN, Fault, at, both, changes, everywhere
from bq2pg_assets_tests.chaos.faults.orders import killed, killed_after

KILLS = (
    Fault(
        "SIGKILL before any change",
        changes(),
        "killed",
        "",
        RUN_AGAIN,
        killed,
        first_loads=True,
        group="the process",
    ),
    Fault(
        "SIGKILL while PostgreSQL commits",
        at("pg", "^COMMIT"),
        "killed",
        "",
        RUN_AGAIN,
        killed_after,
        first_loads=True,
        group="the process",
    ),
    Fault(
        "SIGKILL while a service answers",
        both(everywhere("bq"), everywhere("gcs")),
        "killed",
        "",
        RUN_AGAIN,
        killed_after,
        group="the process",
    ),
)
