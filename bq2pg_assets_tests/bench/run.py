"""The contest: whose turn it is, on which database, and what is kept of it.

Belongs here: interleaved rounds, a fresh database for each turn, checking that all rows are there.
Does not: the rows of the table (rows.py), the clock (timing.py), words (report.py).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from bq2pg_assets.config.table import parse_target
from bq2pg_assets.engine.postgres_sql import identifier
from bq2pg_assets_tests.bench import peers
from bq2pg_assets_tests.bench.contest import Contestant, Entry, Row, Scale
from bq2pg_assets_tests.bench.results import EntryResult, RowResult
from bq2pg_assets_tests.bench.server import Servers
from bq2pg_assets_tests.bench.stock import TABLE, Stock, Stocked, create_table
from bq2pg_assets_tests.bench.timing import MIB, ContestantError, timed

CONTESTANTS = Path(__file__).with_name("contestants")
Say = Callable[[str], object]


class Contest:
    """Runs rows; `rounds` counted turns for each entry, after one that warms up where `warm`."""

    def __init__(
        self, stock: Stock, servers: Servers, *, scale: Scale, rounds: int, warm: bool, say: Say
    ) -> None:
        self._stock, self._servers, self._say = stock, servers, say
        self._scale, self._rounds, self._warm = scale, rounds, warm

    def row(self, row: Row) -> RowResult:
        """All rounds of a row; every second one in the other direction."""
        rounds = row.rounds or self._rounds
        found: dict[str, list[dict[str, float]]] = {e.label: [] for e in row.entries}
        errors: dict[str, str] = {}
        warming = int(self._warm and row.warms_up and row.rounds is None)
        for at in range(warming + rounds):
            for entry in row.entries[:: 1 if at % 2 == 0 else -1]:
                if entry.label in errors:
                    continue
                try:
                    figures = self._turn(row, entry)
                except (ContestantError, peers.PeerError) as error:
                    errors[entry.label] = str(error)
                    self._say(f"{row.name}: {entry.label} FAILED: {error}")
                    continue
                said = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
                self._say(f"{row.name}: {entry.label}: {said}{' (warm-up)' * (at < warming)}")
                if at >= warming:
                    found[entry.label].append(figures)
        return RowResult(
            row.name,
            row.title,
            rounds,
            (row.base_of(self._scale) or ("", 0))[1],
            tuple(
                EntryResult(
                    e.label,
                    e.contestant.title,
                    row.data_of(e, self._scale)[1],
                    _by_figure(found[e.label]),
                    errors.get(e.label),
                )
                for e in row.entries
            ),
        )

    def _turn(self, row: Row, entry: Entry) -> dict[str, float]:
        contestant = entry.contestant
        command = self._command(contestant)
        stocked = self._stock.get(*row.data_of(entry, self._scale))
        base, template = None, "bench_empty"
        if before := row.base_of(self._scale):
            base = self._stock.get(*before)
            template = self._stock.base(base)
        job = self._stock.job(self._servers.database("bench_turn"), stocked, contestant)
        dsn = self._servers.create("bench_turn", template=template)
        try:
            if not contestant.creates:
                with psycopg.connect(dsn) as conn:
                    conn.execute(cast(LiteralString, create_table(stocked.data, contestant.into)))
            self._servers.checkpoint()
            began = self._wal(dsn)
            figures = timed(command, job, home=self._stock.folder / "home")
            figures["wal_mb"] = (self._wal(dsn) - began) / MIB
            figures |= self._read(dsn, contestant.into)
            self._check(dsn, contestant, expected=expected(contestant, stocked, base))
            return figures
        finally:
            self._servers.drop("bench_turn")

    def _command(self, contestant: Contestant) -> list[str]:
        if contestant.environment is None:
            return [sys.executable, "-m", f"{__package__}.contestants.{contestant.module}"]
        python = peers.built(contestant.environment, self._stock.folder)
        return [str(python), str(CONTESTANTS / f"{contestant.module}.py")]

    def _wal(self, dsn: str) -> float:
        """How many bytes of WAL the server has ever written."""
        with psycopg.connect(dsn) as conn:
            (written,) = conn.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone() or (0,)
        return float(written)

    def _read(self, dsn: str, into: str) -> dict[str, float]:
        """The target's size, and its rows that were read from its first page to its last."""
        with psycopg.connect(dsn) as conn:
            found = conn.execute(
                "SELECT seq_tup_read, pg_table_size(relid) FROM pg_stat_user_tables "
                "WHERE relid = to_regclass(%s)",
                [into],
            ).fetchone() or (0, 0)
        return {"scanned_rows": float(found[0]), "table_mb": found[1] / MIB}

    def _check(self, dsn: str, contestant: Contestant, *, expected: int) -> None:
        """Raises ContestantError when rows are missing: fast and wrong is no result."""
        name = identifier(parse_target(contestant.into))
        with psycopg.connect(dsn) as conn:
            (there,) = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone() or (
                0,
            )
        if there != expected:
            raise ContestantError(f"{there} rows in {contestant.into}, {expected} expected")


def expected(contestant: Contestant, stocked: Stocked, base: Stocked | None) -> int:
    """How many rows the table holds afterwards."""
    mode = contestant.options.get("mode")
    if base is None or contestant.into != TABLE or mode == "replace":
        return stocked.rows
    new = stocked.rows - stocked.rows // 2 if mode == "merge" else stocked.rows
    return base.rows + new


def _by_figure(turns: list[dict[str, float]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for turn in turns for name in turn)
    return {name: [turn[name] for turn in turns if name in turn] for name in names}
