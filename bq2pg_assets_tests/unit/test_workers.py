"""How many workers a run has, and how much each may hold.

Belongs here: the arithmetic. Does not: the memory that is really taken (bench/).
"""

import os

import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.workers import LARGEST, MIB, SMALLEST, Share, share


@pytest.mark.parametrize(
    ("limit", "asked", "cores", "expected"),
    [
        (128, 2, 64, Share(2, 2 * MIB)),
        (128, 16, 1, Share(16, MIB // 4)),
        (4096, 2, 2, Share(2, LARGEST)),
        (16, 16, 2, Share(16, SMALLEST)),
        (128, None, 2, Share(2, 2 * MIB)),
        (128, None, 64, Share(8, MIB // 2)),
        (16, None, 64, Share(4, SMALLEST)),
    ],
)
def test_memory_is_shared_by_the_workers_there_are(
    limit: int, asked: int | None, cores: int, expected: Share
) -> None:
    assert share(limit, asked, cores=cores) == expected


def test_without_a_number_every_usable_core_has_a_worker() -> None:
    table = TableConfig(name="t", source="d.t", memory_limit_mb=4096)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert table.share.workers == min(cores or 1, 8)
