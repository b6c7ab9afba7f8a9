"""Faults of Cloud Storage.

Belongs here: answers with errors, objects that arrive other than they are stored. Does not: what
faults are made of (fault.py, orders.py).
"""

from collections.abc import Callable

from bq2pg_assets_tests.chaos.faults.fault import AGAIN, NO_WAY_OUT, Fault, at, both, everywhere
from bq2pg_assets_tests.chaos.faults.orders import status
from bq2pg_assets_tests.chaos.ground import Case
from bq2pg_assets_tests.chaos.wire import Order

DOWNLOAD = at("gcs", "content$")
LIST = at("gcs", "GET /o$", step="export")


def changed(how: Callable[[bytes], bytes]) -> Callable[[Case], Order]:
    """The object arrives other than it is stored."""
    return lambda _: Order(change=how)


def half(body: bytes) -> bytes:
    """As if the rest had been lost in the store."""
    return body[: len(body) // 2]


def flipped(body: bytes) -> bytes:
    """One bit in the middle."""
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


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
