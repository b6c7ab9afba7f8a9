"""What attempts leave in PostgreSQL for a later one, and what is remembered of it.

Belongs here: the shards a staging table holds, dead attempts whose export may be used again, and
adopting or dropping what they staged, on the *caller's* connection and under the target's lock.
Does not: opening connections (connecting.py), deciding what is used again (resume.py).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, errors, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from bq2pg_assets.engine import bad_rows, postgres_sql
from bq2pg_assets.engine.model import (
    DeadAttempt,
    ExportWay,
    Outcome,
    Shard,
    StagedShard,
    SyncPlan,
    TargetName,
)
from bq2pg_assets.engine.postgres_sql import HISTORY, SHARDS

DEAD = (Outcome.KILLED, Outcome.FAILED, Outcome.RUNNING)

CREATE_SHARDS = """
CREATE TABLE {} (
  stage      text NOT NULL,
  uri        text NOT NULL,
  generation bigint NOT NULL,
  rows       bigint NOT NULL,
  bytes      bigint NOT NULL,
  nul_bytes  jsonb NOT NULL,
  nulls      jsonb NOT NULL,
  bad        text NOT NULL,
  row_groups int[] NOT NULL,
  PRIMARY KEY (stage, uri, row_groups)
)"""
# Made anew when an earlier version made it: without it a shard is copied again, no more.
COMPLETE = "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'nulls'"

RECORD_EXPORT = """
UPDATE {} SET job_id = %(job_id)s, location = %(location)s, prefix = %(prefix)s, stage = %(stage)s,
  fingerprint = %(fingerprint)s, exported_at = coalesce(%(exported_at)s, clock_timestamp()),
  snapshot_at = %(snapshot_at)s, expected_rows = %(expected_rows)s,
  source_modified_at = %(source_modified_at)s, resumed_from = %(resumed_from)s,
  left_objects = %(left_objects)s
WHERE id = %(id)s"""
LEFT_EXPORTS = """
SELECT DISTINCT prefix, job_id, location FROM {} WHERE target = %s AND id < %s AND left_objects"""
# Of staging tables that became the target, or that somebody dropped.
FORGET_SHARDS = """
DELETE FROM {shards} s USING {history} h WHERE h.target = %(target)s AND h.stage = s.stage
  AND to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(s.stage)) IS NULL"""

# After a load an older export would bring old rows back.
NEWEST_DEAD = """
SELECT run_id || '-' || attempt AS run, fingerprint, prefix, job_id, stage, exported_at,
  window_high, expected_rows, snapshot_at, source_modified_at, made_for
FROM {history} WHERE target = %(target)s AND id < %(before)s AND outcome = ANY (%(dead)s)
  AND fingerprint IS NOT NULL AND job_id IS NOT NULL
  AND exported_at > clock_timestamp() - make_interval(secs => %(within)s)
  AND (run_id = %(run_id)s) IS NOT FALSE
  AND id > (SELECT coalesce(max(id), 0) FROM {history}
            WHERE target = %(target)s AND outcome = 'loaded')
ORDER BY id DESC LIMIT 1"""
LAST_ID = 2**63 - 1

# A job ends after six hours at the latest; the runs that were not killed cancelled theirs.
PAST = """
SELECT target, table_name, run_id, attempt, outcome = 'running' AS running, location,
  CASE WHEN outcome IN ('running', 'killed') AND started_at > clock_timestamp() - interval '1 day'
    THEN job_id END AS job_id
FROM {} WHERE outcome <> 'nothing_new' ORDER BY id"""
STAGES = """
SELECT c.relname, substr(obj_description(c.oid, 'pg_class'), 18), pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND left(c.relname, 6) = 'stage_'
  AND starts_with(obj_description(c.oid, 'pg_class'), 'bq2pg staging of ')
  AND pg_has_role(c.relowner, 'USAGE')"""


def ensure(conn: Connection[Any], own_schema: str) -> None:
    """Create the table that is missing. Runs in the caller's transaction."""
    name = sql.Identifier(own_schema, SHARDS)
    if conn.execute(COMPLETE, [name.as_string()]).fetchone() is None:
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('bq2pg:ensure', 0))")
        if conn.execute(COMPLETE, [name.as_string()]).fetchone() is None:
            for statement in ("DROP TABLE IF EXISTS {}", CREATE_SHARDS):
                conn.execute(sql.SQL(statement).format(name))


def record_export(
    conn: Connection[Any],
    own_schema: str,
    *,
    attempt: int,
    plan: SyncPlan,
    job_id: str,
    prefix: str,
    stage: TargetName,
    fingerprint: str | None,
    source_modified_at: datetime | None,
) -> None:
    """Write down, before the job begins, what a later attempt needs to go on with its export."""
    resumed = plan.resumes.attempt if plan.resumes else None
    conn.execute(
        sql.SQL(RECORD_EXPORT).format(sql.Identifier(own_schema, HISTORY)),
        {
            "id": attempt,
            "job_id": job_id,
            "location": plan.location,
            "prefix": prefix,
            "stage": stage.table,
            "fingerprint": fingerprint,
            "exported_at": resumed.exported_at if resumed else None,
            "snapshot_at": plan.snapshot_at,
            "expected_rows": plan.expected_rows,
            "source_modified_at": source_modified_at,
            "resumed_from": resumed.run if resumed else None,
            "left_objects": plan.way is not ExportWay.READ_API,
        },
    )


def record_made_for(conn: Connection[Any], own_schema: str, *, attempt: int, made_for: str) -> None:
    """Write down the target that the attempt's staging table is to be swapped with."""
    conn.execute(
        sql.SQL("UPDATE {} SET made_for = %s WHERE id = %s").format(
            sql.Identifier(own_schema, HISTORY)
        ),
        [made_for, attempt],
    )


def newest_dead(
    conn: Connection[Any],
    own_schema: str,
    target: TargetName,
    *,
    within: int,
    before: int = LAST_ID,
    run_id: str | None = None,
) -> DeadAttempt | None:
    """The newest attempt before `before` whose export may be used again; of one run if named.

    `within` is how old that export may be, in seconds. A table that is missing is a missing row.
    """
    history = sql.Identifier(own_schema, HISTORY)
    given = {"target": str(target), "before": before, "dead": list(DEAD), "within": within}
    with conn.cursor(row_factory=class_row(DeadAttempt)) as cursor:
        return cursor.execute(
            sql.SQL(NEWEST_DEAD).format(history=history), {**given, "run_id": run_id}
        ).fetchone()


def note_shard(
    conn: Connection[Any], own_schema: str, stage: TargetName, shard: StagedShard
) -> None:
    """Remember a shard in the transaction of its COPY. No shard can be remembered twice."""
    conn.execute(
        sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)").format(
            sql.Identifier(own_schema, SHARDS)
        ),
        [
            stage.table,
            shard.uri,
            shard.generation,
            shard.rows,
            shard.bytes,
            Jsonb(dict(shard.nul_bytes)),
            Jsonb(dict(shard.nulls)),
            bad_rows.as_text(shard.bad),
            list(shard.row_groups),
        ],
    )


def adopt(
    conn: Connection[Any],
    own_schema: str,
    *,
    dead: DeadAttempt,
    stage: TargetName,
    shards: Sequence[Shard],
    made_for: str | None = None,
) -> tuple[StagedShard, ...]:
    """Make the dead attempt's staging table `stage` and return what it holds; () when it cannot be.

    Under another name nobody else's COPY finds it, and one under way keeps it from being renamed.
    It is dropped unless it holds what is remembered: a crash of the server empties unlogged tables;
    and unless it was made for the target as it is now. Runs in the caller's transaction.
    """
    old, own = TargetName(own_schema, dead.stage), sql.Identifier(own_schema, SHARDS)
    found = conn.execute(
        "SELECT to_regclass(%s)", [postgres_sql.identifier(old).as_string()]
    ).fetchone()
    if found is None or found[0] is None:
        return ()
    conn.execute(
        sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(postgres_sql.identifier(old))
    )
    noted = conn.execute(
        sql.SQL(
            "SELECT uri, generation, rows, bytes, nul_bytes, nulls, bad, row_groups "
            "FROM {} WHERE stage = %s"
        ).format(own),
        [old.table],
    ).fetchall()
    staged = [
        StagedShard(
            uri, generation, rows, size, nul_bytes, nulls, bad_rows.from_text(bad), tuple(groups)
        )
        for uri, generation, rows, size, nul_bytes, nulls, bad, groups in noted
    ]
    counted = conn.execute(
        sql.SQL("SELECT count(*) FROM {}").format(postgres_sql.identifier(old))
    ).fetchone()
    there = {(s.uri, s.generation) for s in shards}
    known = {(s.uri, s.generation) for s in staged}
    fits = dead.made_for == made_for and known <= there
    if not staged or not fits or counted != (sum(s.rows for s in staged),):
        drop(conn, own_schema, old)
        return ()
    conn.execute(
        sql.SQL("ALTER TABLE {} RENAME TO {}").format(
            postgres_sql.identifier(old), sql.Identifier(stage.table)
        )
    )
    conn.execute(
        sql.SQL("UPDATE {} SET stage = %s WHERE stage = %s").format(own), [stage.table, old.table]
    )
    return tuple(staged)


def drop(conn: Connection[Any], own_schema: str, stage: TargetName) -> None:
    """Remove a staging table, if it is there, and what is remembered of it."""
    forget = sql.SQL("DELETE FROM {} WHERE stage = {}").format(
        sql.Identifier(own_schema, SHARDS), sql.Literal(stage.table)
    )
    conn.execute(postgres_sql.at_once([postgres_sql.drop(stage), forget]))


def forget_exports(conn: Connection[Any], own_schema: str, target: TargetName) -> None:
    """No export of this target's earlier attempts is to be used again."""
    conn.execute(
        sql.SQL(
            "UPDATE {} SET fingerprint = NULL WHERE target = %s AND fingerprint IS NOT NULL"
        ).format(sql.Identifier(own_schema, HISTORY)),
        [str(target)],
    )


def forget_shards(conn: Connection[Any], own_schema: str, target: TargetName) -> None:
    """Forget what staging tables of the target held that are no more."""
    conn.execute(
        sql.SQL(FORGET_SHARDS).format(
            shards=sql.Identifier(own_schema, SHARDS), history=sql.Identifier(own_schema, HISTORY)
        ),
        {"target": str(target), "schema": own_schema},
    )


@dataclass(frozen=True, slots=True)
class LeftExport:
    """An export of an earlier attempt whose objects may still be below `prefix`."""

    prefix: str
    job_id: str
    location: str


def left_exports(
    conn: Connection[Any], own_schema: str, target: TargetName, *, before: int
) -> list[LeftExport]:
    """Those of attempts at the target before `before` that died, or failed to clean."""
    with conn.cursor(row_factory=class_row(LeftExport)) as cursor:
        return cursor.execute(
            sql.SQL(LEFT_EXPORTS).format(sql.Identifier(own_schema, HISTORY)), [str(target), before]
        ).fetchall()


def forget_prefix(conn: Connection[Any], own_schema: str, target: TargetName, prefix: str) -> None:
    """Nothing is left below the prefix."""
    conn.execute(
        sql.SQL("UPDATE {} SET left_objects = NULL WHERE target = %s AND prefix = %s").format(
            sql.Identifier(own_schema, HISTORY)
        ),
        [str(target), prefix],
    )


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that read its source, as sync_history tells it; `running` may be dead as well.

    `job_id` is an export's that BigQuery may still work on, None where it cannot.
    """

    target: str
    table_name: str
    run_id: str
    attempt: int
    running: bool
    job_id: str | None
    location: str | None


@dataclass(frozen=True, slots=True)
class StageLeft:
    """A staging table that is there. `target` is whose it was made for."""

    name: TargetName
    target: str
    bytes: int


def past_attempts(conn: Connection[Any], own_schema: str) -> list[PastAttempt]:
    """Every attempt that may have left something: also one that loaded and died while cleaning."""
    with conn.cursor(row_factory=class_row(PastAttempt)) as cursor:
        return cursor.execute(sql.SQL(PAST).format(sql.Identifier(own_schema, HISTORY))).fetchall()


def stages(conn: Connection[Any], own_schema: str) -> list[StageLeft]:
    """The staging tables in our schema that may be dropped."""
    found = conn.execute(STAGES, [own_schema]).fetchall()
    return [StageLeft(TargetName(own_schema, name), of, size) for name, of, size in found]


def drop_if_free(conn: Connection[Any], own_schema: str, stage: TargetName) -> bool:
    """Drop a staging table unless some session still holds it. Returns whether it is gone."""
    with suppress(errors.LockNotAvailable), conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '1s'")
        drop(conn, own_schema, stage)
        return True
    return False
