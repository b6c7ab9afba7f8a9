"""`make chaos`: every fault with every mode; prints the table, exits 1 unless all is good.

Belongs here: the command, its options, the two processes that share the work. Does not: a trial.
"""

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets_tests.chaos import matrix
from bq2pg_assets_tests.chaos.faults import FAULTS, Fault
from bq2pg_assets_tests.chaos.ground import Ground
from bq2pg_assets_tests.chaos.matrix import Verdict
from bq2pg_assets_tests.chaos.modes import WAYS, Way

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Try, tell, and say by the exit code whether all was good."""
    given = _arguments()
    faults = [f for f in FAULTS if re.search(given.fault, f"{f.group}: {f.what}", re.IGNORECASE)]
    ways = [w for w in WAYS if re.search(given.mode, w.name)]
    console, began = Console(width=max(160, Console().width)), time.monotonic()
    for fault in [f for f in faults if not matrix.possible(f)]:
        console.print(f"not tried, a file system cannot be mounted without root: {fault.what}")
        faults.remove(fault)
    verdicts = _all(faults, ways, processes=given.processes, every=given.every)
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


def _all(
    faults: Sequence[Fault], ways: Sequence[Way], *, processes: int, every: int
) -> list[Verdict]:
    """Each process has services of its own, and its share of the modes."""
    tried = [FAULTS.index(fault) for fault in faults]
    chosen = [WAYS.index(way) for way in ways]
    shares = [(tried, chosen[n::processes], every) for n in range(min(processes, len(ways)))]
    if len(shares) < 2:
        return [verdict for share in shares for verdict in _share(*share)]
    # Started, not forked: threads of the parent are not to be copied.
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        return [verdict for part in pool.starmap(_share, shares) for verdict in part]


def _share(faults: list[int], ways: list[int], every: int) -> list[Verdict]:
    """The verdicts of these faults and ways. Numbers, as what they stand for holds functions."""
    emulators = Path(os.environ.get("BQ2PG_EMULATORS_DIR") or ROOT / ".local" / "emulators")
    with tempfile.TemporaryDirectory(prefix="bq2pg-chaos-", ignore_cleanup_errors=True) as folder:
        stack = Path(folder) / "local"
        try:
            variables = local_stack.environment(
                local_stack.up(stack, report=_quiet, emulators=emulators)
            )
            ground = Ground(
                bigquery_url=variables["BIGQUERY_EMULATOR_HOST"],
                storage_url=variables["STORAGE_EMULATOR_HOST"],
                emulators=emulators,
            )
            try:
                return _verdicts(
                    ground, [FAULTS[n] for n in faults], [WAYS[n] for n in ways], every=every
                )
            finally:
                ground.close()
        finally:
            local_stack.reset(stack, report=_quiet)


def _verdicts(
    ground: Ground, faults: Sequence[Fault], ways: Sequence[Way], *, every: int
) -> list[Verdict]:
    found = []
    for number, trial in enumerate(matrix.trials(ground, faults=faults, ways=ways)):
        if number % every == 0:
            found.append(matrix.judge(ground, trial))
            if not found[-1].good:
                sys.stderr.write(f"{found[-1]}\n")
    return found


def _quiet(_: str) -> None:
    """The stack's own words are not the table's."""


if __name__ == "__main__":
    sys.exit(main())
