"""What a run says to its three services, event by event, and what is done at one of them.

Belongs here: events, the orders that a fault gives, and the record of a run. Does not: sockets
(proxies.py), which faults there are (faults.py).

An event is a request: a connection opened, a statement, a piece of COPY data, a call over HTTP.
Whatever a run does to the outside is one, so a run killed before each event in turn is a run
killed at every step. An event is known by its words and by how many of the same words came before
it: polls that differ in number do not move the others.
"""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

VICTIM_SECONDS = 10.0
UNIQUE = re.compile(r"[0-9a-f]{8,}(?:[-_][0-9a-f]{4,})*(?:[-_]\d+)?")


@dataclass(frozen=True, slots=True)
class Event:
    """The `nth` time (from 1) that a run says `words` to `service` (pg, bq or gcs)."""

    service: str
    words: str
    nth: int

    def __str__(self) -> str:
        return f"{self.service} {self.words}" + (f" #{self.nth}" if self.nth > 1 else "")


@dataclass(frozen=True, slots=True)
class Order:
    """What becomes of one event.

    `before` is done first. Without `forward` the service never hears of it; without `relay` the
    run never hears the answer, and `after` is done instead. `status` and `body` (of path and
    request) answer an HTTP request in the service's place, `change` alters its answer, `cut` is
    after how many bytes it ends early.
    """

    before: Callable[[], object] | None = None
    forward: bool = True
    relay: bool = True
    after: Callable[[], object] | None = None
    status: int | None = None
    body: Callable[[str, bytes], bytes] = lambda path, request: b""
    change: Callable[[bytes], bytes] | None = None
    cut: int | None = None


PASS = Order()
Rule = Callable[[Event], Order]


@dataclass
class Wire:
    """The services' side of one run: counts its events and asks the fault what to do."""

    rule: Rule = lambda _: PASS
    events: list[tuple[float, Event]] = field(default_factory=list)
    struck: list[Event] = field(default_factory=list)
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pid: int | None = None
    _known: threading.Event = field(default_factory=threading.Event)

    def meet(self, service: str, words: str) -> Order:
        """What to do with what the run says now."""
        words = " ".join(UNIQUE.sub("*", words).split())[:72]
        with self._lock:
            self._seen[service, words] += 1
            event = Event(service, words, self._seen[service, words])
            self.events.append((time.monotonic(), event))
            order = self.rule(event)
            if order is not PASS:
                self.struck.append(event)
        return order

    def forget(self, rule: Rule) -> None:
        """Begin with another run, and another fault."""
        with self._lock:
            self.rule = rule
            self.events, self.struck = [], []
            self._seen.clear()
            self._pid = None
            self._known.clear()

    def victim(self, pid: int) -> None:
        """This process is the run."""
        self._pid = pid
        self._known.set()

    def kill(self) -> None:
        """SIGKILL for the run."""
        assert self._known.wait(VICTIM_SECONDS), "nobody said which process runs"
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
