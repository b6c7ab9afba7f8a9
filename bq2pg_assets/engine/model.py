"""The values that travel through a sync, all frozen.

Belongs here: what more than one module of the engine speaks of. Does not: anything that
connects, reads a clock or decides. Words follow docs/glossary.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Literal

CursorValue = datetime | date
CURSOR_TYPES = ("TIMESTAMP", "DATETIME", "DATE")


class Mode(StrEnum):
    """How rows reach the target: all anew, added, or by key."""

    REPLACE = "replace"
    APPEND = "append"
    MERGE = "merge"


class ExportWay(StrEnum):
    """Which way the rows leave BigQuery."""

    EXTRACT = "extract"
    EXPORT_DATA = "export_data"


class Outcome(StrEnum):
    """How an attempt ended; the words of `sync_history.outcome`."""

    RUNNING = "running"
    LOADED = "loaded"
    NOTHING_NEW = "nothing_new"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run does differently from the table's configuration.

    `full_refresh` ignores the cursor and replaces the content. `limit` stops after so many rows.
    `where` is a BigQuery condition that narrows the run.
    """

    full_refresh: bool = False
    limit: int | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError("limit counts rows: it is 1 or more")

    @property
    def partial(self) -> bool:
        """Whether this run may leave out rows that a run without options would load."""
        return self.limit is not None or self.where is not None


@dataclass(frozen=True, slots=True)
class RunId:
    """One attempt: `id` is the run's, unique for ever; `attempt` counts its retries from 0."""

    id: str
    attempt: int = 0
    launcher: str = "cli"

    @property
    def slug(self) -> str:
        """Safe in object names, job ids and labels."""
        return f"{self.id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class TargetName:
    """A PostgreSQL table's schema and name, as they are, unquoted."""

    schema: str
    table: str

    def __str__(self) -> str:
        """The key in `sync_state`: schema.table, quoted only where a dot would mislead."""
        quoted = ['"' + p.replace('"', '""') + '"' for p in (self.schema, self.table)]
        return ".".join(
            q if "." in p or '"' in p else p
            for p, q in zip((self.schema, self.table), quoted, strict=True)
        )


@dataclass(frozen=True, slots=True)
class SourceField:
    """One field of a BigQuery schema. `type` is the GoogleSQL name (INT64, STRUCT, …)."""

    name: str
    type: str
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = "NULLABLE"
    description: str | None = None
    precision: int | None = None
    scale: int | None = None
    range_element: str | None = None
    fields: tuple["SourceField", ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What BigQuery says of a source before anything is read.

    `kind` is BigQuery's table type, or QUERY. `num_rows` and `num_bytes` leave out rows still in
    the streaming buffer and are None where BigQuery does not tell them (views, queries).
    """

    sql: str
    kind: str
    fields: tuple[SourceField, ...]
    location: str
    num_rows: int | None = None
    num_bytes: int | None = None
    modified_at: datetime | None = None
    streaming: bool = False
    partition_filter_on: str | None = None
    description: str | None = None
    primary_key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column on its way: from `source` in BigQuery to `name` in PostgreSQL.

    `select` is the GoogleSQL expression that an EXPORT DATA statement writes for it; `plain` says
    that the expression is the bare column, so that an extract job carries it as well. `wire` names
    how the encoder writes it (see `encode.py`).
    """

    name: str
    source: str
    source_type: str
    pg_type: str
    not_null: bool
    select: str
    plain: bool
    wire: str
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a table was loaded: `column` of BigQuery type `type`; `value` None means nothing."""

    column: str
    type: str
    value: CursorValue | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The rows with `low < cursor <= high`. None leaves that side open."""

    low: CursorValue | None
    high: CursorValue | None


def as_stored(value: CursorValue | None) -> datetime | None:
    """A cursor value as `sync_state` holds it: without zone, UTC; a date at midnight."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - stored without zone
    return None


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column PostgreSQL already has. `type` as `format_type` writes it."""

    name: str
    type: str
    not_null: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a target's rows and cursor were last loaded from: a table's path, or `query`."""

    source: str
    cursor_column: str | None


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What PostgreSQL says of the target.

    `kind` is None when there is no such relation, `origin` when no load of it is recorded.
    """

    kind: str | None
    columns: tuple[TargetColumn, ...] = ()
    has_rows: bool = False
    owned: bool = False
    unique_keys: tuple[frozenset[str], ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look at the cursor column found above the low end of the window.

    `at` is BigQuery's own clock at that look: the export reads the table as of then, and no
    clock of ours can be ahead of it.
    """

    high: CursorValue | None
    rows: int
    at: datetime
    bytes_billed: int = 0


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """All that is decided before a byte moves. `reason` says why this way out of BigQuery.

    `cursor_after` says what becomes of the stored cursor: advance to the highest value loaded,
    keep it, or clear it so that the next run loads everything. `key` holds PostgreSQL names.
    `bytes_probed` were billed already, for finding the window.
    """

    table: str
    target: TargetName
    publish: Mode
    creates_target: bool
    way: ExportWay
    reason: str
    source_sql: str
    location: str
    columns: tuple[Column, ...]
    cursor: Cursor | None
    window: Window | None
    where: str | None
    limit: int | None
    cursor_after: Literal["advance", "keep", "clear"]
    key: tuple[str, ...]
    snapshot_at: datetime | None
    expected_rows: int | None
    nothing_new: bool = False
    source_bytes: int | None = None
    bytes_probed: int = 0
    max_bytes_billed: int | None = None
    parallelism: int = 2

    @property
    def origin(self) -> Origin:
        """Where the rows come from, as sync_history keeps it."""
        return origin_of(self.source_sql, self.cursor)


def origin_of(source_sql: str, cursor: Cursor | None) -> Origin:
    """A source's origin. Queries are not told apart: they may be reworded."""
    source = "query" if source_sql.startswith("(") else source_sql
    return Origin(source, cursor.column if cursor else None)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the export would read; `cost` in US dollars, on demand. Extract jobs cost nothing."""

    bytes: int
    cost: float


@dataclass(frozen=True, slots=True)
class Shard:
    """One exported object. `size` in bytes; `generation` pins its content."""

    uri: str
    size: int
    generation: int


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export. `rows` is None where BigQuery does not count them (extract jobs), `files`
    where it does not count those."""

    job_id: str
    prefix: str
    rows: int | None
    bytes_processed: int
    bytes_billed: int
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict on the staged rows. `numbers` are what it was judged by."""

    name: str
    passed: bool
    says: str
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; reported at most about once a second."""

    table: str
    phase: str
    rows: int = 0
    bytes: int = 0
    shards_done: int = 0
    shards: int = 0
    expected_rows: int | None = None


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a run did. Times in seconds, sizes in bytes, `cost` in US dollars."""

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
