"""The work of `make chaos`, shared by processes that have services of their own.

Belongs here: the processes and their services. Does not: the command (__main__.py), a trial.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets_tests.chaos import matrix
from bq2pg_assets_tests.chaos.faults import FAULTS, Fault
from bq2pg_assets_tests.chaos.ground import Ground
from bq2pg_assets_tests.chaos.matrix import Verdict
from bq2pg_assets_tests.chaos.modes import WAYS, Way
from bq2pg_assets_tests.chaos.runner import ROOT


def verdicts(
    faults: Sequence[Fault], ways: Sequence[Way], *, processes: int, every: int
) -> list[Verdict]:
    """Each process has services of its own, and its share of the modes."""
    tried = [FAULTS.index(fault) for fault in faults]
    chosen = [WAYS.index(way) for way in ways]
    shares = [(tried, chosen[n::processes], every) for n in range(min(processes, len(ways)))]
    if len(shares) < 2:
        return [verdict for share in shares for verdict in _share(*share)]
    # Started, not forked: threads of the parent are not to be copied.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(shares), mp_context=fresh) as pool:
        parts = pool.map(_share, *zip(*shares, strict=True))
        return [verdict for part in parts for verdict in part]


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
            if len(found) % 50 == 0:
                sys.stderr.write(f"{len(found)} trials with {', '.join(w.name for w in ways)}\n")
    return found


def _quiet(_: str) -> None:
    """The stack's own words are not the table's."""
