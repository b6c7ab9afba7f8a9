"""`python -m bq2pg_assets_tests.bench`: run the benchmark and write its report.

Belongs here: the command line. Does not: what it does.
"""

import argparse
import sys
from pathlib import Path

from bq2pg_assets_tests.bench import chart, machine, report, scaling
from bq2pg_assets_tests.bench.contest import Scale
from bq2pg_assets_tests.bench.datasets import shards
from bq2pg_assets_tests.bench.results import Results
from bq2pg_assets_tests.bench.rows import MILLION, ROWS
from bq2pg_assets_tests.bench.run import Contest
from bq2pg_assets_tests.bench.server import SETTINGS, running
from bq2pg_assets_tests.bench.stock import Stock
from bq2pg_assets_tests.bench.timing import ROOT

ROUNDS, QUICK_ROUNDS = 5, 1
DOCS = ROOT / "docs"
RESULTS = "results.json"


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when everything ran, also where a reach is not met; 1 when bq2pg itself failed."""
    asked = _parser().parse_args(arguments)
    names = asked.only or [row.name for row in ROWS]
    rows = [row for row in ROWS if row.name in names]
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    folder = Path(asked.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder) as servers:
        stock = Stock(folder, servers)
        contest = Contest(
            stock,
            servers,
            scale=Scale(asked.quick, asked.part),
            rounds=rounds,
            warm=not asked.quick,
            say=_say,
        )
        found = Results(
            taken=machine.today(),
            quick=asked.quick,
            machine=machine.facts(),
            versions=machine.versions(servers, ROWS),
            settings=SETTINGS,
            rows=(),
        )
        whole = not asked.quick and asked.part == 1
        kept = folder / ("whole" if whole else "parts")
        kept.mkdir(exist_ok=True)
        if whole:
            found = found.after(kept / RESULTS)
        for row in rows:
            found = found.with_row(contest.row(row))
            (kept / RESULTS).write_text(found.to_json(), encoding="utf-8")
    whole = whole and len(found.rows) == len(ROWS)
    _write(found, folder=folder, kept=kept, into=DOCS if whole else kept)
    return 1 if any(row.entries[0].error for row in found.rows) else 0


def _write(found: Results, *, folder: Path, kept: Path, into: Path) -> None:
    """The pages; as long as a row is missing they stay beside the figures."""
    text = report.page(found)
    _say(text)
    (into / "benchmarks.md").write_text(text, encoding="utf-8")
    if into == DOCS:
        chart.draw(kept / RESULTS, folder=folder, into=into)
        lineitem = shards("lineitem", 6 * MILLION, folder=folder / "data")
        scaled = scaling.page(found, scaling.measured(found, lineitem))
        (into / "scaling.md").write_text(scaled, encoding="utf-8")
    _say(f"written to {into}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bq2pg_assets_tests.bench", description="bq2pg against other ways."
    )
    parser.add_argument("--quick", action="store_true", help="few rows, one round, all contestants")
    parser.add_argument(
        "--only",
        action="append",
        choices=[row.name for row in ROWS],
        metavar="ROW",
        help=f"one of {', '.join(row.name for row in ROWS)}; may be repeated",
    )
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--part", type=float, default=1.0, help="of the rows; 0.1 is a tenth")
    parser.add_argument(
        "--folder", default=str(ROOT / ".local" / "bench"), help="where data and servers lie"
    )
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
