"""The words in which rows.py speaks: contestants, entries, reaches, rows.

Belongs here: what a row of the benchmark is made of, and when a reach is met. Does not: which
rows there are (rows.py), running them (run.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Figure = Literal["seconds", "seconds_each", "peak_mb", "extra_mb", "scanned_rows"]
# What is measured, and its unit, in the words of the report.
FIGURES: dict[Figure, tuple[str, str]] = {
    "seconds": ("time", "s"),
    "seconds_each": ("time", "s per table"),
    "peak_mb": ("memory", "MB at the peak"),
    "extra_mb": ("memory", "MB over idle"),
    "scanned_rows": ("full scans", "rows of the target"),
}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that loads a table: a module of contestants/, run as a process of its own.

    `environment` names its requirements in environments/, None is bq2pg's own. `ready` is the form
    of the local files it reads; None: the shards. `options` are told to the program. `into` is the
    table it fills, and `creates` says that it makes it.
    """

    name: str
    title: str
    module: str
    environment: str | None = None
    ready: Literal["binary", "csv", "text", "arrow"] | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    into: str = "bench.t"
    creates: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant in a row. `data`, `size` and `quick` override the row's; `name` tells two
    entries of one contestant apart."""

    contestant: Contestant
    name: str = ""
    data: str | None = None
    size: int | None = None
    quick: int | None = None

    @property
    def label(self) -> str:
        """What the entry is called within its row."""
        return self.name or self.contestant.name


@dataclass(frozen=True, slots=True)
class Reach:
    """A figure of the entry `of` is at most so much: of the same figure of the entry `against`,
    or, with None, as it is. A `of` of "" is the row's first entry."""

    figure: Figure
    at_most: float
    against: str | None = None
    of: str = ""

    @property
    def text(self) -> str:
        """The reach in words."""
        if self.against is None:
            return f"≤ {self.at_most:g} {FIGURES[self.figure][1]}"
        if self.at_most < 1:
            return f"≥ {1 / self.at_most:g} × as fast"
        return f"≤ {self.at_most:g} × its {FIGURES[self.figure][0]}"

    def told(self, value: float) -> str:
        """What was measured, in the same words."""
        if self.against is None:
            return f"{value:.3g} {FIGURES[self.figure][1]}"
        return f"{1 / value:.3g} × as fast" if self.at_most < 1 else f"{value:.2f} ×"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: entries that take turns on the same data, and what is to be reached.

    `size` counts rows of `data` (tables, of the row of small tables), `quick` those of a quick run.
    `base` is data loaded into the target before, `base_size` and `base_quick` rows of it, with a
    primary key and two indexes. `rounds` overrides how often each entry runs; `warms_up` says that
    a turn before them does not count.
    """

    name: str
    title: str
    data: str
    size: int
    quick: int
    entries: tuple[Entry, ...]
    reaches: tuple[Reach, ...]
    base: str | None = None
    base_size: int = 0
    base_quick: int = 0
    rounds: int | None = None
    warms_up: bool = True

    def __post_init__(self) -> None:
        labels = [entry.label for entry in self.entries]
        if len(set(labels)) < len(labels):
            raise ValueError(f"row {self.name}: two entries of one name")
        named = {r.against for r in self.reaches} | {r.of for r in self.reaches}
        if unknown := named - {None, "", *labels}:
            raise ValueError(f"row {self.name}: no entry {unknown}")

    def entry(self, label: str) -> Entry:
        """The entry of that label; "" is the first."""
        return next((e for e in self.entries if e.label == label), self.entries[0])

    def data_of(self, entry: Entry, scale: "Scale") -> tuple[str, int]:
        """What an entry loads, and how much of it."""
        full, quick = entry.size or self.size, entry.quick or self.quick
        return entry.data or self.data, scale.of(full, quick)

    def base_of(self, scale: "Scale") -> tuple[str, int] | None:
        """What is there before, and how much of it."""
        return None if self.base is None else (self.base, scale.of(self.base_size, self.base_quick))


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the data is used: all, what a quick run takes, and a `part` of either."""

    quick: bool = False
    part: float = 1.0

    def of(self, full: int, quick: int) -> int:
        """The rows that are used of so many."""
        return max(1, round((quick if self.quick else full) * self.part))
