"""What dead runs left, found and removed: prefixes, staging tables, jobs, attempts never ended.

Belongs here: telling the dead from the living, and what of the dead goes. Does not: the statements
and requests themselves (leftovers.py, shards.py, bigquery.py), when it is done (cli, defs).

A run lives as long as its session holds the target's lock. So a target's things are touched under
that lock only, and a target whose lock is taken is left alone. The bucket may be others' as well:
a prefix whose run this database's sync_history does not know goes by its age, and only if asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from psycopg import Connection

from bq2pg_assets.config.table import parse_target
from bq2pg_assets.engine import leftovers, state
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.errors import Bq2pgError
from bq2pg_assets.engine.leftovers import PastAttempt, StageLeft
from bq2pg_assets.engine.model import RunId, TargetName
from bq2pg_assets.engine.postgres import PostgresTarget
from bq2pg_assets.engine.shards import GcsShards, PrefixLeft


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that a dead run left. `target` is empty where the run is not known here."""

    kind: Literal["attempt", "staging table", "prefix", "job"]
    name: str
    target: str
    bytes: int = 0


@dataclass(slots=True)
class Cleaning:
    """What was found. `removed` would be, in a dry run; an attempt is marked killed.

    `resumable` is kept for the next run, `unknown` belongs to runs that sync_history does not know,
    `live` are targets that a run holds.
    """

    removed: list[Leftover] = field(default_factory=list)
    resumable: list[Leftover] = field(default_factory=list)
    unknown: list[Leftover] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    errors: list[Bq2pgError] = field(default_factory=list)


@dataclass(slots=True)
class _Left:
    """What the runs of one target left, before it is known whether they live."""

    running: list[PastAttempt] = field(default_factory=list)
    stages: list[StageLeft] = field(default_factory=list)
    prefixes: list[PrefixLeft] = field(default_factory=list)
    exporting: list[PastAttempt] = field(default_factory=list)


def clean(
    database: PostgresTarget,
    source: BigQuerySource,
    shards: GcsShards | None,
    *,
    resume: Mapping[str, int],
    older_than: int | None = None,
    dry_run: bool = False,
) -> Cleaning:
    """Remove what dead runs left, or with `dry_run` only find it.

    `resume` says by target for how many seconds an export may be used again: what is younger is
    kept. `older_than` is the age in seconds at which a prefix of a run that is not known here goes
    as well; None keeps it. What cannot be removed is among the errors and stops nothing else.
    Raises Bq2pgError when nothing can be found out.
    """
    # The bucket first: an attempt is in sync_history before it has a prefix.
    prefixes = shards.prefixes() if shards is not None else ()
    with database.connection(name="clean") as conn:
        if not state.is_complete(conn, database.state_schema):
            past, stages = [], []
        else:
            past = leftovers.past_attempts(conn, database.state_schema)
            stages = leftovers.stages(conn, database.state_schema)
    found, done = _by_target(past, stages, prefixes), Cleaning()
    strangers = found.pop("", _Left())
    for target, left in found.items():
        try:
            _clean_target(
                target,
                left,
                database,
                source,
                shards,
                within=resume.get(target, 0),
                dry_run=dry_run,
                done=done,
            )
        except Bq2pgError as error:
            done.errors.append(error)
    for prefix in strangers.prefixes:
        _clean_stranger(prefix, shards, older_than=older_than, dry_run=dry_run, done=done)
    return done


def _by_target(
    past: Iterable[PastAttempt],
    stages: Iterable[StageLeft],
    prefixes: Iterable[PrefixLeft],
) -> dict[str, _Left]:
    """Everything found, by the target it was for; under "" what sync_history does not know."""
    found: dict[str, _Left] = {}
    of_prefix: dict[tuple[str, str], str] = {}
    for attempt in past:
        of_prefix[attempt.table_name, RunId(attempt.run_id, attempt.attempt).slug] = attempt.target
        if attempt.running:
            found.setdefault(attempt.target, _Left()).running.append(attempt)
        if attempt.job_id is not None:
            found.setdefault(attempt.target, _Left()).exporting.append(attempt)
    for stage in stages:
        found.setdefault(stage.target, _Left()).stages.append(stage)
    for prefix in prefixes:
        target = of_prefix.get((prefix.table, prefix.run), "")
        found.setdefault(target, _Left()).prefixes.append(prefix)
    return found


def _clean_target(
    target: str,
    left: _Left,
    database: PostgresTarget,
    source: BigQuerySource,
    shards: GcsShards | None,
    *,
    within: int,
    dry_run: bool,
    done: Cleaning,
) -> None:
    name, schema = parse_target(target), database.state_schema
    with database.if_free(name) as conn:
        if conn is None:
            done.live.append(target)
            return
        dead = leftovers.newest_dead(conn, schema, name, within=within)
        kept = {dead.prefix, str(TargetName(schema, dead.stage))} if dead else set()
        if left.running and not dry_run:
            state.mark_killed(conn, schema, name)
        for one, remove in _removals(target, left, conn, source, shards, schema=schema):
            if one.name in kept:
                done.resumable.append(one)
            elif dry_run or remove() is not False:
                done.removed.append(one)


def _removals(
    target: str,
    left: _Left,
    conn: Connection[Any],
    source: BigQuerySource,
    shards: GcsShards | None,
    *,
    schema: str,
) -> Iterator[tuple[Leftover, Callable[[], object]]]:
    """Each leftover and what removes it; that returns False when somebody still holds it."""
    for attempt in left.running:
        slug = RunId(attempt.run_id, attempt.attempt).slug
        yield Leftover("attempt", slug, target), lambda: None  # marked above
    for stage in left.stages:
        drop = partial(leftovers.drop_if_free, conn, schema, stage.name)
        yield Leftover("staging table", str(stage.name), target, stage.bytes), drop
    # Asked for one by one: an account that may run jobs may see its own, but not list them.
    for job_id, location in {(a.job_id or "", a.location or "US") for a in left.exporting}:
        if source.is_unfinished(job_id, location=location):
            yield Leftover("job", job_id, target), partial(source.cancel, job_id, location=location)
    for prefix in left.prefixes:
        assert shards is not None  # or none was found
        delete = partial(shards.delete, prefix.uri)
        gone = Leftover("prefix", prefix.uri, target, prefix.bytes)
        yield gone, delete


def _clean_stranger(
    prefix: PrefixLeft,
    shards: GcsShards | None,
    *,
    older_than: int | None,
    dry_run: bool,
    done: Cleaning,
) -> None:
    one = Leftover("prefix", prefix.uri, "", prefix.bytes)
    if older_than is None or datetime.now(UTC) - prefix.newest < timedelta(seconds=older_than):
        done.unknown.append(one)
        return
    try:
        if shards is not None and not dry_run:
            shards.delete(prefix.uri)
    except Bq2pgError as error:
        done.errors.append(error)
    else:
        done.removed.append(one)
