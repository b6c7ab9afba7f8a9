"""What the workers copied, added up, and how the copy gets on.

Belongs here: counting and telling. Does not: copying (copy.py), what is told to whom.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from bq2pg_assets.engine.bad_rows import hold_limit
from bq2pg_assets.engine.model import BadRow, Shard, StagedShard, SyncPlan
from bq2pg_assets.engine.profile import Profile
from bq2pg_assets.engine.results import Progress

REPORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by the server's count, and `in_shards` by the shards' own.

    `nul_bytes` counts, by column, the values from which U+0000 was taken, and `nulls` the NULLs.
    `bad` are the rows that were refused; everything but `in_shards` leaves them out.
    """

    rows: int
    in_shards: int
    bytes: int
    shards: int
    nul_bytes: Mapping[str, int] = field(default_factory=dict)
    nulls: Mapping[str, int] = field(default_factory=dict)
    bad: tuple[BadRow, ...] = ()
    profile: Profile | None = None


class Meter:
    """Adds up what the workers did and reports it, at most once a second."""

    def __init__(
        self,
        plan: SyncPlan,
        shards: Sequence[Shard],
        report: Callable[[Progress], None],
        *,
        staged: Sequence[StagedShard] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._shards, self._report = plan, len(shards), report
        self._size = sum(shard.size for shard in shards)
        self._lock, self._clock, self._began, self._last = Lock(), clock, clock(), float("-inf")
        self.profile = Profile(parallelism=plan.parallelism)
        self.bad = [bad for shard in staged for bad in shard.bad]
        self.rows = sum(shard.rows for shard in staged)
        self.in_shards = self.rows + len(self.bad)
        self.bytes = sum(shard.bytes for shard in staged)
        self.done = sum(not shard.row_groups for shard in staged)
        self._before = (self.rows, self.bytes)  # of an earlier attempt: no speed of this one
        self.nul_bytes, self.nulls = Counter[str](), Counter[str]()
        for shard in staged:
            self.staged(shard)

    def refused(self, row: BadRow) -> None:
        """Keep a bad row. Raises VerifyError when it is one too many."""
        with self._lock:
            self.bad.append(row)
            hold_limit(self._plan, len(self.bad), last=row.refusal)

    def staged(self, shard: StagedShard) -> None:
        """Count the values of a shard that were changed, and its NULLs."""
        with self._lock:
            self.nul_bytes.update(shard.nul_bytes)
            self.nulls.update(shard.nulls)

    def worked(self, seconds: Mapping[str, float]) -> None:
        """Count what a worker's time went into, by part."""
        with self._lock:
            self.profile = self.profile.with_worker(seconds)

    def add(self, *, rows: int = 0, size: int = 0, done: int = 0, in_shards: int = 0) -> None:
        """Count, and tell when a second has passed or a shard is done."""
        with self._lock:
            self.rows += rows
            self.bytes += size
            self.done += done
            self.in_shards += in_shards
            now = self._clock()
            if not done and now - self._last < REPORT_SECONDS:
                return
            self._last = now
            progress = Progress(
                table=self._plan.table,
                phase="copy",
                rows=self.rows,
                bytes=self.bytes,
                shards_done=self.done,
                shards=self._shards,
                expected_rows=self._plan.expected_rows,
                expected_bytes=self._size or None,
                seconds=now - self._began,
                staged_rows=self._before[0],
                staged_bytes=self._before[1],
            )
        self._report(progress)
