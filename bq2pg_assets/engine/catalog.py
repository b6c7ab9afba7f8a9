"""Reads what a table is and what hangs on it.

Belongs here: running the queries of catalog_sql.py, and renaming what they found. Does not: what
follows from the answers (carry.py), any other change.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from bq2pg_assets.engine import catalog_sql, postgres_sql
from bq2pg_assets.engine.carry import Catalog, Item, order_readers
from bq2pg_assets.engine.model import TargetName

AS_IT_IS: Mapping[str, str | None] = {"table": None, "schema": None, "stem": None}


def read(conn: psycopg.Connection[Any], oid: int) -> Catalog:
    """Everything, as it is. Raises ValueError when views read one another in a circle."""
    with _qualified(conn):
        order, kinds = _readers(conn, oid)
        return Catalog(
            _items(conn, catalog_sql.ITEMS, {"oid": oid, **AS_IT_IS}),
            tuple(_reader(conn, reader, kind=kinds[reader]) for reader in order),
        )


def read_for_stage(
    conn: psycopg.Connection[Any], oid: int, *, stage: TargetName
) -> tuple[Item, ...]:
    """The table's things, as they are made on the staging table, and how they are renamed later.

    Index names are unique in a schema, which other tables' staging shares.
    """
    names = {
        "table": postgres_sql.identifier(stage).as_string(),
        "schema": stage.schema,
        "stem": stem(stage),
    }
    with _qualified(conn):
        return _items(conn, catalog_sql.ITEMS, {"oid": oid, **names})


def stem(stage: TargetName) -> str:
    """How the names begin of all that belongs to a staging table."""
    return f"stage_{stage.table.rpartition('_')[2]}_"


def rename_all(conn: psycopg.Connection[Any], schema: str, *, old: str, new: str) -> bool:
    """Let the names of indexes and sequences begin otherwise. Returns whether indexes were found.

    The index of a constraint takes its constraint along.
    """
    found = conn.execute(catalog_sql.NAMED, {"schema": schema, "old": old, "new": new}).fetchall()
    for _, statement in found:
        conn.execute(sql.SQL(statement))
    return any(kind == "i" for kind, _ in found)


def obstacles(conn: psycopg.Connection[Any], oid: int) -> tuple[str, ...]:
    """What a swap could not carry over, each in words; nothing where it can carry everything."""
    with _qualified(conn):
        try:
            order, kinds = _readers(conn, oid)
        except ValueError as error:
            return (str(error),)
        anew = [oid, *(reader for reader in order if kinds[reader] == "m")]
        values = {"oids": anew, "readers": order}
        return tuple(says for (says,) in conn.execute(catalog_sql.PROBLEMS, values))


def find(conn: psycopg.Connection[Any], target: TargetName) -> int:
    """The table's OID, now. Raises psycopg's UndefinedTable when it is gone."""
    row = conn.execute(
        "SELECT %s::regclass::oid", [postgres_sql.identifier(target).as_string()]
    ).fetchone()
    assert row is not None
    return int(row[0])


def _readers(conn: psycopg.Connection[Any], oid: int) -> tuple[list[int], dict[int, str]]:
    reads: dict[int, set[int]] = {}
    kinds: dict[int, str] = {}
    for reader, source, kind in conn.execute(catalog_sql.READERS, {"oid": oid}):
        reads.setdefault(reader, set()).add(source)
        kinds[reader] = kind
    return order_readers(oid, reads, kinds), kinds


def _reader(conn: psycopg.Connection[Any], oid: int, *, kind: str) -> tuple[Item, ...]:
    if kind == "v":
        return _items(conn, catalog_sql.VIEW, {"oid": oid})
    own = _items(conn, catalog_sql.MATERIALIZED_VIEW, {"oid": oid})
    return own + _items(conn, catalog_sql.ITEMS, {"oid": oid, **AS_IT_IS})


def _items(
    conn: psycopg.Connection[Any], query: str, values: Mapping[str, Any]
) -> tuple[Item, ...]:
    return tuple(Item(*row) for row in conn.execute(query, values))


@contextmanager
def _qualified(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """No search_path, so that PostgreSQL qualifies every name it writes; nothing else changes."""
    with conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL search_path = ''")
        yield
