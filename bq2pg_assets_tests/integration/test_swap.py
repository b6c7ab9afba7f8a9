"""A full load puts a new table in the old one's place, and everything on it is as before.

Belongs here: what is carried over, what cannot be, the lock, `replace_strategy: truncate`. Does
not: which rows are loaded (test_modes.py), which columns change (test_evolution.py).
"""

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import CancelledError, TargetError, VerifyError
from bq2pg_assets.engine.model import Outcome, RunOptions
from bq2pg_assets_tests.integration.everything import DDL, PUBLICATION, dump
from bq2pg_assets_tests.integration.helpers import (
    Gate,
    Snapshot,
    World,
    background,
    locking,
    refused,
    until,
    waiting,
)
from bq2pg_assets_tests.integration.test_kill import until_it_holds, victim

ROWS = (
    "SELECT x AS id, CONCAT('n', CAST(x AS STRING)) AS name, 1 AS kind_id FROM UNNEST([{ids}]) AS x"
)
THE_TABLE = {"target": 'shop."The table"', "name": "t"}
ONE = "SELECT 1 AS id, 'a' AS v"
TWO = "SELECT 2 AS id, 'b' AS v"


@pytest.fixture
def roles(world: World) -> Iterator[tuple[str, str]]:
    """Two roles without any attribute, one of which may create in the database."""
    names = [f"role_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    for name in names:
        world.pg(f"CREATE ROLE {name} LOGIN")
    world.pg(f"GRANT CREATE ON DATABASE {world.database} TO {names[0]}")
    world.pg(f"GRANT CREATE ON SCHEMA public TO {names[0]}")
    yield names[0], names[1]
    for name in names:
        world.pg(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.fixture
def loaded(world: World) -> World:
    """A world whose table `t` holds one row."""
    world.sync(query=ONE)
    return world


def schema_of(world: World, emulators: Path) -> list[str]:
    statements = dump(world.dsn, emulators, "--schema-only")
    return [s for s in statements if "sync_state" not in s]


def replaced_twice(world: World, emulators: Path, *, dsn: str | None = None) -> None:
    before = schema_of(world, emulators)
    for ids in ("1, 2", "1, 2, 3"):
        world.make_source(ROWS.replace("{ids}", ids))
        result = world.sync(dsn=dsn, options=RunOptions(full_refresh=True), **THE_TABLE)
        assert schema_of(world, emulators) == before
        assert result.checks[-1].name == "catalog"
        assert result.checks[-1].passed
        assert result.checks[-1].numbers["compared"] > 100
        assert result.lock_seconds is not None
        assert 0 < result.lock_seconds < result.seconds
    world.no_leftovers()


def test_everything_on_a_table_is_there_after_two_replacements(
    world: World, roles: tuple[str, str], emulators: Path
) -> None:
    world.pg(DDL.replace("{role}", roles[1]))
    world.pg(PUBLICATION)
    replaced_twice(world, emulators)
    assert world.pg('SELECT id, name, shaped, doubled FROM shop."The table" ORDER BY id') == [
        (1, "n1", "N1", 2),
        (2, "n2", "N2", 4),
        (3, "n3", "N3", 6),
    ]
    # Views and materialized views show the new rows, those that were not filled are not.
    assert world.pg("SELECT n FROM shop.of_view ORDER BY n") == [(2,), (3,), (4,)]
    assert world.pg("SELECT kind_id, n FROM shop.sums") == [(1, 3)]
    assert world.pg("SELECT n FROM shop.total") == [(3,)]
    filled = "SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1"
    assert world.pg(filled) == [
        ("apart_from_it", True),
        ("sums", True),
        ("total", True),
        ("unfilled", False),
    ]


def test_a_role_that_is_no_superuser_carries_over_all_that_it_owns(
    world: World, roles: tuple[str, str], emulators: Path
) -> None:
    owner, other = roles
    dsn = psycopg.conninfo.make_conninfo(world.dsn, user=owner)
    world.pg(DDL.replace("{role}", other), dsn=dsn)
    world.pg(PUBLICATION.split(";")[0], dsn=dsn)
    replaced_twice(world, emulators, dsn=dsn)


def test_a_member_of_the_group_that_owns_the_table_replaces_it(
    world: World, roles: tuple[str, str], emulators: Path
) -> None:
    member, group = roles
    dsn = psycopg.conninfo.make_conninfo(world.dsn, user=member)
    world.pg(f"GRANT {group} TO {member}; CREATE SCHEMA shop AUTHORIZATION {group}")
    world.pg(f'SET ROLE {group}; CREATE TABLE shop."The table" (id bigint PRIMARY KEY, name text)')
    world.pg(f'GRANT SELECT ON shop."The table" TO {member}')
    world.pg(f"ALTER DEFAULT PRIVILEGES FOR ROLE {member} GRANT SELECT ON TABLES TO PUBLIC")
    world.make_source("SELECT 1 AS id, 'a' AS name")
    before = schema_of(world, emulators)
    world.sync(dsn=dsn, **THE_TABLE)
    world.sync(dsn=dsn, **THE_TABLE)
    assert schema_of(world, emulators) == before


def test_numbers_go_on_where_they_were(loaded: World) -> None:
    loaded.pg("ALTER TABLE t ADD counted serial, ADD numbered bigint GENERATED ALWAYS AS IDENTITY")
    loaded.pg("INSERT INTO t (id) SELECT 5 FROM generate_series(1, 10)")
    loaded.sync(query=TWO, options=RunOptions(allow_shrink=True))
    loaded.pg("INSERT INTO t (id) VALUES (3)")
    found = loaded.pg("SELECT id, counted, numbered FROM t ORDER BY id")
    assert found == [(2, 12, 12), (3, 13, 13)]
    sequences = loaded.pg(
        "SELECT relname FROM pg_class WHERE relkind = 'S' AND "
        "relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    assert sequences == [("t_counted_seq",), ("t_numbered_seq",)]


def test_an_unlogged_table_stays_unlogged(loaded: World) -> None:
    loaded.pg("ALTER TABLE t SET UNLOGGED")
    loaded.sync(query=TWO)
    assert loaded.pg("SELECT relpersistence::text FROM pg_class WHERE relname = 't'") == [("u",)]


def test_columns_change_in_the_new_table_and_what_names_them_stays(loaded: World) -> None:
    loaded.pg("ALTER TABLE t ALTER v TYPE varchar(5), ALTER id TYPE integer, ALTER v SET NOT NULL")
    loaded.pg("ALTER TABLE t ADD own text DEFAULT 'mine', ADD CHECK (v <> 'nobody')")
    loaded.pg("CREATE INDEX by_v ON t (lower(v)); CREATE VIEW w AS SELECT count(v) AS n FROM t")
    result = loaded.sync(query="SELECT 3 AS id, CAST(NULL AS STRING) AS v, TRUE AS added")
    assert {c.kind for c in result.schema_changes} == {"widened", "nullable", "added"}
    assert loaded.rows("t") == [(3, None, "mine", True)]
    types = loaded.pg(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert types == [
        ("id", "bigint", False),
        ("v", "text", False),
        ("own", "text", False),
        ("added", "boolean", False),
    ]
    assert loaded.pg(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 't'::regclass"
    ) == [("t_v_check",)]
    assert loaded.pg("SELECT indexname FROM pg_indexes WHERE tablename = 't'") == [("by_v",)]
    loaded.sync(query="SELECT 4 AS id, 'x' AS v")
    assert loaded.rows("t") == [(4, "x", "mine", None)]
    assert loaded.rows("w") == [(1,)]


def test_a_reader_sees_the_old_rows_or_the_new_ones_and_waits_no_longer_than_the_lock(
    world: World,
) -> None:
    rows = "SELECT x AS id, {v} AS v FROM UNNEST(GENERATE_ARRAY(1, 20000)) AS x"
    world.sync(query=rows.format(v=0))
    world.pg("CREATE INDEX ON t (v); CREATE VIEW w AS SELECT * FROM t")
    seen: set[tuple[int, int, int]] = set()
    longest, ended, reading = 0.0, threading.Event(), threading.Event()

    def read() -> float:
        slowest = 0.0
        with psycopg.connect(world.dsn, autocommit=True) as conn:
            while not ended.is_set():
                for relation in ("t", "w"):
                    start = time.monotonic()
                    found = conn.execute(
                        f"SELECT count(*), min(v), max(v) FROM {relation}".encode()
                    ).fetchone()
                    slowest = max(slowest, time.monotonic() - start)
                    assert found is not None
                    seen.add(found)
                reading.set()
        return slowest

    with background(read) as reader:
        try:
            assert reading.wait(10)
            locks = [world.sync(query=rows.format(v=v)).lock_seconds or 0.0 for v in (1, 2, 3)]
        finally:
            ended.set()
        longest = reader.result(timeout=10)
    assert seen <= {(20000, v, v) for v in range(4)}
    assert len(seen) > 1
    assert longest < max(locks) + 0.5


@pytest.mark.parametrize("strategy", ["swap", "truncate"])
def test_an_older_snapshot_sees_the_table_empty_unless_it_has_read_it(
    loaded: World, strategy: str
) -> None:
    with psycopg.connect(loaded.dsn) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT 1")
        loaded.sync(query=TWO, replace_strategy=strategy)
        assert conn.execute("SELECT * FROM t").fetchall() == []
        conn.rollback()
        assert conn.execute("SELECT * FROM t").fetchall() == [(2, "b")]
        with pytest.raises(TargetError, match="A reader or writer held the table"):
            loaded.sync(query=ONE, replace_strategy=strategy)


def test_a_reader_that_does_not_end_makes_the_run_give_way_and_keep_what_is_built(
    loaded: World,
) -> None:
    before = Snapshot.of(loaded)
    with (
        locking(loaded.dsn, "SELECT * FROM t") as holder,
        pytest.raises(TargetError, match=f"now by process {holder.info.backend_pid}") as stopped,
    ):
        loaded.sync(query=TWO)
    assert "run again when it has ended" in stopped.value.way_out
    assert (stopped.value.retryable, stopped.value.sqlstate) == (True, "55P03")
    assert Snapshot.of(loaded) == before
    assert loaded.sync(query=TWO).resumed_from is not None
    assert loaded.rows("t") == [(2, "b")]
    loaded.no_leftovers()


def test_a_reader_that_ends_in_time_only_delays_the_run(loaded: World) -> None:
    with background(lambda: loaded.sync(query=TWO)) as run:
        with locking(loaded.dsn, "SELECT * FROM t"):
            until(lambda: waiting(loaded, "public.t"), "the run to ask for the lock")
            until(lambda: not waiting(loaded, "public.t"), "the run to give way")
            assert loaded.rows("t") == [(1, "a")]
        assert run.result(timeout=30).outcome is Outcome.LOADED
    assert loaded.rows("t") == [(2, "b")]


def test_a_cancel_while_the_run_waits_for_the_lock_ends_it_at_once(loaded: World) -> None:
    token, before = CancelToken(), Snapshot.of(loaded)
    with (
        locking(loaded.dsn, "SELECT * FROM t"),
        background(lambda: loaded.sync(query=TWO, cancel=token)) as run,
    ):
        until(lambda: waiting(loaded, "public.t"), "the run to ask for the lock")
        token.cancel()
        assert isinstance(run.exception(timeout=5), CancelledError)
    assert Snapshot.of(loaded) == before
    loaded.no_leftovers()


OBSTACLES = [
    ("CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.f(public.t)"),
    (
        "CREATE FUNCTION f() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t'",
        "function public.f()",
    ),
    (
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT max(id) FROM t; END",
        "function public.f()",
    ),
    ("CREATE TABLE other (whole t)", "column whole of table public.other"),
    ("CREATE TABLE other (whole t[])", "column whole of table public.other"),
    ("CREATE TABLE heir () INHERITS (t)", "public.heir inherits from public.t"),
    ("CREATE TABLE over_t (id bigint, v text); ALTER TABLE t INHERIT over_t", "t inherits from"),
    (
        "CREATE TABLE p (LIKE t) PARTITION BY LIST (id); ALTER TABLE p ATTACH PARTITION t DEFAULT",
        "it is a partition",
    ),
    (
        "CREATE TABLE other (id bigint); CREATE POLICY mine ON other "
        "USING (id IN (SELECT id FROM t))",
        "policy mine on table public.other",
    ),
    (
        "CREATE VIEW w AS SELECT 1 AS id; "
        "CREATE RULE r AS ON INSERT TO w DO INSTEAD INSERT INTO t VALUES (1)",
        "rule r on view public.w",
    ),
    (
        "ALTER TABLE t ADD n bigint GENERATED ALWAYS AS IDENTITY; "
        "CREATE TABLE other (n bigint DEFAULT nextval('t_n_seq'))",
        "default value for column n of table public.other",
    ),
    (
        "ALTER TABLE t ADD PRIMARY KEY (id); CREATE TABLE other (id bigint REFERENCES t) "
        "PARTITION BY LIST (id)",
        "other, which refers to it, is partitioned",
    ),
]


@pytest.mark.parametrize(("ddl", "says"), OBSTACLES, ids=[says for _, says in OBSTACLES])
def test_what_cannot_be_carried_over_is_named_before_anything_is_exported(
    loaded: World, ddl: str, says: str
) -> None:
    loaded.pg(ddl)
    exports = len(loaded.exports())
    refused(
        loaded,
        TargetError,
        says=says,
        way_out="replace_strategy: truncate",
        retryable=False,
        query=TWO,
    )
    assert len(loaded.exports()) == exports
    loaded.sync(query=TWO, replace_strategy="truncate")
    assert loaded.pg("SELECT id, v FROM t") == [(2, "b")]


def test_a_partitioned_table_is_named_and_truncate_keeps_it_with_its_partitions(
    world: World,
) -> None:
    world.pg("CREATE TABLE t (id bigint, v text) PARTITION BY RANGE (id)")
    world.pg("CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (2)")
    world.pg("CREATE TABLE high PARTITION OF t FOR VALUES FROM (2) TO (9)")
    refused(
        world,
        TargetError,
        says="it is partitioned",
        way_out="replace_strategy: truncate",
        retryable=False,
        query=ONE,
    )
    world.sync(query=ONE, replace_strategy="truncate")
    world.sync(query=TWO, replace_strategy="truncate")
    assert (world.rows("low"), world.rows("high")) == ([], [(2, "b")])


def test_a_view_of_somebody_else_is_named_and_truncate_keeps_it(
    world: World, roles: tuple[str, str]
) -> None:
    owner, other = roles
    dsn = psycopg.conninfo.make_conninfo(world.dsn, user=owner)
    world.sync(query=ONE, dsn=dsn)
    world.pg(f"CREATE VIEW theirs AS SELECT id FROM t; ALTER VIEW theirs OWNER TO {other}")
    world.pg(f"GRANT SELECT ON t TO {other}")
    refused(
        world,
        TargetError,
        says=f"public.theirs belongs to {other}",
        way_out="replace_strategy: truncate",
        retryable=False,
        query=TWO,
        dsn=dsn,
    )
    world.sync(query=TWO, dsn=dsn, replace_strategy="truncate")
    assert world.rows("theirs") == [(2,)]


def test_grants_that_another_role_made_are_named(loaded: World, roles: tuple[str, str]) -> None:
    loaded.pg(f"GRANT SELECT ON t TO {roles[0]} WITH GRANT OPTION")
    loaded.pg(f"SET ROLE {roles[0]}; GRANT SELECT ON t TO {roles[1]}")
    refused(
        loaded,
        TargetError,
        says=f"SELECT was granted on public.t by {roles[0]}, who does not own it",
        way_out="replace_strategy: truncate",
        retryable=False,
        query=TWO,
    )


def test_truncate_keeps_the_table_itself_and_never_fires_its_delete_triggers(
    loaded: World,
) -> None:
    loaded.pg("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
    loaded.pg("CREATE TRIGGER no BEFORE DELETE ON t EXECUTE FUNCTION no()")
    oid = loaded.pg("SELECT 't'::regclass::oid")
    result = loaded.sync(query=TWO, replace_strategy="truncate")
    assert loaded.pg("SELECT 't'::regclass::oid") == oid
    assert loaded.rows("t") == [(2, "b")]
    assert result.lock_seconds is not None


def test_truncate_deletes_where_a_foreign_key_refers_to_the_table(loaded: World) -> None:
    loaded.pg("ALTER TABLE t ADD PRIMARY KEY (id); CREATE TABLE c (id bigint REFERENCES t)")
    loaded.sync(query=TWO, replace_strategy="truncate")
    assert loaded.rows("t") == [(2, "b")]


def test_a_reference_to_a_row_that_is_gone_fails_and_rolls_everything_back(
    loaded: World, emulators: Path
) -> None:
    loaded.pg("ALTER TABLE t ADD PRIMARY KEY (id); CREATE TABLE c (id bigint REFERENCES t)")
    loaded.pg("INSERT INTO c VALUES (1); CREATE MATERIALIZED VIEW m AS SELECT id FROM t")
    before = schema_of(loaded, emulators)
    error = refused(
        loaded, TargetError, says="c_id_fkey", way_out="reference", retryable=False, query=TWO
    )
    assert isinstance(error, TargetError)
    assert error.sqlstate == "23503"
    assert schema_of(loaded, emulators) == before
    assert loaded.rows("m") == [(1,)]


def test_anything_that_is_not_as_it_was_fails_the_run_and_rolls_it_back(
    loaded: World, emulators: Path
) -> None:
    """An event trigger stands for whatever else could come between."""
    loaded.pg("COMMENT ON TABLE t IS 'as it was'; CREATE INDEX by_v ON t (v)")
    loaded.pg(
        "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF to_regclass('public.by_v') IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class "
        "WHERE relkind = 'r' AND starts_with(relname, 'stage_')) THEN DROP INDEX public.by_v; "
        "CREATE INDEX meddled ON public.t (v); END IF; END $$"
    )
    loaded.pg(
        "CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('COMMENT') "
        "EXECUTE FUNCTION meddle()"
    )
    try:
        loaded.pg("ALTER EVENT TRIGGER e DISABLE")
        before = schema_of(loaded, emulators)
        loaded.pg("ALTER EVENT TRIGGER e ENABLE")
        with pytest.raises(VerifyError) as stopped:
            loaded.sync(query=TWO)
        loaded.pg("ALTER EVENT TRIGGER e DISABLE")
        assert "index by_v of public.t is lost; index meddled of public.t is new" in str(
            stopped.value
        )
        assert [(c.name, c.passed) for c in stopped.value.checks][-1] == ("catalog", False)
        assert schema_of(loaded, emulators) == before
        assert loaded.rows("t") == [(1, "a")]
    finally:
        loaded.pg("DROP EVENT TRIGGER e")


def test_a_table_that_changed_while_its_rows_were_copied_is_not_replaced(loaded: World) -> None:
    gate = Gate("publish")
    with background(lambda: loaded.sync(query=TWO, report=gate)) as run:
        gate.wait()
        loaded.pg("CREATE INDEX meanwhile ON t (v)")
        gate.open()
        error = run.exception(timeout=30)
    assert isinstance(error, TargetError)
    assert error.retryable
    assert "index meanwhile of public.t is new" in str(error)
    assert loaded.rows("t") == [(1, "a")]
    loaded.sync(query=TWO)
    assert loaded.pg("SELECT to_regclass('meanwhile') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("hold", ["index", "publish"])
def test_a_run_killed_before_the_exchange_leaves_the_table_and_the_next_replaces_it(
    loaded: World, hold: str
) -> None:
    loaded.pg("ALTER TABLE t ADD n bigint GENERATED ALWAYS AS IDENTITY, ADD PRIMARY KEY (id)")
    before = Snapshot.of(loaded)
    with victim(loaded, hold=hold, query=TWO) as process:
        until_it_holds(process)
    until(lambda: loaded.locks() == 0, "PostgreSQL to notice that the client died")
    assert Snapshot.of(loaded) == before
    assert len(loaded.stages()) == 1
    loaded.sync(query=TWO)
    assert loaded.rows("t") == [(2, "b", 2)]
    assert loaded.stages() == []


def test_a_run_killed_while_it_waits_for_the_lock_leaves_everything(loaded: World) -> None:
    before = Snapshot.of(loaded)
    with (
        locking(loaded.dsn, "SELECT * FROM t"),
        victim(loaded, hold="", query=TWO) as process,
    ):
        until(lambda: waiting(loaded, "public.t"), "the run to ask for the lock")
        process.kill()
        process.wait()
        until(lambda: loaded.locks() == 0, "PostgreSQL to notice that the client died")
    assert Snapshot.of(loaded) == before
