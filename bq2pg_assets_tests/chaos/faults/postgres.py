"""Faults of PostgreSQL and of the network to it.

Belongs here: connections, restarts, locks, time limits, a full disk. Does not: what faults are made
of (fault.py, orders.py).
"""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from bq2pg_assets_tests.chaos import small_disk
from bq2pg_assets_tests.chaos.faults.fault import (
    AGAIN,
    NO_WAY_OUT,
    Fault,
    at,
    both,
    changes,
    last,
    of_postgres,
)
from bq2pg_assets_tests.chaos.faults.orders import STALL_SECONDS, answer_lost, cut, slowed, stalled
from bq2pg_assets_tests.chaos.ground import Case
from bq2pg_assets_tests.chaos.modes import KEEPING, REPLACING
from bq2pg_assets_tests.chaos.wire import Order
from bq2pg_assets_tests.integration.helpers import locking

COPYING = at("pg", "^COPY data", nth=2)
PUBLISHING = last(at("pg", "", step="publish"))  # the COMMIT
WRITING = last(
    at("pg", r'^(INSERT INTO|ALTER TABLE|UPDATE|MERGE|LOCK TABLE) .*"t"', step="publish")
)
PUBLISHED = re.compile(r"INSERT INTO \"public\"\.\"(t|sync_state)\"|ALTER TABLE \"bq2pg\"")
BROKEN = "connection"


def restarted(how: signal.Signals) -> Callable[[Case], Order]:
    """PostgreSQL stops and is there again."""
    return lambda case: Order(before=partial(case.ground.server.restart, how))


@contextmanager
def held(case: Case, *, mode: str) -> Iterator[None]:
    """Another session holds the table."""
    with locking(case.world.dsn, f"LOCK TABLE t IN {mode} MODE"):
        yield


@contextmanager
def statement_timeout(case: Case) -> Iterator[None]:
    """The database ends statements that take longer than the stall."""
    name = case.world.database
    case.world.pg(f"ALTER DATABASE {name} SET statement_timeout = '{STALL_SECONDS / 3}s'")
    yield
    case.world.pg(f"ALTER DATABASE {name} RESET statement_timeout")


@contextmanager
def down(case: Case) -> Iterator[None]:
    """No server, for the whole run."""
    case.ground.server.stop(signal.SIGINT)
    yield
    case.ground.server.start()


CONNECTIONS = (
    Fault(
        "connection cut",
        of_postgres(changes("lock", "plan", "export", "copy", "verify")),
        "either",
        BROKEN,
        AGAIN,
        cut,
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "connection cut while publishing or cleaning",
        of_postgres(changes("publish", "after")),
        "either",
        BROKEN,
        AGAIN,
        cut,
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "connection cut, the answer is lost",
        at("pg", "^(COMMIT|INSERT|COPY end)"),
        "either",
        BROKEN,
        AGAIN,
        answer_lost,
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "connection stalls and goes on",
        both(COPYING, PUBLISHING),
        "goes on",
        "",
        NO_WAY_OUT,
        stalled,
        group="PostgreSQL",
    ),
    Fault(
        "connection is slow",
        at("pg", "^COPY data", nth=1),
        "goes on",
        "",
        NO_WAY_OUT,
        slowed,
        lasting=True,
        group="PostgreSQL",
    ),
    Fault(
        "restarted (fast)",
        both(COPYING, WRITING, PUBLISHING),
        "fails",
        BROKEN,
        AGAIN,
        restarted(signal.SIGINT),
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "restarted (immediate)",
        both(COPYING, WRITING, PUBLISHING),
        "fails",
        BROKEN,
        AGAIN,
        restarted(signal.SIGQUIT),
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "down",
        at("pg", "^connect", nth=1),
        "fails",
        "PostgreSQL",
        AGAIN,
        around=down,
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "statement_timeout while copying",
        last(at("pg", "^COPY data")),
        "fails",
        "statement timeout",
        "raise the role's `statement_timeout`",
        stalled,
        around=statement_timeout,
        group="PostgreSQL",
    ),
    Fault(
        "a reader has the table open, in modes that keep the table",
        PUBLISHING,
        "goes on",
        "",
        NO_WAY_OUT,
        around=partial(held, mode="ACCESS SHARE"),
        ways=KEEPING,
        group="PostgreSQL",
    ),
    Fault(
        "a reader has the table open for more than 10 s, in mode replace",
        PUBLISHING,
        "fails",
        "A reader or writer held the table",
        AGAIN,
        around=partial(held, mode="ACCESS SHARE"),
        retried=True,
        ways=REPLACING,
        group="PostgreSQL",
    ),
    Fault(
        "a session locks the table for more than 10 s",
        WRITING,
        "fails",
        "lock timeout",
        AGAIN,
        around=partial(held, mode="SHARE"),
        retried=True,
        group="PostgreSQL",
    ),
    Fault(
        "disk full while copying",
        COPYING,
        "fails",
        "No space left on device",
        "free disk space, run again",
        around=small_disk.for_staging,
        group="PostgreSQL",
    ),
    Fault(
        "disk full while publishing",
        WRITING,
        "fails",
        "No space left on device",
        "free disk space, run again",
        around=small_disk.for_target,
        group="PostgreSQL",
    ),
)
