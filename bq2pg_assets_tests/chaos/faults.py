"""What may go wrong, as data: where it is tried, how it is done, what the user sees of it.

Belongs here: faults, shown in docs/failures.md. Does not: trying them (matrix.py), the sockets
that do it (proxies.py).
"""

import json
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from bq2pg_assets.engine.google_reasons import RETRYABLE_REASONS
from bq2pg_assets_tests.chaos import small_disk
from bq2pg_assets_tests.chaos.ground import Case, Place
from bq2pg_assets_tests.chaos.modes import KEEPING, REPLACING, WAYS
from bq2pg_assets_tests.chaos.wire import PASS, Event, Order
from bq2pg_assets_tests.integration.helpers import locking

Where = Callable[[Iterable[Place]], list[Place]]
Ends = Literal["killed", "fails", "goes on", "either"]
PUBLISHED = re.compile(r"INSERT INTO \"public\"\.\"(t|sync_state)\"|ALTER TABLE \"bq2pg\"")
STALL_SECONDS = 1.5
NO_WAY_OUT = "nothing"


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` happens `where`, and how the run then `ends`.

    `sees` are words of the message, `retried` whether bq2pg tries again by itself, `do` what is
    left to be done. `order` makes what a proxy does at the place, and with `lasting` ever after.
    `around` surrounds the disturbed run. `ways` are those that it is tried with.
    """

    what: str
    where: Where
    ends: Ends
    sees: str
    do: str
    order: Callable[[Case], Order] = lambda _: PASS
    retried: bool = False
    lasting: bool = False
    first_loads: bool = False
    around: Callable[[Case], AbstractContextManager[object]] | None = None
    ways: tuple[str, ...] = tuple(way.name for way in WAYS)
    group: str = field(kw_only=True)

    def __reduce__(self) -> tuple[Callable[[str, str], "Fault"], tuple[str, str]]:
        """Between processes by name: what makes it is no data."""
        return named, (self.group, self.what)

    def rule(self, case: Case, place: Place) -> Callable[[Event], Order]:
        """What the wire does with each event of the disturbed run."""
        order, at = self.order(case), place.event

        def rule(event: Event) -> Order:
            same = (event.service, event.words) == (at.service, at.words)
            met = same and (event.nth >= at.nth if self.lasting else event.nth == at.nth)
            return order if met else PASS

        return rule


# -- where ------------------------------------------------------------------------------------


def everywhere(service: str = "") -> Where:
    """Every event, or every one of a service."""
    return lambda places: [p for p in places if service in ("", p.event.service)]


def at(service: str, words: str, *, step: str = "", nth: int | None = None) -> Where:
    """The events of a service whose words match, in a step."""

    def found(places: Iterable[Place]) -> list[Place]:
        return [
            p
            for p in places
            if p.event.service == service
            and re.search(words, p.event.words)
            and step in ("", p.step)
            and nth in (None, p.event.nth)
        ]

    return found


def both(*wheres: Where) -> Where:
    """The places of them all."""

    def found(places: Iterable[Place]) -> list[Place]:
        there = list(places)
        return [place for where in wheres for place in where(there)]

    return found


def last(where: Where) -> Where:
    """The last of the places."""
    return lambda places: where(places)[-1:]


# A statement that only looks changes nothing: killed before it is killed before what comes next.
LOOKS = re.compile(r"^(SELECT|SET|BEGIN|LOCK|connect)")


def changes(*steps: str) -> Where:
    """The events that may change something outside, in these steps or all; of COPY data three."""

    def found(places: Iterable[Place]) -> list[Place]:
        there = [p for p in places if not (p.event.service == "pg" and LOOKS.match(p.event.words))]
        pieces = [p for p in there if p.event.words == "COPY data"]
        left_out = set(pieces) - {*pieces[:2], *pieces[-1:]}
        return [p for p in there if p not in left_out and (not steps or p.step in steps)]

    return found


def of_postgres(where: Where) -> Where:
    """Those of the places where PostgreSQL is spoken to."""
    return lambda places: [p for p in where(places) if p.event.service == "pg"]


COPYING = at("pg", "^COPY data", nth=2)
PUBLISHING = last(at("pg", "", step="publish"))  # the COMMIT
WRITING = last(
    at("pg", r'^(INSERT INTO|ALTER TABLE|UPDATE|MERGE|LOCK TABLE) .*"t"', step="publish")
)
DOWNLOAD = at("gcs", "content$")
LIST = at("gcs", "GET /o$", step="export")
EXPORT = at("bq", "^POST .* export$")

# -- what is done -----------------------------------------------------------------------------


def killed(case: Case) -> Order:
    """SIGKILL, and the service never hears of the event."""
    return Order(before=case.ground.wire.kill, forward=False)


def killed_after(case: Case) -> Order:
    """SIGKILL when the service has done it."""
    return Order(relay=False, after=case.ground.wire.kill)


def cut(_: Case) -> Order:
    """The connection ends."""
    return Order(forward=False)


def answer_lost(_: Case) -> Order:
    """The service does it, and the connection ends."""
    return Order(relay=False)


def stalled(_: Case) -> Order:
    """Nothing moves for a while."""
    return Order(before=partial(time.sleep, STALL_SECONDS))


def slowed(_: Case) -> Order:
    """Every piece takes its time."""
    return Order(before=partial(time.sleep, 0.1))


def restarted(how: signal.Signals) -> Callable[[Case], Order]:
    """PostgreSQL stops and is there again."""
    return lambda case: Order(before=partial(case.ground.server.restart, how))


def status(code: int) -> Callable[[Case], Order]:
    """The service answers with an error."""
    body = json.dumps({"error": {"code": code, "message": "injected", "errors": []}}).encode()
    return lambda _: Order(status=code, body=lambda *_: body)


def changed(how: Callable[[bytes], bytes]) -> Callable[[Case], Order]:
    """The object arrives other than it is stored."""
    return lambda _: Order(change=how)


def job_fails(reason: str) -> Callable[[Case], Order]:
    """The job ends at once with this reason."""

    def body(path: str, request: bytes) -> bytes:
        asked = json.loads(request)
        error = {"reason": reason, "message": "injected"}
        return json.dumps(
            {
                "kind": "bigquery#job",
                "jobReference": asked["jobReference"],
                "configuration": asked["configuration"],
                "status": {"state": "DONE", "errorResult": error, "errors": [error]},
            }
        ).encode()

    return lambda _: Order(status=200, body=body)


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


def half(body: bytes) -> bytes:
    """As if the rest had been lost in the store."""
    return body[: len(body) // 2]


def flipped(body: bytes) -> bytes:
    """One bit in the middle."""
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


# -- the faults -------------------------------------------------------------------------------

RUN_AGAIN = "run again"
BROKEN = "connection"
AGAIN = "nothing, or run again"
FINAL = {
    "accessDenied": "grant the role that the message names",
    "notFound": "correct the name that the message shows",
    "invalidQuery": "correct the query",
    "bytesBilledLimitExceeded": "raise `max_bytes_billed`, or narrow the run",
    "quotaExceeded": "wait for the quota, or ask for more",
    "resourcesExceeded": "narrow the run, or simplify the query",
    "responseTooLarge": "narrow the run",
    "billingNotEnabled": "enable billing",
    "billingTierLimitExceeded": "simplify the query",
    "stopped": RUN_AGAIN,
    "timeout": "narrow the run",
    "duplicate": "see the job",
    "invalid": "see the job",
    "blocked": "see the job",
}
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
STORAGE = (
    *(
        Fault(
            f"HTTP {code} once",
            everywhere("gcs") if code == 503 else DOWNLOAD,
            "goes on",
            "",
            NO_WAY_OUT,
            status(code),
            group="Cloud Storage",
        )
        for code in (429, 500, 503)
    ),
    *(
        Fault(
            f"HTTP {code} until the run ends",
            both(LIST, DOWNLOAD),
            "fails",
            "",
            AGAIN,
            status(code),
            retried=True,
            lasting=True,
            group="Cloud Storage",
        )
        for code in (429, 500, 503)
    ),
    Fault(
        "HTTP 503 when the objects are to be deleted",
        at("gcs", "^DELETE"),
        "goes on",
        "",
        "nothing; the next run deletes them",
        status(503),
        lasting=True,
        group="Cloud Storage",
    ),
    Fault(
        "connection reset within an object",
        DOWNLOAD,
        "either",
        "could not be reached",
        AGAIN,
        lambda _: Order(cut=20_000),
        retried=True,
        group="Cloud Storage",
    ),
    Fault(
        "connection reset within an object, every time",
        DOWNLOAD,
        "fails",
        "",
        AGAIN,
        lambda _: Order(cut=20_000),
        retried=True,
        lasting=True,
        group="Cloud Storage",
    ),
    Fault(
        "object truncated",
        DOWNLOAD,
        "fails",
        "came as",
        AGAIN,
        changed(half),
        retried=True,
        lasting=True,
        group="Cloud Storage",
    ),
    Fault(
        "object with one bit flipped",
        DOWNLOAD,
        "fails",
        "CRC32C",
        AGAIN,
        changed(flipped),
        retried=True,
        lasting=True,
        group="Cloud Storage",
    ),
)
BIGQUERY = (
    *(
        Fault(
            f"HTTP {code} once",
            everywhere("bq") if code == 503 else EXPORT,
            "goes on",
            "",
            NO_WAY_OUT,
            status(code),
            group="BigQuery",
        )
        for code in (429, 500, 503)
    ),
    Fault(
        "HTTP 503 until the run ends",
        everywhere("bq"),
        "fails",
        "",
        AGAIN,
        status(503),
        retried=True,
        lasting=True,
        group="BigQuery",
    ),
    Fault(
        "connection cut",
        everywhere("bq"),
        "either",
        "BigQuery could not be reached",
        AGAIN,
        cut,
        retried=True,
        group="BigQuery",
    ),
    Fault(
        "connection cut, the answer is lost",
        everywhere("bq"),
        "either",
        "BigQuery could not be reached",
        AGAIN,
        answer_lost,
        retried=True,
        group="BigQuery",
    ),
    *(
        Fault(
            f"the export ends with {reason}",
            EXPORT,
            "fails",
            reason,
            AGAIN,
            job_fails(reason),
            retried=True,
            group="BigQuery",
        )
        for reason in sorted(RETRYABLE_REASONS)
    ),
    *(
        Fault(
            f"the export ends with {reason}",
            EXPORT,
            "fails",
            reason,
            do,
            job_fails(reason),
            group="BigQuery",
        )
        for reason, do in FINAL.items()
    ),
)
FAULTS = (*KILLS, *CONNECTIONS, *STORAGE, *BIGQUERY)


def named(group: str, what: str) -> Fault:
    """The fault of that name."""
    return next(f for f in FAULTS if (f.group, f.what) == (group, what))
