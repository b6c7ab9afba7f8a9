"""What a run found out and tells: verdicts, progress, results, and the last attempt's status.

Belongs here: values that come out of a sync, all frozen. Does not: what goes into one (model.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bq2pg_assets.engine.model import (
    BadRow,
    Column,
    CursorValue,
    ExportWay,
    Mode,
    Outcome,
    SchemaChange,
    TargetName,
)
from bq2pg_assets.engine.profile import Profile

STEADY_SECONDS = 1.0  # what a copy does in less says nothing of its speed
CATALOG = "catalog"  # the check that a replaced table is what it was, but for its rows


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict on the staged rows or on the replaced table. `numbers`: what it was judged by."""

    name: str
    passed: bool
    says: str
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; reported at most about once a second.

    Of a copy, `seconds` is how long it has been under way. What an earlier attempt staged is among
    `rows` and `bytes`; `staged_rows` and `staged_bytes` tell how much of them that is.
    """

    table: str
    phase: str
    rows: int = 0
    bytes: int = 0
    shards_done: int = 0
    shards: int = 0
    expected_rows: int | None = None
    expected_bytes: int | None = None
    seconds: float = 0.0
    staged_rows: int = 0
    staged_bytes: int = 0

    @property
    def rows_per_second(self) -> float | None:
        """How many rows this attempt has copied in a second; None while it cannot be told."""
        return self._speed(self.rows - self.staged_rows)

    @property
    def seconds_left(self) -> float | None:
        """Until the copy is done if it goes on like that: by rows, or by bytes where the number of
        rows is not known or was exceeded. None while it cannot be told."""
        for done, staged, expected in (
            (self.rows, self.staged_rows, self.expected_rows),
            (self.bytes, self.staged_bytes, self.expected_bytes),
        ):
            speed = self._speed(done - staged)
            if expected is not None and expected >= done and speed:
                return (expected - done) / speed
        return None

    def _speed(self, done: int) -> float | None:
        if self.seconds < STEADY_SECONDS or done <= 0:
            return None
        return done / self.seconds


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a run did. Times in seconds, sizes in bytes, `cost` in US dollars.

    `nul_bytes` counts, by column, the values from which U+0000 was taken. `resumed_from` says whose
    export was used, None where it was the run's own. `row_counts` tells what became of rows where
    that is more than `rows`: duplicates, inserted, updated, deleted, closed, null_cursor.
    `quarantined` counts the rows that the target refused, which `rows` leaves out.
    `lock_seconds` is how long a replace kept others from the target, from asking for the lock to
    the commit. `profile` tells what the time of the copy went into, `advice` what to do about it.
    """

    table: str
    target: TargetName
    outcome: Outcome
    publish: Mode
    rows: int
    bytes: int
    shards: int
    seconds: float
    phases: Mapping[str, float]
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    cursor_before: CursorValue | None
    cursor_after: CursorValue | None
    job_id: str | None = None
    prefix: str | None = None
    way: ExportWay | None = None
    bytes_processed: int = 0
    bytes_billed: int = 0
    cost: float = 0.0
    location: str = ""
    source: str = ""
    source_modified_at: datetime | None = None
    target_rows: int | None = None
    nul_bytes: Mapping[str, int] = field(default_factory=dict)
    schema_changes: tuple[SchemaChange, ...] = ()
    resumed_from: str | None = None
    row_counts: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    lock_seconds: float | None = None
    profile: Profile | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What an attempt used up before it failed: seconds, bytes billed, US dollars."""

    seconds: float
    phases: Mapping[str, float]
    job_id: str | None
    bytes_billed: int
    cost: float


@dataclass(frozen=True, slots=True)
class TableStatus:
    """The last attempt at one target and its cursor, for people to read.

    `table` is the name it was configured under then; `target` as in `sync_state`.
    """

    table: str
    outcome: Outcome
    mode: str
    rows: int
    seconds: float
    finished_at: datetime | None
    cursor: CursorValue | None
    bytes_billed: int
    run_id: str
    error: str | None = None
    source_modified_at: datetime | None = None
    target: str = ""
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One row of `sync_quarantine`. `row` is JSON text by source column names, without NULLs.

    It waits as long as it was neither replayed nor superseded by a later load.
    """

    id: int
    run_id: str
    table: str
    target: str
    row: str
    error: str
    sqlstate: str | None
    at: datetime
    replayed_at: datetime | None
    replay_run_id: str | None
    superseded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one quarantined row: in the target now, older than what is there, or refused
    again by `error`."""

    id: int
    table: str
    target: str
    outcome: Literal["replayed", "superseded", "refused"]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What publishing did to the target's rows. `counts` as `row_counts` of the result.

    `bad` are the rows that the target refused. `asked_at` is when a replace first asked for the
    lock that others wait for, in seconds of the monotonic clock.
    """

    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    asked_at: float | None = None
    bad: tuple[BadRow, ...] = ()
