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
            versions=machine.versions(servers, rows),
            settings=SETTINGS,
            rows=tuple(contest.row(row) for row in rows),
        )
    (folder / "results.json").write_text(found.to_json(), encoding="utf-8")
    text = report.page(found)
    _say(text)
    if asked.quick or asked.only or asked.part != 1:
        (folder / "benchmarks.md").write_text(text, encoding="utf-8")
        _say(f"written to {folder}, not to docs/: it was not the whole benchmark")
    else:
        chart.draw(folder, into=DOCS)
        (DOCS / "benchmarks.md").write_text(text, encoding="utf-8")
        lineitem = shards("lineitem", 6 * MILLION, folder=folder / "data")
        scaled = scaling.page(found, scaling.measured(found, lineitem))
        (DOCS / "scaling.md").write_text(scaled, encoding="utf-8")
    return 1 if any(row.entries[0].error for row in found.rows) else 0


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
