"""docs/failures.md, written from the faults: `python -m bq2pg_assets_tests.chaos.page`.

Belongs here: the page. Does not: what it shows (faults.py).
"""

from collections.abc import Iterator, Sequence

from bq2pg_assets_tests.chaos.faults import FAULTS, KILLS, Fault
from bq2pg_assets_tests.chaos.modes import WAYS
from bq2pg_assets_tests.chaos.runner import ROOT

PAGE = ROOT / "docs" / "failures.md"
COMMAND = "python -m bq2pg_assets_tests.chaos.page"
MODES = ", ".join(way.name for way in WAYS)
HEAD = f"""\
<!-- Made by `{COMMAND}` from the faults of the tests. -->
# Failures

Kill it anywhere, run it again, and the target equals what an undisturbed run would have made;
readers never see an empty or half table; the table's neighbours are left alone.

`make chaos` tries every line below with every mode ({MODES}):
a run that the fault disturbs, then another one. It compares columns, rows and cursor with those
after undisturbed runs, looks into `sync_history`, and for staging tables, objects in the bucket,
locks, and changes of the tables and views beside the target. Meanwhile a session reads the target
all the time: it sees the state before, or the one after. `make test` tries a part of it. The disk
that fills up is a small tmpfs, which takes root to mount; elsewhere `make chaos` says that those
lines were not tried. What SIGKILL interrupts is every request that may change something, and the
connection of a live run is cut at the same ones; of COPY's data it is the first two pieces and the
last.

*Tried again*: `bq2pg sync`, `bq-to-postgres` and Dagster make another attempt by themselves, as
many as `retries:` says; the exit code is the last attempt's.
"""
TABLE = """
| what happens | how the run ends | you see | do |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    groups = dict.fromkeys(fault.group for fault in FAULTS)
    return HEAD + "".join(
        f"\n## {group[0].upper()}{group[1:]}\n{TABLE}{''.join(_rows(group))}" for group in groups
    )


def _rows(group: str) -> Iterator[str]:
    alike: list[Fault] = []
    for fault in (f for f in FAULTS if f.group == group):
        if alike and not _differ_in_a_word(alike[-1], fault):
            yield _row(alike)
            alike = []
        alike.append(fault)
    yield _row(alike)


def _differ_in_a_word(one: Fault, other: Fault) -> bool:
    """Whether the two share a line: in all else that a reader sees they are the same."""
    told = [(f.ends, f.do, f.retried, f.sees not in f.what) for f in (one, other)]
    words = [f.what.split() for f in (one, other)]
    return told[0] == told[1] and len(words[0]) == len(words[1]) and _differing(*words) == 1


def _differing(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _row(alike: Sequence[Fault]) -> str:
    columns = zip(*(f.what.split() for f in alike), strict=True)
    what = " ".join(", ".join(dict.fromkeys(words)) for words in columns)
    fault = alike[0]
    return f"| {what} | {_end(fault)} | {_seen(fault)} | {fault.do} |\n"


def _end(fault: Fault) -> str:
    if fault.ends == "killed":
        return "it is gone (137 in a shell); the next attempt marks it `killed`"
    if fault.ends == "goes on":
        return "well (0)"
    failed = "fails (1), tried again" if fault.retried else "fails (1)"
    return failed if fault.ends == "fails" else f"{failed}; or well (0), when it could be made good"


def _seen(fault: Fault) -> str:
    if fault.group == "BigQuery" and fault.sees and fault.sees in fault.what:
        return "the reason and BigQuery's message"
    if fault in KILLS or fault.ends == "goes on":
        return "nothing" if fault in KILLS else "a note, if any"
    return f"`{fault.sees}` in the message" if fault.sees else "the service's own words"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
