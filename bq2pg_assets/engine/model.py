"""The values that travel through a sync, all frozen.

Belongs here: what more than one module of the engine speaks of. Does not: anything that
connects, reads a clock or decides. Words follow docs/glossary.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Literal

CursorValue = datetime | date
CURSOR_TYPES = ("TIMESTAMP", "DATETIME", "DATE")
LONGEST_WAIT = 86400  # seconds for another run; a day


class Mode(StrEnum):
    """How rows reach the target: all anew, added, by key, or as history."""

    REPLACE = "replace"
    APPEND = "append"
    MERGE = "merge"
    MIRROR = "mirror"
    SNAPSHOT = "snapshot"
    SCD2 = "scd2"

    @property
    def by_key(self) -> bool:
        """Whether a row takes the place of the one with the same key."""
        return self in (Mode.MERGE, Mode.MIRROR, Mode.SCD2)

    @property
    def by_steps(self) -> bool:
        """Whether `publish_sql` has its statements: the target has columns of bq2pg's own."""
        return self in (Mode.MIRROR, Mode.SNAPSHOT, Mode.SCD2)


class ReplaceStrategy(StrEnum):
    """How new rows take the place of all old ones: in a new table, or in the same one."""

    SWAP = "swap"
    TRUNCATE = "truncate"


class ExportWay(StrEnum):
    """Which way the rows leave BigQuery."""

    EXTRACT = "extract"
    EXPORT_DATA = "export_data"
    READ_API = "read_api"


class NulBytes(StrEnum):
    """What becomes of U+0000 in text, which PostgreSQL cannot store."""

    FAIL = "fail"
    STRIP = "strip"
    REPLACE = "replace"


class Outcome(StrEnum):
    """How an attempt ended; the words of `sync_history.outcome`.

    `locked`: another run kept it out. `resumed` is no attempt: a person closed the circuit.
    """

    RUNNING = "running"
    LOADED = "loaded"
    NOTHING_NEW = "nothing_new"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILLED = "killed"
    LOCKED = "locked"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run does differently from the table's configuration.

    `full_refresh` ignores the cursor and replaces the content. `limit` stops after so many rows.
    `where` is a BigQuery condition that narrows the run. `wait` is how many seconds another run of
    the table is waited for. `allow_shrink` lets more rows go than max_shrink and max_deletes allow.
    """

    full_refresh: bool = False
    limit: int | None = None
    where: str | None = None
    wait: int = 0
    allow_shrink: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError("limit counts rows: it is 1 or more")
        if not 0 <= self.wait <= LONGEST_WAIT:
            raise ValueError(f"wait counts seconds: it is 0 to {LONGEST_WAIT}")

    @property
    def partial(self) -> bool:
        """Whether this run may leave out rows that a run without options would load."""
        return self.limit is not None or self.where is not None


@dataclass(frozen=True, slots=True)
class RunId:
    """One attempt: `id` is the run's, unique for ever; `attempt` counts its retries from 0.

    `launcher` says who asked for it: cli, dagster (a person), schedule, sensor.
    """

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
    """One field of a BigQuery schema. `type` is the GoogleSQL name (INT64, STRUCT, …).

    `sql` is the GoogleSQL expression that makes it, None for the bare column; `masked` says that
    it hides what the source holds.
    """

    name: str
    type: str
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = "NULLABLE"
    description: str | None = None
    precision: int | None = None
    scale: int | None = None
    range_element: str | None = None
    max_length: int | None = None
    fields: tuple["SourceField", ...] = ()
    sql: str | None = None
    masked: bool = False


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What BigQuery says of a source before anything is read.

    `kind` is BigQuery's table type, or QUERY. `num_rows` and `num_bytes` leave out rows still in
    the streaming buffer and are None where BigQuery does not tell them (views, queries).
    `partition_filter_on` is the partition column without a filter on which BigQuery refuses every
    query of the table; None where it asks for none.
    `hides` says that some column is masked or left out, so that no message may quote a value.
    `shape` is a fingerprint of what the columns become on their way: rows loaded with another one
    do not fit beside those of this one.
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
    hides: bool = False
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column on its way: from `source` in BigQuery to `name` in PostgreSQL.

    `select` is the GoogleSQL expression that an EXPORT DATA statement writes for it; `plain` says
    that Parquet carries the bare column as well, so that an extract job may read it. `wire` names
    how the encoder writes it (see `encode.py`); `field` tells it how nested values are built.
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
    field: SourceField | None = None
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a table was loaded: `column` of BigQuery type `type`; `value` None means nothing."""

    column: str
    type: str
    value: CursorValue | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The rows with `low < cursor <= high`; with `nulls` those whose cursor is NULL as well.

    None leaves that side open.
    """

    low: CursorValue | None
    high: CursorValue | None
    nulls: bool = False


def as_stored(value: CursorValue | None) -> datetime | None:
    """A cursor value as `sync_state` holds it: without zone, UTC; a date at midnight."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - stored without zone
    return None


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column PostgreSQL already has. `type` as `format_type` writes it.

    `has_default` says that it fills itself: by a default, as generated or identity column.
    `not_null_stays` where PostgreSQL drops no NOT NULL: primary key, replica identity, identity.
    """

    name: str
    type: str
    not_null: bool
    has_default: bool
    not_null_stays: bool = False


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One column in which target and source differ, and what becomes of it.

    `column` is the target's. `before` and `after` are its type, for `nullable` NOT NULL and NULL;
    None where there is no such column.
    """

    kind: Literal["added", "widened", "nullable", "kept", "not_loaded"]
    column: str
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        says = {
            "added": f"is added as {self.after}",
            "widened": f"is widened from {self.before} to {self.after}",
            "nullable": "may be NULL from now on",
            "kept": "stays, NULL in new rows: the source lacks it",
            "not_loaded": "is not loaded: the target lacks it",
        }
        return f"{self.column} {says[self.kind]}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a target's rows and cursor were last loaded from: a table's path, or `query`.

    `shape` is a fingerprint of what its columns became on their way, '' where nothing.
    """

    source: str
    cursor_column: str | None
    shape: str = ""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What PostgreSQL says of the target.

    `kind` is None when there is no such relation, `origin` when no load of it is recorded.
    `null_keys` are those of `unique_keys` that take two NULLs for equal.
    `swap_obstacles` are what keeps another table from taking its place, in words.
    """

    kind: str | None
    columns: tuple[TargetColumn, ...] = ()
    has_rows: bool = False
    owned: bool = False
    unique_keys: tuple[frozenset[str], ...] = ()
    origin: Origin | None = None
    null_keys: tuple[frozenset[str], ...] = ()
    server_version: int = 150000
    swap_obstacles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnColumns:
    """The names of the columns that a mode adds to the source's."""

    deleted: str = "deleted_at"
    snapshot: str = "snapshot_at"
    valid_from: str = "valid_from"
    valid_to: str = "valid_to"


@dataclass(frozen=True, slots=True)
class Guard:
    """The part of the target's rows, 0 to 1, of which no more may go, by a rule of that name.

    With `allowed` more may go, this once.
    """

    rule: Literal["max_shrink", "max_deletes"]
    limit: float
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look at the cursor column found above the low end of the window.

    `at` is BigQuery's own clock at that look: the export reads the table as of then, and no
    clock of ours can be ahead of it. `nulls` counts the rows without a cursor value.
    """

    high: CursorValue | None
    rows: int
    at: datetime
    bytes_billed: int = 0
    nulls: int = 0


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export. `place` is where the rows wait: a prefix in the bucket, or a table's path.

    `job_id` is None where no job was needed, `rows` where BigQuery does not count them (extract
    jobs), `files` where it does not count those.
    """

    job_id: str | None
    place: str
    rows: int | None
    bytes_processed: int
    bytes_billed: int
    files: int | None = None


@dataclass(frozen=True, slots=True)
class DeadAttempt:
    """An attempt that ended after its export had begun and before it published, as recorded.

    `run` is its slug, `stage` its staging table, `fingerprint` what its plan would export. The
    export reads the source as of `snapshot_at` up to `window_high`, where the plan had these.
    `made_for` tells the target that the staging table was to be swapped with from any other.
    """

    run: str
    fingerprint: str
    prefix: str
    job_id: str
    stage: str
    exported_at: datetime
    window_high: datetime | None = None
    expected_rows: int | None = None
    snapshot_at: datetime | None = None
    source_modified_at: datetime | None = None
    made_for: str | None = None

    def __str__(self) -> str:
        at = self.exported_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        return f"export of {at} UTC reused, of run {self.run}"


@dataclass(frozen=True, slots=True)
class Resumed:
    """The dead attempt that a plan goes on with, and its export; nothing more is billed for it."""

    attempt: DeadAttempt
    export: Export


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """All that is decided before a byte moves. `reason` says why this way out of BigQuery.

    `cursor_after` says what becomes of the stored cursor: advance to the highest value loaded,
    keep it, or clear it so that the next run loads everything. `key` holds PostgreSQL names.
    `bytes_probed` were billed already, for finding the window. `every_partition_of` is the column
    on which BigQuery asks for a filter that the window does not give. `comment` describes the
    table where bq2pg creates it. `direct` says that the Read API reads the source itself, without
    a query. `changes` are made in the transaction that publishes, into a target whose columns are
    still `target_columns`. `hides` and `shape` are those of the source's facts. `resumes` is the
    export of a dead attempt that takes the place of one of its own. `null_cursors` counts the rows
    without a cursor value, None where the probe did not look. `guard` is None where nothing goes.
    `max_bad_rows` is None where the first row that is refused fails the run.
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
    piece_bytes: int = 2 * 1024**2
    nul_bytes: NulBytes = NulBytes.FAIL
    every_partition_of: str | None = None
    comment: str | None = None
    direct: bool = False
    changes: tuple[SchemaChange, ...] = ()
    target_columns: tuple[TargetColumn, ...] = ()
    hides: bool = False
    shape: str = ""
    resumes: Resumed | None = None
    null_keys: Literal["refuse", "match"] = "refuse"
    deletes: Literal["hard", "soft"] = "hard"
    own: OwnColumns = OwnColumns()
    full_refresh: bool = False
    null_cursors: int | None = None
    guard: Guard | None = None
    max_bad_rows: int | None = None
    strategy: ReplaceStrategy = ReplaceStrategy.SWAP

    @property
    def swaps(self) -> bool:
        """Whether the staging table takes the place of a target that is there."""
        replaces = self.publish is Mode.REPLACE and not self.creates_target
        return replaces and self.strategy is ReplaceStrategy.SWAP

    @property
    def incremental(self) -> bool:
        """Whether only what lies above the stored cursor is read."""
        stored = self.cursor is not None and self.cursor.value is not None
        return stored and self.window is not None and self.publish is not Mode.REPLACE

    @property
    def whole(self) -> bool:
        """Whether every row of the source is read, so that a key it lacks is gone."""
        return self.window is None and self.where is None and self.limit is None

    @property
    def origin(self) -> Origin:
        """Where the rows come from, as sync_history keeps it."""
        return origin_of(self.source_sql, self.cursor, self.shape)


def origin_of(source_sql: str, cursor: Cursor | None, shape: str) -> Origin:
    """A source's origin. Queries are not told apart: they may be reworded."""
    source = "query" if source_sql.startswith("(") else source_sql
    return Origin(source, cursor.column if cursor else None, shape)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the export would read; `cost` in US dollars, on demand. Extract jobs cost nothing."""

    bytes: int
    cost: float


@dataclass(frozen=True, slots=True)
class Shard:
    """One exported object, or one stream to be read. `size` in bytes, 0 where it is not known
    yet; `generation` pins an object's content; `crc32c` is its checksum, in base64."""

    uri: str
    size: int
    generation: int
    crc32c: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row is refused. `sqlstate` is None when the encoder refused it, not PostgreSQL."""

    error: str
    sqlstate: str | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A refused row: `row` is a JSON object by source column names (see `row_json`).

    What is known of one that was never staged: `cursor` is its cursor value as stored, so that the
    cursor passes it too; `key` is the object of its key columns, so that it is not taken for gone.
    """

    row: str
    refusal: Refusal
    cursor: datetime | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class StagedShard:
    """A shard whose rows are in the staging table, but the `bad` ones, which it refused.

    `nul_bytes` counts, by column, the values from which U+0000 was taken, and `nulls` the NULLs.
    `row_groups` are those of the shard that are meant; () is all of it.
    """

    uri: str
    generation: int
    rows: int
    bytes: int
    nul_bytes: Mapping[str, int]
    nulls: Mapping[str, int]
    bad: tuple[BadRow, ...] = ()
    row_groups: tuple[int, ...] = ()
