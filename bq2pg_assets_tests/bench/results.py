"""What a run of the benchmark found, and whether each reach is met. Pure but for its JSON.

Belongs here: figures, medians, verdicts, keeping them. Does not: measuring (run.py), words
(report.py).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bq2pg_assets_tests.bench.contest import Reach, Row
from bq2pg_assets_tests.bench.timing import median


@dataclass(frozen=True, slots=True)
class EntryResult:
    """What one entry did: each figure once per round, or why it could not."""

    label: str
    title: str
    rows: int = 0
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    error: str | None = None

    def median(self, figure: str) -> float | None:
        """The middle of the rounds; None where it was not measured."""
        found = self.figures.get(figure)
        return None if self.error or not found else median(found)


@dataclass(frozen=True, slots=True)
class RowResult:
    """What the entries of a row did; `base` rows were there before."""

    name: str
    title: str
    rounds: int
    base: int
    entries: tuple[EntryResult, ...]

    def entry(self, label: str) -> EntryResult:
        """The entry of that label; "" is the first."""
        return next((e for e in self.entries if e.label == label), self.entries[0])


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reach and what was measured of it: None where one side did not run."""

    reach: Reach
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None where that cannot be said."""
        return None if self.value is None else self.value <= self.reach.at_most


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run: its rows, and what a reader needs to judge or repeat it."""

    taken: str
    quick: bool
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    rows: tuple[RowResult, ...]

    def with_row(self, row: RowResult) -> "Results":
        """With this row, in the place of an earlier one of its name."""
        rows = {r.name: r for r in self.rows} | {row.name: row}
        return replace(self, rows=tuple(rows.values()))

    def after(self, path: Path) -> "Results":
        """With the rows of an earlier run, where it was of the same versions on the same server."""
        if not path.exists():
            return self
        earlier = read(path)
        same = (earlier.versions, earlier.settings) == (self.versions, self.settings)
        return replace(self, rows=earlier.rows) if same else self

    def to_json(self) -> str:
        """As a text that `read` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"


def verdicts(row: Row, result: RowResult) -> Iterator[Verdict]:
    """Each reach of the row against its medians."""
    for reach in row.reaches:
        value = result.entry(reach.of).median(reach.figure)
        if reach.against is not None and value is not None:
            theirs = result.entry(reach.against).median(reach.figure)
            value = value / theirs if theirs else None
        yield Verdict(reach, value)


def read(path: Path) -> Results:
    """What an earlier run wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(
        RowResult(**{**row, "entries": tuple(EntryResult(**e) for e in row["entries"])})
        for row in found.pop("rows")
    )
    return Results(**found, rows=rows)
