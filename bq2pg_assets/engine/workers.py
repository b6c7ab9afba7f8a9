"""How many workers copy a table at once, and how much each may hold in memory.

Belongs here: the arithmetic. Pure. Does not: the workers (copy.py), what they read (parquet.py,
download.py), counting cores (config/table.py).

A worker holds, at its fullest, about PIECES pieces: pages of all columns as they are stored and as
they are read, a batch, its bytes for PostgreSQL, and the ranges that arrive ahead of it. Larger
pieces than LARGEST make nothing faster; smaller ones cost more calls.
"""

from dataclasses import dataclass

PIECES = 32
LARGEST, SMALLEST = 2 * 1024**2, 128 * 1024
MOST = 8  # more than one server is glad of, whatever the machine
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Share:
    """`workers` copy at once; each reads and sends pieces of about `piece` bytes."""

    workers: int
    piece: int


def share(memory_limit_mb: int, workers: int | None, *, cores: int) -> Share:
    """What a run may take. Without `workers` one for each core, as far as the memory goes."""
    limit = memory_limit_mb * MIB
    if workers is None:
        workers = max(1, min(cores, MOST, limit // (PIECES * SMALLEST)))
    return Share(workers, max(SMALLEST, min(LARGEST, limit // workers // PIECES)))
