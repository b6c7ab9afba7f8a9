"""The configuration of one table: what its YAML file may say.

Belongs here: fields, defaults and what may not be combined. Does not: reading files (load.py),
connections and secrets (settings.py: they come from the environment only).

Column names are BigQuery's throughout; `columns.<name>.name` renames one on its way.
"""

import difflib
import math
import os
import re
import zoneinfo
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bq2pg_assets.config.cron import cron_problems
from bq2pg_assets.config.duration import seconds
from bq2pg_assets.engine.model import TargetName
from bq2pg_assets.engine.workers import Share, share

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
SOURCE = re.compile(r"^(?:(?P<project>[^.`\s]+)\.)?(?P<dataset>[^.`\s]+)\.(?P<table>[^.`\s]+)$")
IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
BYTE_SIZE = TypeAdapter(ByteSize)
# What has a meaning in some modes only: named for another one, it is a mistake.
ONLY_IN = {
    "lookback": ("merge", "scd2"),
    "lag": ("append", "merge", "scd2"),
    "null_cursor": ("append", "merge", "scd2"),
    "null_keys": ("merge", "mirror", "scd2"),
    "deletes": ("mirror",),
    "deleted_column": ("mirror",),
    "snapshot_column": ("snapshot",),
    "valid_from_column": ("scd2",),
    "valid_to_column": ("scd2",),
}
NEED_CURSOR = ("lookback", "lag", "null_cursor")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _bytes(value: Any) -> Any:
    try:
        return value if isinstance(value, bool) else int(BYTE_SIZE.validate_python(value))
    except ValidationError:
        raise ValueError(
            f"{value!r} is not a size; write a number of bytes, or one with its unit: 50 GiB"
        ) from None


def _duration(value: Any) -> timedelta:
    found = value if isinstance(value, timedelta) else timedelta(seconds=seconds(value))
    if not found:
        raise ValueError(f"{value!r} is no time at all; leave it out, or write 30m, 6h, 7d")
    return found


def _pg_name(value: str) -> str:
    if len(value.encode()) > 63 or "\0" in value:
        raise ValueError(f"{value!r} is no column name of PostgreSQL: at most 63 bytes, no NUL")
    return value


def _scalar(value: Any) -> Any:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not (isinstance(value, str | int | float) and finite):
        raise ValueError(f"{value!r} is not a text, a finite number, true or false")
    return value


def _mask(value: Any) -> Any:
    # YAML reads the bare word as nothing, which must not leave a column unmasked.
    return "null" if value is None else value


def _cron(value: str) -> str:
    if problems := list(cron_problems(value)):
        raise ValueError("; ".join(problems))
    return value


def _timezone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # OSError: "Europe" is a folder of the database
        near = difflib.get_close_matches(value, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "write one such as Europe/Berlin"
        raise ValueError(f"{value!r} is not a time zone of the IANA database; {hint}") from None
    return value


Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], BeforeValidator(_tuple)]
Size = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=1),
    WithJsonSchema({"type": ["integer", "string"], "examples": ["50 GiB", 53687091200]}),
]

SPAN = WithJsonSchema({"type": ["integer", "string"], "examples": ["30m", "6h"]})
Seconds = Annotated[int, BeforeValidator(seconds), SPAN]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda value: f"{value.total_seconds():.0f}s", return_type=str),
    SPAN,
]
PgName = Annotated[str, Field(min_length=1), AfterValidator(_pg_name)]

Scalar = Annotated[
    str | int | float | bool | None,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
MaskName = Literal["sha256", "hmac", "redact", "partial", "email", "null", "year"]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class ColumnConfig(_Model):
    """What differs from the default for one column."""

    name: Text | None = None
    """The column's name in PostgreSQL. Default: as in BigQuery."""
    exclude: bool = False
    """Leave the column out: it is never read."""
    expression: Text | None = None
    """One GoogleSQL expression over the source's columns that makes the value. Under a name that
    the source lacks it makes a new column."""
    cast: Text | None = None
    """The GoogleSQL type that the value is cast to: INT64, NUMERIC(10, 2)."""
    default: Scalar = None
    """What takes the place of NULL: text, a number, true or false."""
    mask: Annotated[MaskName | None, BeforeValidator(_mask)] = None
    """What hides the value before it leaves BigQuery. sha256: hash with the secret as salt. hmac:
    keyed hash. redact: the text REDACTED. partial: asterisks and the last 4 characters. email:
    first character, ***, @domain. null: NULL. year: the year of a date. NULL stays NULL."""

    @property
    def has_value(self) -> bool:
        """Whether another value than the bare column's is made."""
        return (self.expression, self.cast, self.default) != (None, None, None)

    @property
    def shaped(self) -> bool:
        """Whether BigQuery writes something else than the bare column."""
        return self.has_value or self.mask is not None


class TableConfig(_Model):
    """One table: from BigQuery, to PostgreSQL, how."""

    name: str = Field(pattern=NAME)
    """The asset's name. Default: the file's name."""
    source: Text | None = None
    """The BigQuery table or view: dataset.table or project.dataset.table."""
    query: Text | None = None
    """A GoogleSQL query instead of `source`."""
    target: str = ""
    """The PostgreSQL table: schema.table or table (then in schema public). Default: `name`.
    Quote a part that holds a dot: "my.schema".table."""
    mode: Literal["replace", "append", "merge", "mirror", "snapshot", "scd2"] = "replace"
    """replace: all rows, each time. append: add the rows above the cursor. merge: insert or
    update the rows above the cursor by key. mirror: read all rows, write those that differ, delete
    those that are gone. snapshot: add all rows, each time, with the time. scd2: keep every version
    of a row, with the times from and to which it held."""
    cursor: Text | None = "max_ingested_at"
    """The TIMESTAMP, DATETIME or DATE column that grows with every change; append, merge and scd2
    load only rows above the last value, so a row that comes later with an equal one is missed
    unless lookback or lag covers it. null with merge and scd2: every row, each time. Of rows that
    share a key the newest by it wins; mirror needs it for nothing else."""
    lookback: Duration | None = None
    """How far below the cursor merge and scd2 read again, for rows that come late: 90m, 2h, 1d."""
    lag: Duration | None = None
    """How far before BigQuery's clock append, merge and scd2 stop, so that rows still on their way
    are not missed: 90m, 2h, 1d. Of a DATE only days that ended before then are read."""
    null_cursor: Literal["include", "skip", "fail"] = "include"
    """What becomes of rows whose cursor is NULL; they are counted in the metadata. include: full
    loads read them, and so does every run of merge and scd2; a later run of append cannot. skip:
    they are never read. fail: one stops the run."""
    key: Names = ()
    """The columns that identify a row; needed by merge, mirror and scd2. Default: BigQuery's
    primary key."""
    null_keys: Literal["refuse", "match"] = "refuse"
    """What a NULL in the key means. refuse: the run stops and says how many there are. match: two
    NULLs are equal, through a UNIQUE NULLS NOT DISTINCT index of PostgreSQL 15 or later."""
    deletes: Literal["hard", "soft"] = "hard"
    """What mirror does to rows that are gone from the source. hard: they are deleted. soft: they
    stay, with the time in deleted_column."""
    deleted_column: PgName = "deleted_at"
    """The timestamptz column of the target in which deletes: soft says since when a row is gone."""
    snapshot_column: PgName = "snapshot_at"
    """The timestamptz column of the target in which snapshot says when a run read the row."""
    valid_from_column: PgName = "valid_from"
    """The timestamptz column of the target from which on scd2 saw the version."""
    valid_to_column: PgName = "valid_to"
    """The timestamptz column of the target from which on it no longer did; NULL: it holds."""
    include: Names | None = None
    """The only columns of the source that are copied; columns that an expression makes anew come
    on top. Default: all, later ones too."""
    columns: dict[str, ColumnConfig] = {}
    """What differs from the default, by BigQuery column name."""
    not_null: Names = ()
    """Columns in which a NULL stops the run before anything is published."""
    nul_bytes: Literal["fail", "strip", "replace"] = "fail"
    """What becomes of U+0000, which PostgreSQL's text and jsonb cannot hold. strip: it is left
    out. replace: U+FFFD takes its place. Both are counted in the metadata and in sync_history."""
    bad_rows: Literal["fail", "quarantine"] = "fail"
    """What becomes of rows that PostgreSQL refuses. fail: the run. quarantine: they are kept in
    sync_quarantine with the error and all others are published; `bq2pg quarantine` lists and
    replays them."""
    max_bad_rows: int = Field(default=100, ge=1, le=10_000)
    """With bad_rows: quarantine, how many rows a run may quarantine. More fail it."""
    schema_changes: Literal["evolve", "freeze", "fail"] = "evolve"
    """What happens when the source's columns are no longer the target's. evolve: columns are added,
    widened and freed of NOT NULL with the rows that need it, never narrowed or dropped. freeze: the
    target stays as it is, new columns are not loaded. fail: the run is refused."""
    replace_strategy: Literal["swap", "truncate"] = "swap"
    """How a full load replaces the rows of a table that is there. swap: a new table takes its place
    under a short lock, with all that belongs to it; refused where something cannot be carried over.
    truncate: the rows are replaced within it, and nobody can read it meanwhile."""
    empty_source: Literal["fail", "allow"] = "fail"
    """What a source without rows means when it is read as a whole."""
    max_shrink: float = Field(default=0.5, ge=0, le=1)
    """The part of the target's rows that a full load may take away; it is refused above. 1: all."""
    max_deletes: float = Field(default=0.5, ge=0, le=1)
    """The part of the target's rows that mirror may delete and scd2 may close, in one run, because
    they are gone from the source; it is refused above. 1: all."""
    export: Literal["auto", "extract", "export_data", "read_api"] = "auto"
    """The way out of BigQuery. auto: the cheapest through the bucket that is right for the table;
    read_api where no bucket is configured. read_api: Arrow streams, which need none."""
    location: Text | None = None
    """The BigQuery location of the source. Default: the environment's, else the dataset's."""
    max_bytes_billed: Size = 1024**4
    """The most one export may bill, in bytes or as "50 GiB"; it fails without charge above.
    Default: 1 TiB."""
    parallelism: Annotated[int, Field(ge=1, le=16)] | None = None
    """How many shards are copied at once, each over its own connection. Default: as many as the
    machine has cores, at most 8, and as `memory_limit_mb` allows."""
    memory_limit_mb: int = Field(default=128, ge=16)
    """About how much memory a run may take to copy, in MB, for all its shards together. Less means
    smaller pieces. One value that is larger than a piece takes what it needs."""
    resume: Seconds = 6 * 3600
    """How old an attempt's finished export may be for the next one to use it when the attempt was
    killed or PostgreSQL failed, in seconds or as "6h". 0: every attempt exports. Default: 6h."""
    schedule: Annotated[str, AfterValidator(_cron)] | None = None
    """A cron expression; the table is refreshed when it ticks."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """The time zone of `schedule`."""
    automation: Literal["on_source_change"] | None = None
    """on_source_change: a sensor asks for a refresh when BigQuery says the source changed."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often a run whose error may pass is tried again."""
    circuit_breaker: int | None = Field(default=5, ge=1)
    """After so many failed runs in a row schedules and the sensor leave the table out for
    `cool_down`; then one run is the trial. A person's runs are never left out. null: off."""
    cool_down: Seconds = 3600
    """How long after its last failure a table is left out, in seconds or as "30 min", "1 h"."""
    group: Text = "bigquery"
    """The asset group in Dagster."""
    owners: Names = ()
    """Who answers for the table: e-mail addresses or team:name."""
    tags: dict[str, str] = {}
    """Dagster tags of the asset."""
    description: str | None = None
    """Shown in Dagster. Default: one made of source, target and mode."""

    @model_validator(mode="after")
    def _combinations(self) -> "TableConfig":
        if problems := list(combination_problems(self)):
            sentences = "; ".join(sentence for _, sentence in problems)
            raise PydanticCustomError(
                "combination", "{sentences}", {"sentences": sentences, "problems": problems}
            )
        return self

    @property
    def share(self) -> Share:
        """How many workers copy the table on this machine, in pieces of which size."""
        return share(self.memory_limit_mb, self.parallelism, cores=_usable_cores())

    @property
    def target_name(self) -> TargetName:
        """The target's schema and table."""
        return parse_target(self.target or self.name)

    @property
    def cursor_column(self) -> str | None:
        """The cursor's column, or None where the mode has no use for one."""
        return None if self.mode in ("replace", "snapshot") else self.cursor

    @property
    def source_parts(self) -> tuple[str | None, str, str]:
        """Project (None: the environment's), dataset and table of `source`."""
        match = SOURCE.match(self.source or "")
        assert match is not None
        return match["project"], match["dataset"], match["table"]


def _usable_cores() -> int:
    """Those that this process may use: a container may have fewer than its machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_target(text: str) -> TargetName:
    """Schema and table of `schema.table`, `table` or `"quoted"."parts"`. Raises ValueError."""
    parts, at = [], 0
    while at < len(text):
        match = IDENTIFIER.match(text, at)
        if match is None or "\0" in match[0]:
            break
        parts.append(match[1].replace('""', '"') if match[1] else match[2])
        at = match.end()
        if at < len(text) and text[at] == "." and at + 1 < len(text):
            at += 1
        else:
            break
    if at != len(text) or len(parts) not in (1, 2):
        raise ValueError(
            f"{text!r} is not a table name; write table, schema.table, "
            'or quote a part that holds a dot or a quote: "my.schema"."my ""table"""'
        )
    for part in parts:
        if len(part.encode()) > 63:
            raise ValueError(f"{part!r} is longer than PostgreSQL's 63 bytes; choose a shorter one")
    return TargetName(*(["public"] if len(parts) == 1 else []), *parts)


def combination_problems(table: TableConfig) -> Iterator[tuple[str, str]]:
    """Each thing that may not be combined: the field that shows it, and one sentence."""
    if (table.source is None) == (table.query is None):
        yield (
            "source" if table.source is None else "query",
            "give either source (dataset.table) or query, and not both",
        )
    if table.source is not None and SOURCE.match(table.source) is None:
        yield "source", f"{table.source!r} is not dataset.table or project.dataset.table"
    if table.mode == "append" and table.cursor is None:
        yield "cursor", "append adds rows above a cursor: name its column, or use mode: replace"
    yield from _mode_problems(table)
    # In a table with other mistakes the columns are as the YAML gives them.
    columns = {name: ColumnConfig.model_validate(c) for name, c in table.columns.items()}
    for name in table.include or ():
        if name in columns and columns[name].exclude:
            yield "include", f"{name} is in include and excluded in columns: remove one of them"
    if table.query is not None and table.export == "extract":
        yield "export", "an extract job cannot run a query: use export: auto"
    try:
        parse_target(table.target or table.name)
    except ValueError as error:
        yield "target", str(error)


def _mode_problems(table: TableConfig) -> Iterator[tuple[str, str]]:
    """What the mode has no use for, or needs."""
    given = [n for n in ONLY_IN if getattr(table, n) != TableConfig.model_fields[n].default]
    for name in given:
        modes = ONLY_IN[name]
        if table.mode not in modes:
            listed = " and ".join(filter(None, (", ".join(modes[:-1]), modes[-1])))
            yield name, f"{name} is for mode {listed}, not {table.mode}: remove it"
        elif name in NEED_CURSOR and table.cursor is None:
            yield name, f"{name} counts from a cursor, and cursor is null: remove one of them"
        elif name == "deleted_column" and table.deletes == "hard":
            yield name, "deleted_column is for deletes: soft: add that, or remove it"
    if table.valid_from_column == table.valid_to_column:
        yield "valid_to_column", "valid_from_column and valid_to_column need two names"
