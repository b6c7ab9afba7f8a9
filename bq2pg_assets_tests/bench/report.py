"""docs/benchmarks.md from the results. Pure.

Belongs here: the page's words and tables. Does not: measuring, the chart (chart.py).
"""

from collections.abc import Iterator, Mapping

from bq2pg_assets_tests.bench.contest import FIGURES, Row
from bq2pg_assets_tests.bench.results import EntryResult, Results, RowResult, Verdict, verdicts
from bq2pg_assets_tests.bench.rows import ROWS

HEAD = """# Benchmarks

Written by `make bench`. Each contestant is a process of its own; they take turns on the same data,
and each turn begins on a fresh database after a checkpoint. Figures are medians of {rounds}
rounds on one machine, {taken}: read the ratios, not the seconds.

- **bq2pg** reads Parquet shards from the local object store, as from Cloud Storage. Its clock runs
  from the first byte read to the commit: staging, verification, publishing and the cursor are in.
- **psql** copies local files that lie ready in PostgreSQL's own formats, without staging or
  checks: the limit of what any program can reach.
- **Other programs** read the same shards as local files. Their clocks start after their imports.
- Every turn ends with a count of the target's rows; a contestant that lost some has no result.
- Memory over idle is the peak of bq2pg's process less what it held before the sync.
"""
QUICK = """
> A quick run: few rows and one round. It shows that everything runs, not how fast.
"""

NONE = "-"


def page(found: Results) -> str:
    """The whole page."""
    results = {result.name: result for result in found.rows}
    pairs = [(row, results[row.name]) for row in ROWS if row.name in results]
    rounds = max((result.rounds for result in found.rows), default=0)
    parts = [HEAD.format(rounds=rounds, taken=found.taken)]
    parts += [QUICK] if found.quick else ["\n![Seconds of each contestant](benchmarks.svg)\n"]
    parts.append(reach_table(pairs))
    parts += [row_section(row, result) for row, result in pairs]
    parts.append(_facts("Machine", found.machine))
    parts.append(_facts("Versions", found.versions))
    parts.append(_facts("PostgreSQL's settings", found.settings))
    parts.append(AGAIN)
    return "\n".join(parts)


AGAIN = """## Again

```sh
make bench        # all of it: over an hour and 40 GB of disk below .local/bench
make bench-quick  # few rows, to see that everything runs
```

With another PostgreSQL than the embedded one, which lacks lz4: `BQ2PG_POSTGRES_HOME=` and the
folder above its `bin`, such as `/usr/lib/postgresql/15`, before the command.

One row: `.venv/bin/python -m bq2pg_assets_tests.bench --only lineitem-2`, which keeps the others as
they were measured by the same versions. The rows are data in
`bq2pg_assets_tests/bench/rows.py`. The other programs are installed into environments of their own
below `.local/bench/envs`, from the pins in `bq2pg_assets_tests/bench/environments`.
"""


def reach_table(pairs: list[tuple[Row, RowResult]]) -> str:
    """What was to be reached, and what was."""
    lines = [
        "## Reach\n",
        "| data | figure | against | reach | measured | |",
        "|---|---|---|---|---|---|",
    ]
    for row, result in pairs:
        lines += [_reach_line(row, result, verdict) for verdict in verdicts(row, result)]
    return "\n".join([*lines, ""])


def row_section(row: Row, result: RowResult) -> str:
    """The figures of each entry of a row."""
    lines = [f"## {row.title}\n", *_sizes(row, result)]
    lines += [
        "| contestant | seconds (least to most) | peak MB | MB over idle |",
        "|---|---|---|---|",
    ]
    lines += [_entry_line(row, entry) for entry in result.entries]
    errors = [
        f"\n{e.title} did not run here: `{_code(e.error)}`" for e in result.entries if e.error
    ]
    return "\n".join([*lines, *errors, ""])


def _reach_line(row: Row, result: RowResult, verdict: Verdict) -> str:
    reach = verdict.reach
    against = _named(row, result.entry(reach.against)) if reach.against else ""
    title = f"{row.title}, {reach.of}" if reach.of else row.title
    measured = NONE if verdict.value is None else reach.told(verdict.value)
    word = {True: "met", False: "**not met**", None: "not run"}[verdict.met]
    figure = FIGURES[reach.figure][0]
    return f"| {title} | {figure} | {against} | {reach.text} | {measured} | {word} |"


def _sizes(row: Row, result: RowResult) -> Iterator[str]:
    sizes = {f"{e.rows:,}" for e in result.entries}
    kind = "tables" if row.data == "small" else "rows"
    based = f", into {result.base:,} rows" if result.base else ""
    counts = " and ".join(sorted(sizes, key=len))
    rounds = f"{result.rounds} round{'s' if result.rounds > 1 else ''}"
    yield f"{counts} {kind} of `{row.data}`{based}; {rounds}.\n"


def _entry_line(row: Row, entry: EntryResult) -> str:
    cells = [_named(row, entry)]
    seconds = entry.figures.get("seconds", ())
    middle = entry.median("seconds")
    cells.append(
        NONE if middle is None else f"{middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    )
    for figure in ("peak_mb", "extra_mb"):
        value = entry.median(figure)
        cells.append(NONE if value is None else f"{value:.0f}")
    return f"| {' | '.join(cells)} |"


def _named(row: Row, entry: EntryResult) -> str:
    name = row.entry(entry.label).name
    return f"{entry.title} ({name})" if name else entry.title


def _facts(title: str, facts: Mapping[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines, ""])


def _code(text: str | None) -> str:
    return (text or "").replace("`", "'")
