"""Whether bq2pg's own tables are there, asked at once; making those that are not.

Belongs here: the one question that every run asks. Does not: what the tables are (state.py,
leftovers.py, quarantine.py), opening connections.
"""

from typing import Any

from psycopg import Connection, sql

from bq2pg_assets.engine import leftovers, quarantine, state
from bq2pg_assets.engine.postgres_sql import HISTORY, QUARANTINE, SHARDS, STATE

COMPLETE = f"""
SELECT to_regclass(%s) IS NOT NULL AND to_regclass(%s) IS NOT NULL
  AND EXISTS ({leftovers.COMPLETE}) AND ({state.COMPLETE}) IS NOT NULL"""


def ensure(conn: Connection[Any], *, target_schema: str, own_schema: str) -> None:
    """Create schemas, tables and columns that are missing. Runs in the caller's transaction.

    Asked anew by each run: somebody may have dropped them since.
    """
    beside, own = sql.Identifier(target_schema, STATE), (QUARANTINE, SHARDS, HISTORY)
    names = [beside, *(sql.Identifier(own_schema, name) for name in own)]
    if conn.execute(COMPLETE, [name.as_string() for name in names]).fetchone() == (True,):
        return
    state.ensure(conn, target_schema=target_schema, own_schema=own_schema)
    leftovers.ensure(conn, own_schema)
    quarantine.ensure(conn, own_schema)
