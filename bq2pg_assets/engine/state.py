"""bq2pg's own tables: how far each target is loaded, and what every attempt did.

Belongs here: their DDL and reading and writing them on the *caller's* connection, so that the
cursor commits with the rows or not at all. Does not: opening connections (connecting.py).

`sync_state` lies beside the targets, in their schema; `sync_history` in bq2pg's own schema.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from bq2pg_assets.engine.circuit import CLOSING, PastRun
from bq2pg_assets.engine.model import (
    CursorValue,
    Origin,
    Outcome,
    RunId,
    SyncPlan,
    TargetName,
    as_stored,
)
from bq2pg_assets.engine.postgres_sql import HISTORY, STATE
from bq2pg_assets.engine.results import Spent, SyncResult, TableStatus

CREATE_STATE = """
CREATE TABLE IF NOT EXISTS {} (
  table_name     TEXT PRIMARY KEY,
  last_synced_at TIMESTAMP
)"""

CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS {} (
  id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id             text NOT NULL,
  attempt            integer NOT NULL,
  launcher           text NOT NULL,
  table_name         text NOT NULL,
  target             text NOT NULL,
  outcome            text NOT NULL,
  mode               text,
  export_way         text,
  source             text,
  cursor_column      text,
  window_low         timestamp,
  window_high        timestamp,
  rows               bigint,
  bytes              bigint,
  shards             integer,
  started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at        timestamptz,
  seconds            double precision,
  phases             jsonb,
  job_id             text,
  location           text,
  bytes_processed    bigint,
  bytes_billed       bigint,
  cost               double precision,
  cursor_before      timestamp,
  cursor_after       timestamp,
  source_modified_at timestamptz,
  error              text,
  nul_bytes          jsonb,
  schema_changes     jsonb,
  shape              text,
  prefix             text,
  stage              text,
  fingerprint        text,
  exported_at        timestamptz,
  snapshot_at        timestamptz,
  expected_rows      bigint,
  resumed_from       text,
  row_counts         jsonb,
  quarantined        bigint,
  made_for           text,
  left_objects       boolean,
  profile            jsonb,
  advice             text
)"""

FINISH = """
UPDATE {} SET outcome = %(outcome)s, mode = %(mode)s, export_way = %(way)s, rows = %(rows)s,
  bytes = %(bytes)s, shards = %(shards)s, finished_at = clock_timestamp(), seconds = %(seconds)s,
  phases = %(phases)s, job_id = %(job_id)s, bytes_processed = %(bytes_processed)s,
  bytes_billed = %(bytes_billed)s, cost = %(cost)s, cursor_before = %(cursor_before)s,
  cursor_after = %(cursor_after)s, source_modified_at = %(source_modified_at)s,
  nul_bytes = %(nul_bytes)s, schema_changes = %(schema_changes)s,
  row_counts = %(row_counts)s, quarantined = %(quarantined)s,
  profile = %(profile)s, advice = %(advice)s
WHERE id = %(id)s"""

STATUS = """
SELECT DISTINCT ON (h.target) h.*,
  (SELECT max(g.source_modified_at) FROM {} g
    WHERE g.target = h.target AND g.outcome IN ('loaded', 'nothing_new')) AS loaded_from
FROM {} h WHERE h.outcome <> 'resumed' ORDER BY h.target, h.id DESC"""

# Columns that tables made by an earlier version lack.
ADDED = (
    *("source text", "cursor_column text", "nul_bytes jsonb", "schema_changes jsonb"),
    *("prefix text", "stage text", "fingerprint text", "exported_at timestamptz"),
    *("snapshot_at timestamptz", "expected_rows bigint", "resumed_from text", "location text"),
    "shape text",
    *("row_counts jsonb", "quarantined bigint", "made_for text", "left_objects boolean"),
    *("profile jsonb", "advice text"),
)
COMPLETE = f"""
SELECT NULLIF(count(*) = {len(ADDED)}, false) FROM pg_attribute WHERE attrelid = to_regclass(%s)
AND attname IN ({", ".join(f"'{column.partition(' ')[0]}'" for column in ADDED)})"""

# The end of each run since the last that went well, that one included, the newest first.
RECENT = """
WITH closed AS (
  SELECT target, max(id) AS id FROM {} WHERE target = ANY (%(targets)s)
    AND outcome = ANY (%(closing)s) GROUP BY target
), ended AS (
  SELECT DISTINCT ON (h.target, h.run_id) h.* FROM {} h LEFT JOIN closed USING (target)
  WHERE h.target = ANY (%(targets)s) AND h.id >= coalesce(closed.id, 0)
  ORDER BY h.target, h.run_id, h.id DESC
)
SELECT target, outcome, started_at, finished_at, error FROM ended ORDER BY id DESC"""

ENDED_WELL = (Outcome.LOADED, Outcome.NOTHING_NEW)


@dataclass(frozen=True, slots=True)
class State:
    """The row of one target in `sync_state`. `known` is False when there is none."""

    known: bool
    last_synced_at: datetime | None


def ensure(conn: Connection[Any], *, target_schema: str, own_schema: str) -> None:
    """Create schemas and tables that are missing. Runs in the caller's transaction.

    One at a time: IF NOT EXISTS does not keep two sessions from creating the same table at once.
    """
    has_state = _exists(conn, "SELECT to_regclass(%s)", _quoted(target_schema, STATE))
    if has_state and is_complete(conn, own_schema):
        return
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('bq2pg:ensure', 0))")
    for schema in dict.fromkeys((target_schema, own_schema)):
        if not _exists(conn, "SELECT to_regnamespace(quote_ident(%s))", schema):
            conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    conn.execute(sql.SQL(CREATE_STATE).format(_table(target_schema, STATE)))
    history = _table(own_schema, HISTORY)
    conn.execute(sql.SQL(CREATE_HISTORY).format(history))
    for column in ADDED:
        conn.execute(sql.SQL(f"ALTER TABLE {{}} ADD COLUMN IF NOT EXISTS {column}").format(history))


def is_complete(conn: Connection[Any], own_schema: str) -> bool:
    """Whether sync_history is there with all its columns."""
    return _exists(conn, COMPLETE, _quoted(own_schema, HISTORY))


def read_cursor(conn: Connection[Any], target: TargetName) -> State:
    """How far `target` is loaded. A missing `sync_state` is a missing row."""
    if not _exists(conn, "SELECT to_regclass(%s)", _quoted(target.schema, STATE)):
        return State(known=False, last_synced_at=None)
    row = conn.execute(
        sql.SQL("SELECT last_synced_at FROM {} WHERE table_name = %s").format(
            _with_values(target.schema, STATE)
        ),
        [str(target)],
    ).fetchone()
    return State(known=row is not None, last_synced_at=row[0] if row else None)


def read_origin(conn: Connection[Any], own_schema: str, target: TargetName) -> Origin | None:
    """What the last load of `target` read, as far as it is recorded."""
    if not is_complete(conn, own_schema):
        return None
    row = conn.execute(
        sql.SQL(
            "SELECT source, cursor_column, COALESCE(shape, '') FROM {} "
            "WHERE target = %s AND outcome = %s AND source IS NOT NULL ORDER BY id DESC LIMIT 1"
        ).format(_with_values(own_schema, HISTORY)),
        [str(target), Outcome.LOADED],
    ).fetchone()
    return Origin(*row) if row is not None else None


def write_cursor(conn: Connection[Any], target: TargetName, value: CursorValue | None) -> None:
    """Store the cursor in the transaction that publishes the rows."""
    conn.execute(
        sql.SQL(
            "INSERT INTO {} (table_name, last_synced_at) VALUES (%s, %s) "
            "ON CONFLICT (table_name) DO UPDATE SET last_synced_at = EXCLUDED.last_synced_at"
        ).format(_with_values(target.schema, STATE)),
        [str(target), as_stored(value)],
    )


def begin(
    conn: Connection[Any], own_schema: str, *, run: RunId, table: str, target: TargetName
) -> int:
    """Write the attempt's row; attempts of the same target left running died: say so.

    Only called under the target's lock, so a running row of this target has no living owner.
    """
    history = _table(own_schema, HISTORY)
    mark_killed(conn, own_schema, target)
    row = conn.execute(
        sql.SQL(
            "INSERT INTO {} (run_id, attempt, launcher, table_name, target, outcome) "
            "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id"
        ).format(history),
        [run.id, run.attempt, run.launcher, table, str(target), Outcome.RUNNING],
    ).fetchone()
    assert row is not None
    return int(row[0])


def mark_killed(conn: Connection[Any], own_schema: str, target: TargetName) -> None:
    """Say of the attempts left running that they died. Only called under the target's lock."""
    conn.execute(
        sql.SQL(
            "UPDATE {} SET outcome = %s, finished_at = clock_timestamp(), "
            "error = 'the process ended without a word' WHERE target = %s AND outcome = %s"
        ).format(_table(own_schema, HISTORY)),
        [Outcome.KILLED, str(target), Outcome.RUNNING],
    )


def began(conn: Connection[Any], own_schema: str, *, attempt: int) -> tuple[datetime, datetime]:
    """When the attempt began, and when its run's first attempt at the same target did."""
    row = conn.execute(
        sql.SQL(
            "SELECT h.started_at, min(f.started_at) FROM {} h JOIN {} f USING (run_id, target) "
            "WHERE h.id = %s GROUP BY h.started_at"
        ).format(_with_values(own_schema, HISTORY), _with_values(own_schema, HISTORY)),
        [attempt],
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def refuse(
    conn: Connection[Any], own_schema: str, *, run: RunId, table: str, target: TargetName, why: str
) -> None:
    """Write the row of an attempt that another run kept from starting."""
    conn.execute(
        sql.SQL(
            "INSERT INTO {} (run_id, attempt, launcher, table_name, target, outcome, error, "
            "finished_at) VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())"
        ).format(_table(own_schema, HISTORY)),
        [run.id, run.attempt, run.launcher, table, str(target), Outcome.LOCKED, why],
    )


def resume(
    conn: Connection[Any], own_schema: str, *, run: RunId, table: str, target: TargetName
) -> None:
    """Write that a person closed the target's circuit; failures before it no longer count."""
    conn.execute(
        sql.SQL(
            "INSERT INTO {} (run_id, attempt, launcher, table_name, target, outcome, finished_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp())"
        ).format(_table(own_schema, HISTORY)),
        [run.id, run.attempt, run.launcher, table, str(target), Outcome.RESUMED],
    )


def recent_runs(
    conn: Connection[Any], own_schema: str, targets: Sequence[TargetName]
) -> dict[str, list[PastRun]]:
    """By target, how its runs since the last good one ended; the newest first."""
    if not _exists(conn, "SELECT to_regclass(%s)", _quoted(own_schema, HISTORY)):
        return {}
    history, found = _with_values(own_schema, HISTORY), dict[str, list[PastRun]]()
    for target, outcome, started_at, ended_at, error in conn.execute(
        sql.SQL(RECENT).format(history, history),
        {"targets": [str(t) for t in targets], "closing": [str(o) for o in CLOSING]},
    ):
        run = PastRun(Outcome(outcome), started_at, ended_at, error)
        found.setdefault(target, []).append(run)
    return found


def record_plan(conn: Connection[Any], own_schema: str, *, attempt: int, plan: SyncPlan) -> None:
    """Complete the attempt's row with what was decided, so that a failure shows it too."""
    window = plan.window
    conn.execute(
        sql.SQL(
            "UPDATE {} SET mode = %s, export_way = %s, source = %s, cursor_column = %s, "
            "window_low = %s, window_high = %s, cursor_before = %s, shape = %s WHERE id = %s"
        ).format(_table(own_schema, HISTORY)),
        [
            plan.publish,
            plan.way,
            plan.origin.source,
            plan.origin.cursor_column,
            as_stored(window.low) if window else None,
            as_stored(window.high) if window else None,
            as_stored(plan.cursor.value) if plan.cursor else None,
            plan.origin.shape,
            attempt,
        ],
    )


def finish(conn: Connection[Any], own_schema: str, *, attempt: int, result: SyncResult) -> None:
    """Close the attempt's row of a run that did what it should."""
    conn.execute(
        sql.SQL(FINISH).format(_table(own_schema, HISTORY)),
        {
            "outcome": result.outcome,
            "mode": result.publish,
            "way": result.way,
            "rows": result.rows,
            "bytes": result.bytes,
            "shards": result.shards,
            "seconds": result.seconds,
            "phases": Jsonb(dict(result.phases)),
            "job_id": result.job_id,
            "bytes_processed": result.bytes_processed,
            "bytes_billed": result.bytes_billed,
            "cost": result.cost,
            "cursor_before": as_stored(result.cursor_before),
            "cursor_after": as_stored(result.cursor_after),
            "source_modified_at": result.source_modified_at,
            "nul_bytes": Jsonb(dict(result.nul_bytes)),
            "schema_changes": Jsonb([asdict(c) for c in result.schema_changes]),
            "row_counts": Jsonb(dict(result.row_counts)),
            "quarantined": result.quarantined,
            "profile": Jsonb(result.profile.record) if result.profile else None,
            "advice": result.advice,
            "id": attempt,
        },
    )


def fail(
    conn: Connection[Any],
    own_schema: str,
    *,
    attempt: int,
    outcome: Outcome,
    error: str,
    spent: Spent,
) -> None:
    """Close the attempt's row of a run that failed or was cancelled before it published."""
    conn.execute(
        sql.SQL(
            "UPDATE {} SET outcome = %s, error = %s, finished_at = clock_timestamp(), "
            "seconds = %s, phases = %s, job_id = %s, bytes_billed = %s, cost = %s "
            "WHERE id = %s AND outcome = 'running'"
        ).format(_table(own_schema, HISTORY)),
        [
            outcome,
            error.replace("\0", "\\0"),
            spent.seconds,
            Jsonb(dict(spent.phases)),
            spent.job_id,
            spent.bytes_billed,
            spent.cost,
            attempt,
        ],
    )


def statuses(conn: Connection[Any], own_schema: str) -> list[TableStatus]:
    """The last attempt at every target."""
    if not _exists(conn, "SELECT to_regclass(%s)", _quoted(own_schema, HISTORY)):
        return []
    history = _table(own_schema, HISTORY)
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql.SQL(STATUS).format(history, history)).fetchall()
    return [
        TableStatus(
            table=row["table_name"],
            target=row["target"],
            outcome=Outcome(row["outcome"]),
            mode=row["mode"] or "",
            rows=row["rows"] or 0,
            seconds=row["seconds"] or 0.0,
            finished_at=row["finished_at"],
            cursor=row["cursor_after" if row["outcome"] in ENDED_WELL else "cursor_before"],
            bytes_billed=row["bytes_billed"] or 0,
            run_id=row["run_id"],
            error=row["error"],
            source_modified_at=row["loaded_from"],
            advice=row.get("advice"),  # an earlier version made the table without it
        )
        for row in rows
    ]


def row_estimate(conn: Connection[Any], target: TargetName) -> int | None:
    """The rows of the target as its last ANALYZE saw them; exact for tables below about 240 MB."""
    row = conn.execute(
        "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)",
        [_quoted(target.schema, target.table)],
    ).fetchone()
    return int(row[0]) if row is not None and row[0] >= 0 else None


def _exists(conn: Connection[Any], query: str, name: str) -> bool:
    row = conn.execute(query, [name]).fetchone()
    return row is not None and row[0] is not None


def _quoted(schema: str, table: str) -> str:
    return _table(schema, table).as_string()


def _table(schema: str, table: str) -> sql.Identifier:
    return sql.Identifier(schema, table)


def _with_values(schema: str, table: str) -> sql.SQL:
    """The same for a statement with parameters, where psycopg takes a % for a placeholder."""
    return sql.SQL(_quoted(schema, table).replace("%", "%%"))
