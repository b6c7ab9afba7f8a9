"""`make chaos`: every fault with every mode; prints the table, exits 1 unless all is good.

Belongs here: the command, its options, what it prints. Does not: the work (shares.py).
"""

import argparse
import re
import sys
import time

from rich.console import Console

from bq2pg_assets_tests.chaos import matrix, shares
from bq2pg_assets_tests.chaos.faults import FAULTS
from bq2pg_assets_tests.chaos.modes import WAYS


def main() -> int:
    """Try, tell, and say by the exit code whether all was good."""
    given = _arguments()
    faults = [f for f in FAULTS if re.search(given.fault, f"{f.group}: {f.what}", re.IGNORECASE)]
    ways = [w for w in WAYS if re.search(given.mode, w.name)]
    console, began = Console(width=max(160, Console().width)), time.monotonic()
    for fault in [f for f in faults if not matrix.possible(f)]:
        console.print(f"not tried, a file system cannot be mounted without root: {fault.what}")
        faults.remove(fault)
    verdicts = shares.verdicts(faults, ways, processes=given.processes, every=given.every)
    console.print(matrix.table(verdicts))
    bad = [v for v in verdicts if not v.good]
    for verdict in bad:
        console.print(f"[red]{verdict}[/red]", soft_wrap=True, highlight=False)
    missed = sum(not v.reached for v in verdicts)
    lost, doubled = sum(v.lost for v in verdicts), sum(v.doubled for v in verdicts)
    left = sum(len(v.leftovers) for v in verdicts)
    console.print(
        f"{len(verdicts):,} trials in {time.monotonic() - began:.0f} s: {lost} rows lost, "
        f"{doubled} doubled, {left} leftovers, {len(bad)} not good; {missed} ended before the "
        "fault came"
    )
    return 1 if bad or not verdicts else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bq2pg_assets_tests.chaos")
    parser.add_argument("--fault", default="", help="only faults that match this expression")
    parser.add_argument("--mode", default="", help="only modes that match this expression")
    parser.add_argument("--every", type=int, default=1, help="only each n-th trial")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
