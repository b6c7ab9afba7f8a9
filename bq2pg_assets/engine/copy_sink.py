"""COPY into a staging table, over a connection of its own.

Belongs here: streams of bytes into PostgreSQL, and remembering which are in. Does not: opening the
connection (session.py), what the bytes say (encode.py), which come next (copy.py).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.model import StagedShard
from bq2pg_assets.engine.postgres_errors import postgres_errors


class CopySink:
    """One connection that copies streams of bytes into the staging table, one after another."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        statement: sql.Composed,
        *,
        note: Callable[[StagedShard], None],
        where: str,
        cancel: CancelToken,
    ) -> None:
        self._conn, self._statement, self._where, self._cancel = conn, statement, where, cancel
        self._note = note

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is copied and noted inside is kept when the block ends well, else none of it."""
        with postgres_errors(self._where, cancel=self._cancel), self._conn.transaction():
            yield

    def note(self, shard: StagedShard) -> None:
        """Remember that the shard is staged."""
        with postgres_errors(self._where, cancel=self._cancel):
            self._note(shard)

    def copy(self, pieces: Iterable[bytes]) -> int:
        """One COPY of all pieces. Returns the server's row count."""
        with postgres_errors(self._where, cancel=self._cancel):
            cursor = self._conn.cursor()
            with cursor.copy(self._statement) as copy:
                for piece in pieces:
                    copy.write(piece)
            return cursor.rowcount
