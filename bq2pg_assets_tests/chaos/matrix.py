"""Fault by mode: a disturbed run, another one, and what then differs from no fault at all.

Belongs here: trying one case, judging it, the table of all. Does not: faults (faults.py), servers
(ground.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from rich.table import Table

from bq2pg_assets_tests.chaos import small_disk
from bq2pg_assets_tests.chaos.faults import FAULTS, KILLS, Fault
from bq2pg_assets_tests.chaos.ground import Case, Content, Ground, Place, Reader, Start
from bq2pg_assets_tests.chaos.modes import WAYS, Way
from bq2pg_assets_tests.chaos.runner import Run
from bq2pg_assets_tests.integration.helpers import until

ENDED = ("loaded", "nothing_new")


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault at one place of one way to publish."""

    fault: Fault
    way: Way
    loaded: bool
    place: Place

    @property
    def row(self) -> str:
        """The table's row: of a kill also the step."""
        step = f", {self.place.step}" if self.fault in KILLS else ""
        return f"{self.fault.group}: {self.fault.what}{step}"

    def __str__(self) -> str:
        first = "" if self.loaded else " (first load)"
        return f"{self.way.name}{first}, {self.row}, at {self.place.event}"


@dataclass(slots=True)
class Verdict:
    """How a trial went. Without `problems` it is as if there had been no fault."""

    trial: Trial
    first: Run
    reached: bool
    lost: int = 0
    doubled: int = 0
    leftovers: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, nothing left, nothing else to say."""
        return not (self.lost or self.doubled or self.leftovers or self.problems)

    def __str__(self) -> str:
        told = [*self.problems, *self.leftovers]
        if self.lost or self.doubled:
            told.append(f"{self.lost} rows lost, {self.doubled} too many")
        return f"{self.trial}: {'; '.join(told) or 'good'}"


def trials(
    ground: Ground, *, ways: Sequence[Way] = WAYS, faults: Sequence[Fault] = FAULTS
) -> Iterator[Trial]:
    """Every fault at each of its places, for every way, with earlier data and without."""
    for way in ways:
        for loaded in (True, False):
            start = ground.start(way, loaded=loaded)
            for fault in faults:
                if loaded or fault.first_loads:
                    yield from places(fault, start)


def places(fault: Fault, start: Start) -> list[Trial]:
    """Where the fault is tried."""
    found = fault.where(start.places) if start.way.name in fault.ways else ()
    return [Trial(fault, start.way, start.loaded, place) for place in found]


def possible(fault: Fault) -> bool:
    """Whether this machine lets it be tried."""
    return not fault.what.startswith("disk full") or small_disk.possible()


def judge(ground: Ground, trial: Trial) -> Verdict:
    """Try it."""
    start = ground.start(trial.way, loaded=trial.loaded)
    with ground.case(start.dataset, template=start.template) as case:
        return _judge(case, trial, start)


def _judge(case: Case, trial: Trial, start: Start) -> Verdict:
    fault, wire = trial.fault, case.ground.wire
    with Reader(case.world.dsn) as reader:
        states = {reader.now()}
        with fault.around(case) if fault.around else nullcontext():
            first = case.run(trial.way, rule=fault.rule(case, trial.place))
            reached = bool(wire.struck) or fault.around is not None
        case.quiet()
        middle = case.content()
        states.add(reader.now())
        second = case.run(trial.way)
        case.quiet()
        states.add(reader.now())
    verdict = Verdict(trial, first, reached)
    committed = middle == start.content[1]
    if middle not in start.content[:2]:
        verdict.problems.append("half a load was published")
    _compare(verdict, case.content(), start.content[1 + committed])
    if reader.seen - states:
        verdict.problems.append("a reader saw another state than before, between and after")
    if not second.went_well:
        verdict.problems.append(f"the next run failed: {second.error}")
    verdict.problems += _ends(fault, first, reached=reached)
    verdict.problems += _history(case, committed=committed)
    if case.around() != start.around:
        verdict.problems.append("a neighbour of the table changed")
    verdict.leftovers += _leftovers(case)
    return verdict


def _compare(verdict: Verdict, found: Content, wanted: Content) -> None:
    verdict.lost = (wanted.rows - found.rows).total()
    verdict.doubled = (found.rows - wanted.rows).total()
    if found.columns != wanted.columns:
        verdict.problems.append(f"columns {found.columns}, not {wanted.columns}")
    if found.cursor != wanted.cursor:
        verdict.problems.append(f"cursor {found.cursor}, not {wanted.cursor}")


def _ends(fault: Fault, first: Run, *, reached: bool) -> Iterator[str]:
    """What the disturbed run did that the fault's line does not say."""
    ways = {"killed": first.killed, "fails": bool(first.error), "goes on": first.went_well}
    ways["either"] = ways["fails"] or ways["goes on"]
    if reached and not ways[fault.ends]:
        yield f"the run ended with status {first.status}, {first.error or first.outcome}"
    if not first.killed and not first.went_well and not first.error:
        yield f"the run ended with status {first.status}"
    if first.error and fault.sees not in first.error:
        yield f"it says: {first.error}"
    if first.error and first.retryable is not fault.retried:
        yield f"retryable is {first.retryable}: {first.error}"
    if first.kind and not first.kind.endswith("Error"):
        yield f"unexpected {first.kind}"


def _history(case: Case, *, committed: bool) -> Iterator[str]:
    rows = [row["outcome"] for row in case.world.history()]
    if rows[-1] not in ENDED:
        yield f"sync_history ends with {rows[-1]}"
    if "running" in rows:
        yield "an attempt is still running in sync_history"
    loads = rows.count("loaded")
    if rows[-2:-1] == ["loaded"] and loads and not committed and len(rows) > 2:
        yield "sync_history says loaded, the rows did not come"
    if committed and "loaded" not in rows[:-1]:
        yield "the rows came, sync_history does not say loaded"


def _leftovers(case: Case) -> Iterator[str]:
    world = case.world
    for what, found in (
        ("staging tables", world.stages()),
        ("objects in the bucket", world.objects()),
        ("remembered shards", world.pg("SELECT stage FROM bq2pg.staged_shards")),
        (
            "schemas",
            world.pg(
                "SELECT nspname FROM pg_namespace "
                "WHERE nspname !~ '^(pg_|public|bq2pg$|information)'"
            ),
        ),
    ):
        if found:
            yield f"{what}: {found}"
    try:
        until(lambda: world.locks() == 0, "the locks to go", seconds=5)
    except AssertionError:
        yield "a lock"


def table(verdicts: Iterable[Verdict]) -> Table:
    """Fault by way: how many places were tried, and how many of them were not good."""
    cells: dict[str, dict[str, list[Verdict]]] = defaultdict(lambda: defaultdict(list))
    ways: dict[str, None] = {}
    for verdict in verdicts:
        ways[verdict.trial.way.name] = None
        cells[verdict.trial.row][verdict.trial.way.name].append(verdict)
    shown = Table("fault", *ways, "lost", "doubled", "left")
    for row, by_way in cells.items():
        every = [v for found in by_way.values() for v in found]
        shown.add_row(
            row,
            *(_cell(by_way[way]) for way in ways),
            str(sum(v.lost for v in every)),
            str(sum(v.doubled for v in every)),
            str(sum(len(v.leftovers) for v in every)),
        )
    return shown


def _cell(verdicts: Sequence[Verdict]) -> str:
    """`12` places and all good, or how many of them were."""
    good = sum(v.good for v in verdicts)
    if not verdicts:
        return "-"
    return f"{good} good" if good == len(verdicts) else f"{good} of {len(verdicts)} good"
