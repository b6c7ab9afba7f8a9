"""What arrives in the modes mirror, snapshot and scd2, compared value by value.

Belongs here: content after a source changed, with deletions, NULL keys and duplicates, and after a
run that died. Does not: guards (test_guards.py), cursors (test_late_rows.py).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bq2pg_assets.engine.errors import ConfigError, TargetError, VerifyError
from bq2pg_assets.engine.model import Mode, Outcome, RunId, RunOptions
from bq2pg_assets_tests.integration.helpers import (
    Snapshot,
    World,
    locking,
    refused,
    until,
    waiting,
)
from bq2pg_assets_tests.integration.test_kill import until_it_holds, victim

Rows = Mapping[int | None, str | None]
MIRROR: dict[str, Any] = {"mode": "mirror", "key": ["id"], "max_deletes": 1.0}
SOFT = MIRROR | {"deletes": "soft"}
SNAPSHOT: dict[str, Any] = {"mode": "snapshot"}
SCD2: dict[str, Any] = {"mode": "scd2", "key": ["id"], "cursor": None, "max_deletes": 1.0}
EVERY_MODE = pytest.mark.parametrize(
    "mode", [MIRROR, SOFT, SNAPSHOT, SCD2], ids=["mirror", "soft", "snapshot", "scd2"]
)


def query(rows: Rows) -> str:
    """A source of these rows; of none it still has its columns."""
    sql = "SELECT CAST(NULL AS INT64) AS id, CAST(NULL AS STRING) AS v LIMIT 0"
    for id_, v in rows.items():
        key = "NULL" if id_ is None else str(id_)
        value = "NULL" if v is None else f"'{v}'"
        sql = (
            f"{sql} UNION ALL SELECT {key}, {value}"
            if "LIMIT" not in sql
            else (f"SELECT CAST({key} AS INT64) AS id, CAST({value} AS STRING) AS v")
        )
    return f"SELECT * FROM ({sql})"


def counts(result: Any) -> dict[str, int]:
    return dict(result.row_counts)


def test_a_mirror_writes_what_differs_and_deletes_what_is_gone(world: World) -> None:
    first = world.sync(query=query({1: "a", 2: "b", 3: None}), **MIRROR)
    assert (first.publish, first.rows, counts(first)) == (Mode.MIRROR, 3, {"inserted": 3})
    untouched = world.pg("SELECT ctid, xmin FROM t WHERE id = 1")
    second = world.sync(query=query({1: "a", 3: "c", 4: "d"}), **MIRROR)
    assert counts(second) == {"inserted": 1, "updated": 1, "deleted": 1}
    assert second.rows == 2
    assert world.rows("t") == [(1, "a"), (3, "c"), (4, "d")]
    assert world.pg("SELECT ctid, xmin FROM t WHERE id = 1") == untouched
    assert world.history()[-1]["row_counts"] == counts(second)
    assert world.sync(query=query({1: "a", 3: "c", 4: "d"}), **MIRROR).rows == 0
    world.no_leftovers()


def test_a_soft_mirror_marks_what_is_gone_and_frees_what_comes_back(world: World) -> None:
    soft = SOFT | {"deleted_column": "gone"}
    world.sync(query=query({1: "a", 2: "b"}), **soft)
    world.sync(query=query({1: "a"}), **soft)
    marked = world.pg(
        "SELECT id, v, gone = (SELECT max(started_at) FROM bq2pg.sync_history) FROM t"
    )
    assert sorted(marked) == [(1, "a", None), (2, "b", True)]
    again = world.sync(query=query({1: "a"}), **soft)
    assert counts(again) == {}, "a row that is gone is marked once"
    back = world.sync(query=query({1: "a", 2: "b"}), **soft)
    assert counts(back) == {"updated": 1}
    assert world.rows("t") == [(1, "a", None), (2, "b", None)]
    world.sync(query=query({1: "a"}), **soft)
    full = world.sync(query=query({1: "a"}), **soft, options=RunOptions(full_refresh=True))
    assert counts(full) == {"deleted": 1}
    assert world.rows("t") == [(1, "a", None)]


@pytest.mark.parametrize("null_keys", ["refuse", "match"])
@pytest.mark.parametrize("mode", [MIRROR, SCD2, SCD2 | {"mode": "merge"}])
def test_null_keys_are_refused_or_matched(
    world: World, mode: dict[str, Any], null_keys: str
) -> None:
    how = mode | {"null_keys": null_keys}
    if null_keys == "refuse":
        refused(
            world,
            VerifyError,
            says="1 NULL in id",
            way_out="null_keys",
            retryable=False,
            query=query({None: "a", 2: "b"}),
            **how,
        )
        return
    world.sync(query=query({None: "a", 2: "b"}), **how)
    world.sync(query=query({None: "A", 2: "b", 3: "c"}), **how)
    now = " WHERE valid_to IS NULL" if how["mode"] == "scd2" else ""
    assert world.pg(f"SELECT id, v FROM t{now} ORDER BY 1") == [(2, "b"), (3, "c"), (None, "A")]
    assert len(world.rows("t")) == (4 if now else 3)
    world.no_leftovers()


def test_a_target_without_the_index_for_null_keys_is_refused_with_the_statement(
    world: World,
) -> None:
    world.sync(query=query({1: "a"}), **MIRROR)
    error = refused(
        world,
        TargetError,
        says="no unique index on (id) NULLS NOT DISTINCT",
        way_out="UNIQUE NULLS NOT DISTINCT",
        retryable=False,
        query=query({1: "a"}),
        **MIRROR,
        null_keys="match",
    )
    world.pg("ALTER TABLE t DROP CONSTRAINT t_pkey")
    world.pg("ALTER TABLE t ALTER COLUMN id DROP NOT NULL")
    world.pg(error.way_out.partition("and add it: ")[2].removesuffix("."))
    world.sync(query=query({1: "a", None: "b"}), **MIRROR, null_keys="match")
    assert world.rows("t") == [(1, "a"), (None, "b")]


@pytest.mark.parametrize("mode", [MIRROR, SCD2], ids=["mirror", "scd2"])
def test_of_rows_that_share_a_key_the_newest_by_cursor_wins(
    world: World, mode: dict[str, Any]
) -> None:
    world.make_source(
        "SELECT 1 AS id, 'old' AS v, DATE '2024-01-01' AS d UNION ALL SELECT 1, 'new', "
        "DATE '2024-01-02'"
    )
    for _ in range(2):
        world.sync(**mode | {"cursor": "d"})
        assert world.pg("SELECT id, v FROM t") == [(1, "new")]
    assert world.history()[0]["row_counts"]["duplicates"] == 1


def test_a_snapshot_adds_every_read_with_the_time_its_run_began(world: World) -> None:
    world.sync(query=query({1: "a", 2: "a"}), **SNAPSHOT)
    result = world.sync(query=query({1: "b"}), **SNAPSHOT)
    assert (result.publish, counts(result)) == (Mode.SNAPSHOT, {"inserted": 1})
    assert world.pg(
        "SELECT t.id, t.v, h.id FROM t JOIN bq2pg.sync_history h ON h.started_at = t.snapshot_at "
        "ORDER BY 3, 1"
    ) == [(1, "a", 1), (2, "a", 1), (1, "b", 2)]
    world.no_leftovers()


def test_a_snapshot_of_the_same_run_is_never_doubled(world: World) -> None:
    world.sync(query=query({1: "a"}), **SNAPSHOT)
    for attempt in range(2):
        world.sync(query=query({1: "b", 2: "b"}), **SNAPSHOT, run=RunId("same", attempt=attempt))
    assert world.pg("SELECT id, v FROM t ORDER BY snapshot_at, id") == [
        (1, "a"),
        (1, "b"),
        (2, "b"),
    ]


def test_a_history_closes_changed_and_gone_versions_and_leaves_the_rest_untouched(
    world: World,
) -> None:
    world.sync(query=query({1: "a", 2: "b", 3: None}), **SCD2)
    untouched = world.pg("SELECT ctid, xmin FROM t WHERE id = 1")
    second = world.sync(query=query({1: "a", 3: "c", 4: "d"}), **SCD2)
    assert counts(second) == {"deleted": 1, "closed": 1, "inserted": 2}
    third = world.sync(query=query({1: "a", 2: "b", 3: "c", 4: "d"}), **SCD2)
    assert counts(third) == {"inserted": 1}
    starts = [h["started_at"] for h in world.history()]
    first, second_, third_ = starts
    assert world.rows("t", order="id, valid_from") == [
        (1, "a", first, None),
        (2, "b", first, second_),
        (2, "b", third_, None),
        (3, None, first, second_),
        (3, "c", second_, None),
        (4, "d", second_, None),
    ]
    assert world.pg("SELECT ctid, xmin FROM t WHERE id = 1") == untouched
    world.no_leftovers()


def test_a_history_by_cursor_sees_deletions_at_a_full_read_only(world: World) -> None:
    source = "SELECT 1 AS id, DATE '2024-01-01' AS d UNION ALL SELECT 2, DATE '2024-01-01'"
    how = SCD2 | {"cursor": "d"}
    world.sync(query=source, **how)
    changed = "SELECT 2 AS id, DATE '2024-01-02' AS d"
    window = world.sync(query=changed, **how)
    assert counts(window) == {"closed": 1, "inserted": 1}
    assert world.sync(query=changed, **how).outcome is Outcome.NOTHING_NEW
    full = world.sync(query=changed, **how, options=RunOptions(full_refresh=True))
    assert counts(full) == {"deleted": 1}
    assert world.pg("SELECT id FROM t WHERE valid_to IS NULL") == [(2,)]
    assert len(world.rows("t")) == 3


def test_a_clock_that_was_set_back_never_ends_a_version_before_it_began(world: World) -> None:
    world.sync(query=query({1: "a", 2: "a"}), **SCD2)
    world.pg("UPDATE t SET valid_from = '2100-01-01'")
    world.sync(query=query({1: "b"}), **SCD2)
    world.sync(query=query({1: "b", 2: "b"}), **SCD2)
    bad = world.pg("SELECT * FROM t WHERE valid_to <= valid_from")
    gaps = world.pg(
        "SELECT * FROM t a JOIN t b USING (id) WHERE a.v = 'a' AND b.v = 'b' "
        "AND a.valid_to > b.valid_from"
    )
    assert (bad, gaps, len(world.rows("t"))) == ([], [], 4)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("FLOAT64", "0.0", "CAST('-0' AS FLOAT64)"),
        ("FLOAT64", "CAST('nan' AS FLOAT64)", "NULL"),
        ("INTERVAL", "INTERVAL 30 DAY", "INTERVAL 1 MONTH"),
        ("JSON", "JSON '1'", "JSON '1.5'"),
        ("STRING", "'a'", "'A'"),
        ("BYTES", "b'\\\\x00'", "b''"),
        (
            "TIMESTAMP",
            "TIMESTAMP '2024-01-01 00:00:00+00'",
            "TIMESTAMP '2024-01-01 00:00:00.000001+00'",
        ),
        ("NUMERIC", "NUMERIC '0.000000001'", "NUMERIC '0'"),
    ],
)
def test_the_smallest_difference_is_a_new_version_and_none_is_none(
    world: World, kind: str, one: str, other: str
) -> None:
    for value, expected in ((one, 1), (one, 1), (other, 2), (other, 2)):
        world.sync(query=f"SELECT 1 AS id, CAST({value} AS {kind}) AS v", **SCD2)
        assert len(world.rows("t")) == expected, value


@EVERY_MODE
def test_a_run_killed_while_it_publishes_is_made_good_by_the_next(
    world: World, mode: dict[str, Any]
) -> None:
    world.sync(query=query({1: "a", 2: "b"}), **mode)
    before, changed = Snapshot.of(world), {"query": query({1: "A", 3: "c"}), **mode}
    lock = locking(world.dsn, "LOCK TABLE t IN SHARE MODE")
    with lock, victim(world, hold="", **changed):
        until(lambda: waiting(world, "public.t"), "the publish to wait for the lock")
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    assert Snapshot.of(world) == before
    result = world.sync(**changed)
    undisturbed = {
        "mirror": {"inserted": 1, "updated": 1, "deleted": 1},
        "snapshot": {"inserted": 2},
        "scd2": {"inserted": 2, "closed": 1, "deleted": 1},
    }
    assert counts(result) == undisturbed[mode["mode"]]
    assert world.stages() == []


@EVERY_MODE
def test_a_run_killed_after_it_committed_is_not_repeated(
    world: World, mode: dict[str, Any]
) -> None:
    world.sync(query=query({1: "a", 2: "b"}), **mode)
    changed = {"query": query({1: "A", 3: "c"}), **mode}
    with victim(world, hold="after", **changed) as process:
        until_it_holds(process)
    until(lambda: world.locks() == 0, "PostgreSQL to notice that the client died")
    done = world.rows("t", order="1, 2")
    (run,) = world.pg("SELECT run_id FROM bq2pg.sync_history ORDER BY id DESC LIMIT 1")
    world.sync(**changed, run=RunId(run[0], attempt=1))
    assert world.rows("t", order="1, 2") == done


@EVERY_MODE
def test_a_publish_that_fails_leaves_everything_as_it_was(
    world: World, mode: dict[str, Any]
) -> None:
    world.sync(query=query({1: "a", 2: "b"}), **mode)
    world.pg("ALTER TABLE t ADD CHECK (v <> 'bad')")
    before = Snapshot.of(world)
    with pytest.raises(TargetError):
        world.sync(query=query({1: "A", 3: "bad"}), **mode)
    assert Snapshot.of(world) == before
    world.no_leftovers()


@EVERY_MODE
def test_a_new_column_is_added_and_the_modes_own_are_left_alone(
    world: World, mode: dict[str, Any]
) -> None:
    world.sync(query="SELECT 1 AS id", **mode)
    result = world.sync(query="SELECT 1 AS id, 'x' AS v", **mode)
    assert [str(c) for c in result.schema_changes] == ["v is added as text"]
    assert ("x",) in world.pg("SELECT v FROM t")


@EVERY_MODE
def test_an_empty_source_is_refused_unless_it_is_allowed(
    world: World, mode: dict[str, Any]
) -> None:
    world.sync(query=query({1: "a"}), **mode)
    refused(
        world,
        VerifyError,
        says="no rows",
        way_out="empty_source: allow",
        retryable=False,
        query=query({}),
        **mode,
    )
    world.sync(query=query({}), **mode, empty_source="allow")
    alive = {"mirror": "true", "snapshot": "false", "scd2": "valid_to IS NULL"}[mode["mode"]]
    alive = "deleted_at IS NULL" if mode is SOFT else alive
    assert world.pg(f"SELECT * FROM t WHERE {alive}") == []


@pytest.mark.parametrize(
    ("mode", "column"), [(SOFT, "deleted_at"), (SNAPSHOT, "snapshot_at"), (SCD2, "valid_to")]
)
def test_a_column_of_the_modes_own_name_is_refused_in_the_source_and_wanted_in_the_target(
    world: World, mode: dict[str, Any], column: str
) -> None:
    with pytest.raises(ConfigError, match=f"the source has {column}, which mode"):
        world.sync(query=f"SELECT 1 AS id, 2 AS {column}", **mode)
    world.sync(query=query({1: "a"}), mode="merge", cursor=None, key=["id"])
    with pytest.raises(TargetError, match=rf"no column .*{column} of type timestamptz"):
        world.sync(query=query({1: "a"}), **mode)


def test_a_snapshot_is_never_of_some_rows_and_never_replaces(world: World) -> None:
    for options in (
        RunOptions(limit=1),
        RunOptions(where="id = 1"),
        RunOptions(full_refresh=True),
    ):
        with pytest.raises(ConfigError, match="with mode: snapshot"):
            world.sync(query=query({1: "a"}), **SNAPSHOT, options=options)


@pytest.mark.parametrize("mode", [MIRROR, SOFT, SCD2], ids=["mirror", "soft", "scd2"])
def test_a_partial_read_takes_nothing_away(world: World, mode: dict[str, Any]) -> None:
    world.sync(query=query({1: "a", 2: "b"}), **mode)
    some = world.sync(query=query({1: "A", 2: "b"}), **mode, options=RunOptions(where="id = 1"))
    assert "deleted" not in counts(some)
    now = world.pg(
        "SELECT id, v FROM t" + (" WHERE valid_to IS NULL" if mode is SCD2 else "") + " ORDER BY 1"
    )
    assert now == [(1, "A"), (2, "b")]


STATES = st.lists(
    st.dictionaries(
        st.none() | st.integers(1, 4), st.none() | st.sampled_from(["a", "b"]), max_size=4
    ),
    min_size=2,
    max_size=4,
)


def versions(states: Iterable[Rows]) -> list[tuple[int | None, str | None, int, int | None]]:
    """What a history must hold: key, value, the read it began with, the read it ended with."""
    opened: dict[int | None, tuple[str | None, int]] = {}
    closed: list[tuple[int | None, str | None, int, int | None]] = []
    for at, state in enumerate(states):
        for key, (value, since) in list(opened.items()):
            if key not in state or state[key] != value:
                closed.append((key, value, since, at))
                del opened[key]
        for key, value in state.items():
            opened.setdefault(key, (value, at))
    return closed + [(key, value, since, None) for key, (value, since) in opened.items()]


def order(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(repr, row))


@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(states=STATES)
def test_any_history_of_a_source_arrives_as_a_model_of_it_says(
    world: World, states: list[Rows]
) -> None:
    """Through every mode at once: what holds now, what is gone, what was when."""
    found: Callable[[str], list[tuple[Any, ...]]] = world.pg
    for table in ("hard", "soft", "past", "reads"):
        found(f"DROP TABLE IF EXISTS {table}")
    common = {"null_keys": "match", "empty_source": "allow"}
    modes = {
        "hard": MIRROR | common,
        "soft": SOFT | common,
        "past": SCD2 | common,
        "reads": SNAPSHOT | {"empty_source": "allow"},
    }
    began: dict[str, list[Any]] = {name: [] for name in modes}
    seen: dict[int | None, tuple[str | None, int | None]] = {}
    for at, state in enumerate(states):
        for name, mode in modes.items():
            world.sync(name=name, query=query(state), **mode)
            (started,) = found("SELECT started_at FROM bq2pg.sync_history ORDER BY id DESC LIMIT 1")
            began[name].append(started[0])
        for key, (value, gone) in list(seen.items()):
            if key not in state and gone is None:
                seen[key] = (value, at)
        seen |= {key: (value, None) for key, value in state.items()}
        assert sorted(found("SELECT * FROM hard"), key=order) == sorted(state.items(), key=order)

    def times(name: str, *indexes: int | None) -> tuple[Any, ...]:
        return tuple(None if i is None else began[name][i] for i in indexes)

    soft = [(key, value, *times("soft", gone)) for key, (value, gone) in seen.items()]
    assert sorted(found("SELECT * FROM soft"), key=order) == sorted(soft, key=order)
    past = [(key, value, *times("past", *when)) for key, value, *when in versions(states)]
    assert sorted(found("SELECT * FROM past"), key=order) == sorted(past, key=order)
    reads = [
        (*row, *times("reads", at)) for at, state in enumerate(states) for row in state.items()
    ]
    assert sorted(found("SELECT * FROM reads"), key=order) == sorted(reads, key=order)
