"""What a fault is, and where it strikes.

Belongs here: the words in which faults are told, and choosing their places among the events of a
run. Does not: what happens at a place (orders.py), the faults themselves.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from bq2pg_assets_tests.chaos.ground import Case, Place
from bq2pg_assets_tests.chaos.modes import WAYS
from bq2pg_assets_tests.chaos.wire import PASS, Event, Order

Where = Callable[[Iterable[Place]], list[Place]]
Ends = Literal["killed", "fails", "goes on", "either"]
NO_WAY_OUT = "nothing"
RUN_AGAIN = "run again"
AGAIN = "nothing, or run again"


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
        from bq2pg_assets_tests.chaos.faults import named

        return named, (self.group, self.what)

    def rule(self, case: Case, place: Place) -> Callable[[Event], Order]:
        """What the wire does with each event of the disturbed run."""
        order, at = self.order(case), place.event

        def rule(event: Event) -> Order:
            same = (event.service, event.words) == (at.service, at.words)
            met = same and (event.nth >= at.nth if self.lasting else event.nth == at.nth)
            return order if met else PASS

        return rule


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
