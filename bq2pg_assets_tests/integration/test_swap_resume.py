"""A swap that died is gone on with, unless the table is no longer the one it was made for.

Belongs here: which staging tables of dead swaps are used again, and that the table is whole either
way. Does not: exports that are used again (test_resume.py), the swap itself (test_swap.py).
"""

import uuid
from pathlib import Path
from typing import Any

import pytest

from bq2pg_assets.engine.model import RunId, RunOptions
from bq2pg_assets_tests.integration.helpers import World
from bq2pg_assets_tests.integration.test_resume import counting, die
from bq2pg_assets_tests.integration.test_swap import schema_of

ONE = "SELECT 1 AS id, 'a' AS v"
TWO = "SELECT id, 'b' AS v FROM UNNEST([2, 3]) AS id"
TABLE = """
ALTER TABLE t ADD PRIMARY KEY (id), ADD own bigint GENERATED ALWAYS AS IDENTITY,
  ADD CONSTRAINT short UNIQUE (v, id), ADD CONSTRAINT filled CHECK (v <> ''),
  ADD EXCLUDE USING hash (id WITH =);
CREATE INDEX by_v ON t (lower(v)) WHERE id > 0;
COMMENT ON INDEX by_v IS 'by value';
CREATE VIEW w AS SELECT v FROM t;
CREATE STATISTICS related ON id, v FROM t"""


@pytest.fixture
def loaded(world: World) -> World:
    """A world whose table `t` holds one row and has much on it."""
    world.sync(query=ONE)
    world.pg(TABLE)
    return world


@pytest.mark.parametrize("phase", ["verify", "index", "publish"])
def test_what_a_dead_swap_staged_and_built_takes_the_tables_place(
    loaded: World, emulators: Path, phase: str
) -> None:
    shards, before = counting(loaded), schema_of(loaded, emulators)
    die(loaded, phase=phase, query=TWO)
    loaded.pg("INSERT INTO t (id, v) VALUES (9, 'late')")  # takes number 2
    die(loaded, phase=phase, query=TWO, shards=shards)
    result = loaded.sync(query=TWO, shards=shards)
    assert shards.read == []
    assert (result.rows, result.checks[-1].passed) == (2, True)
    assert schema_of(loaded, emulators) == before
    assert loaded.pg("SELECT id, v FROM t ORDER BY id") == [(2, "b"), (3, "b")]
    loaded.pg("INSERT INTO t (id, v) VALUES (4, 'c')")
    numbers = [own for (own,) in loaded.pg("SELECT own FROM t ORDER BY id")]
    assert numbers == [2, 3, 4]
    loaded.no_leftovers()


CHANGES = {
    "index": "CREATE INDEX meanwhile ON t (v)",
    "index lost": "DROP INDEX by_v",
    "index made again": "DROP INDEX by_v; CREATE INDEX by_v ON t (lower(v)) WHERE id > 0",
    "check": "ALTER TABLE t ADD CONSTRAINT few CHECK (id < 100)",
    "check lost": "ALTER TABLE t DROP CONSTRAINT filled",
    "unique": "ALTER TABLE t ADD CONSTRAINT other UNIQUE (id, v)",
    "foreign key": "CREATE TABLE kind (id bigint PRIMARY KEY); "
    "INSERT INTO kind VALUES (1), (2), (3); ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES kind",
    "trigger": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "NEW.v := 'shaped'; RETURN NEW; END $$; "
    "CREATE TRIGGER shape BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "option": "ALTER TABLE t SET (fillfactor = 55)",
    "unlogged": "ALTER TABLE t SET UNLOGGED",
    "identity": "ALTER TABLE t ALTER own SET INCREMENT BY 10",
    "collation": 'DROP VIEW w; ALTER TABLE t ALTER v TYPE text COLLATE "C"',
    "storage": "ALTER TABLE t ALTER v SET STORAGE EXTERNAL",
    "view": "CREATE VIEW another AS SELECT id FROM t",
    "grant": "GRANT SELECT ON t TO PUBLIC",
    "row security": "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (true)",
    "replica identity": "ALTER TABLE t REPLICA IDENTITY FULL",
    "publication": "CREATE PUBLICATION shown FOR TABLE t",
    "comment": "COMMENT ON COLUMN t.v IS 'changed'",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_table_that_changed_since_a_swap_died_is_copied_anew(
    loaded: World, emulators: Path, change: str
) -> None:
    shards = counting(loaded)
    die(loaded, phase="publish", query=TWO)
    loaded.pg(change)
    before = schema_of(loaded, emulators)
    result = loaded.sync(query=TWO, shards=shards)
    assert result.resumed_from is not None
    assert len(shards.read) == result.shards == 1
    assert schema_of(loaded, emulators) == before
    value = "shaped" if "shaped" in change else "b"
    assert loaded.pg("SELECT id, v FROM t ORDER BY id") == [(2, value), (3, value)]
    loaded.no_leftovers()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ADD another text",
        "ALTER TABLE t ALTER v SET DEFAULT 'x'",
        "ALTER TABLE t RENAME TO elsewhere",
        "DROP TABLE t CASCADE",
    ],
)
def test_a_table_whose_columns_changed_since_a_swap_died_has_an_export_of_its_own(
    loaded: World, emulators: Path, change: str
) -> None:
    die(loaded, phase="publish", query=TWO)
    loaded.pg(change)
    before = schema_of(loaded, emulators)
    result = loaded.sync(query=TWO)
    assert result.resumed_from is None
    assert set(schema_of(loaded, emulators)) >= set(before)
    assert loaded.pg("SELECT id, v FROM t ORDER BY id") == [(2, "b"), (3, "b")]
    assert loaded.stages() == []


def test_a_stage_from_which_older_rows_were_dropped_is_copied_anew(world: World) -> None:
    at = "TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at"
    rows = f"SELECT id, {at} FROM UNNEST([1, 1, 2]) AS id"
    given: dict[str, Any] = {"query": rows, "mode": "merge", "key": ["id"]}
    world.sync(**given)
    shards, run, full = counting(world), uuid.uuid4().hex, RunOptions(full_refresh=True)
    die(world, phase="publish", options=full, run=RunId(run), **given)
    result = world.sync(options=full, run=RunId(run, 1), shards=shards, **given)
    assert result.resumed_from is not None
    assert len(shards.read) == 1
    assert result.rows == 2
    assert [row[0] for row in world.rows("t")] == [1, 2]
    world.no_leftovers()


def test_a_dead_swap_is_not_gone_on_with_by_truncating(loaded: World) -> None:
    die(loaded, phase="publish", query=TWO)
    result = loaded.sync(query=TWO, replace_strategy="truncate")
    assert result.resumed_from is None
    assert loaded.pg("SELECT id, v FROM t ORDER BY id") == [(2, "b"), (3, "b")]
    assert loaded.stages() == []
