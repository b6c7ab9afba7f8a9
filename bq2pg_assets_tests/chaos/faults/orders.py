"""What happens at the place of a fault: to the process, to a connection, to an answer.

Belongs here: orders to the proxies that any service may be struck with. Does not: where and when
(fault.py), what only one service can suffer.
"""

import json
import time
from collections.abc import Callable
from functools import partial

from bq2pg_assets_tests.chaos.ground import Case
from bq2pg_assets_tests.chaos.wire import Order

STALL_SECONDS = 1.5


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


def status(code: int) -> Callable[[Case], Order]:
    """The service answers with an error."""
    body = json.dumps({"error": {"code": code, "message": "injected", "errors": []}}).encode()
    return lambda _: Order(status=code, body=lambda *_: body)
