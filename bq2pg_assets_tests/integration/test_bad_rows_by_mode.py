"""Quarantine in the modes that keep more than the rows they are given, and of a run that died.

Belongs here: that a bad row of mirror, snapshot and scd2 is neither lost nor taken for gone, its
replay, and bad rows of shards that a dead run staged. Does not: the kinds of refusal
(test_bad_rows.py), replaying as such (test_quarantine.py).
"""

from typing import Any

import pytest

from bq2pg_assets.engine.errors import VerifyError
from bq2pg_assets.engine.model import RunOptions
from bq2pg_assets_tests.integration.helpers import World, refused
from bq2pg_assets_tests.integration.test_mirror_snapshot_scd2 import MIRROR, SCD2, SNAPSHOT, SOFT
from bq2pg_assets_tests.integration.test_resume import counting, die

NUL = "CODE_POINTS_TO_STRING([66, 0])"
# Refused by the target, and before it is staged.
BAD = pytest.mark.parametrize("bad", ["'too long'", NUL], ids=["target", "staging"])
SHORT = "ALTER TABLE t ADD CONSTRAINT short CHECK (length(v) <= 3)"


def settings(mode: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"bad_rows": "quarantine", **mode, **more}


def source(world: World, **values: str) -> None:
    """Rows of which the key is the name's last character."""
    rows = (f"SELECT {name[-1]} AS id, {v} AS v" for name, v in values.items())
    world.make_source(" UNION ALL ".join(rows))


def heal(world: World) -> None:
    """The target takes every row, and the rows hold what it can hold."""
    world.pg("ALTER TABLE t DROP CONSTRAINT short")
    world.pg(r"UPDATE bq2pg.sync_quarantine SET row = replace(row, '\u0000', '')")


def outcomes(world: World) -> list[str]:
    target = world.target()
    return [one.outcome for one in target.replay(target.quarantined(), run_id="again")]


def facts(world: World) -> list[tuple[Any, ...]]:
    return world.pg("SELECT id, left(v, 1) FROM t ORDER BY 1, 2")


@BAD
@pytest.mark.parametrize("mode", [MIRROR, SOFT], ids=["hard", "soft"])
def test_a_mirror_keeps_the_row_whose_new_content_is_bad(
    world: World, mode: dict[str, Any], bad: str
) -> None:
    given = settings(mode, max_deletes=0.4)
    source(world, r1="'a'", r2="'b'", r3="'c'")
    world.sync(**given)
    world.pg(SHORT)
    source(world, r1="'x'", r2=bad, r4="'d'")
    result = world.sync(**given)
    assert dict(result.row_counts) == {"inserted": 1, "updated": 1, "deleted": 1}
    assert result.quarantined == 1
    there = "SELECT id, v FROM t{} ORDER BY 1".format(
        " WHERE deleted_at IS NULL" if mode is SOFT else ""
    )
    assert world.pg(there) == [(1, "x"), (2, "b"), (4, "d")]
    heal(world)
    assert outcomes(world) == ["replayed"]
    assert world.pg(there)[1] == (2, "too long" if "too" in bad else "B")
    source(world, r1="'x'", r2=bad, r4="'d'")
    world.no_leftovers()


def test_a_row_of_a_soft_mirror_comes_back_by_its_replay(world: World) -> None:
    given = settings(SOFT)
    source(world, r1="'a'", r2="'b'")
    world.sync(**given)
    source(world, r1="'a'")
    world.sync(**given)
    world.pg(SHORT)
    source(world, r1="'a'", r2="'too long'")
    assert world.sync(**given).quarantined == 1
    gone = "SELECT id FROM t WHERE deleted_at IS NOT NULL"
    assert world.pg(gone) == [(2,)]
    heal(world)
    assert outcomes(world) == ["replayed"]
    assert (world.pg(gone), facts(world)) == ([], [(1, "a"), (2, "t")])


@BAD
def test_the_version_of_a_row_whose_next_one_is_bad_holds_on(world: World, bad: str) -> None:
    given = settings(SCD2, max_deletes=0.4)
    source(world, r1="'a'", r2="'b'", r3="'c'")
    world.sync(**given)
    world.pg(SHORT)
    source(world, r1="'x'", r2=bad, r4="'d'")
    result = world.sync(**given)
    assert dict(result.row_counts) == {"inserted": 2, "deleted": 1, "closed": 1}
    holds = "SELECT id, left(v, 1) FROM t WHERE valid_to IS NULL ORDER BY 1"
    assert world.pg(holds) == [(1, "x"), (2, "b"), (4, "d")]
    heal(world)
    assert outcomes(world) == ["replayed"]
    assert world.pg(holds)[1] == (2, "t" if "too" in bad else "B")
    began = world.history()[-1]["started_at"]
    assert world.pg("SELECT valid_from, valid_to FROM t WHERE id = 2 ORDER BY 1")[1:] == [
        (began, None)
    ]
    assert world.pg("SELECT valid_to FROM t WHERE id = 2 ORDER BY valid_from")[0] == (began,)


def test_a_version_that_is_older_than_what_holds_is_superseded(world: World) -> None:
    """Of an increment: what reads the whole source makes the row obsolete itself."""
    at = "TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL {} SECOND)"
    row = "SELECT {0} AS id, '{1}' AS v, " + at.format("{2}") + " AS max_ingested_at"
    given = {"bad_rows": "quarantine", "mode": "scd2", "key": ["id"], "lookback": "5s"}
    world.make_source(row.format(1, "a", 1) + " UNION ALL " + row.format(2, "b", 1))
    world.sync(**given)
    world.pg(SHORT)
    world.bq("INSERT INTO {d}.source " + row.format(1, "too long", 4))
    world.bq("INSERT INTO {d}.source " + row.format(2, "too long", 4))
    assert world.sync(**given).quarantined == 2
    assert world.cursor() is not None
    assert world.sync(**given).quarantined == 2, "lookback brings them again"
    assert len(world.target().quarantined()) == 2
    world.bq("INSERT INTO {d}.source " + row.format(2, "new", 60))
    assert world.sync(**given).quarantined == 1
    heal(world)
    assert sorted(outcomes(world)) == ["replayed", "superseded"]
    holds = "SELECT id, v FROM t WHERE valid_to IS NULL ORDER BY 1"
    assert world.pg(holds) == [(1, "too long"), (2, "new")]


@BAD
def test_a_row_of_a_snapshot_is_replayed_into_its_own(world: World, bad: str) -> None:
    given = settings(SNAPSHOT)
    source(world, r1="'a'", r2="'b'")
    world.sync(**given)
    world.pg(SHORT)
    source(world, r1="'a'", r2=bad)
    result = world.sync(**given)
    assert (result.rows, result.quarantined) == (1, 1)
    source(world, r1="'a'", r2="'b'")
    world.sync(**given)
    heal(world)
    assert outcomes(world) == ["replayed"]
    counted = "SELECT count(*) FROM t GROUP BY snapshot_at ORDER BY snapshot_at"
    assert world.pg(counted) == [(2,), (2,), (2,)]


@pytest.mark.parametrize("mode", [MIRROR, SNAPSHOT, SCD2], ids=["mirror", "snapshot", "scd2"])
def test_a_target_that_bq2pg_creates_leaves_out_what_no_index_can_hold(
    world: World, mode: dict[str, Any]
) -> None:
    long = "STRING_AGG(TO_HEX(SHA256(CAST(x AS STRING))), '')"
    world.make_source(
        f"SELECT 'k' AS id, 1 AS v UNION ALL SELECT {long}, 2 FROM UNNEST(GENERATE_ARRAY(1, 400)) x"
    )
    result = world.sync(**settings(mode))
    bad = 0 if mode is SNAPSHOT else 1
    assert (result.quarantined, result.rows) == (bad, 2 - bad)
    assert world.pg("SELECT v FROM t ORDER BY 1") == [(1,), (2,)][: 2 - bad]


# -- a run that died ---------------------------------------------------------------------------


def test_bad_rows_that_a_dead_run_found_are_quarantined_once_by_the_next(world: World) -> None:
    source(world, r1="'a'", r2=NUL, r3="'too long'", r4="'d'")
    world.pg("CREATE TABLE t (id bigint, v text CONSTRAINT short CHECK (length(v) <= 3))")
    die(world, bad_rows="quarantine")
    assert world.target().quarantined(everything=True) == []
    assert '"id"' in world.pg("SELECT bad FROM bq2pg.staged_shards")[0][0].replace("\\", "")
    shards = counting(world)
    result = world.sync(bad_rows="quarantine", shards=shards)
    assert shards.read == []
    assert (result.rows, result.quarantined) == (2, 2)
    [row_count] = [c for c in result.checks if c.name == "row_count"]
    assert row_count.numbers == {"staged": 2, "exported": 4, "refused": 2}
    assert len(world.target().quarantined(everything=True)) == 2
    assert world.pg("SELECT * FROM bq2pg.staged_shards") == []
    heal(world)
    assert outcomes(world) == ["replayed", "replayed"]
    assert world.pg("SELECT id FROM t ORDER BY 1") == [(1,), (2,), (3,), (4,)]


def test_bad_rows_that_a_dead_run_found_count_against_the_limit(world: World) -> None:
    source(world, r1="'a'", r2=NUL, r3="'too long'")
    world.pg("CREATE TABLE t (id bigint, v text CONSTRAINT short CHECK (length(v) <= 3))")
    how = {"bad_rows": "quarantine", "max_bad_rows": 1, "replace_strategy": "truncate"}
    die(world, **how)
    refused(
        world,
        VerifyError,
        says="more than 1 rows are refused",
        way_out="max_bad_rows",
        retryable=False,
        **how,
    )
    assert world.pg("SELECT * FROM bq2pg.staged_shards") == []


def test_a_run_that_starts_over_finds_the_bad_rows_itself(world: World) -> None:
    source(world, r1="'a'", r2=NUL)
    die(world, bad_rows="quarantine")
    options = RunOptions(full_refresh=True)
    result = world.sync(bad_rows="quarantine", options=options)
    assert (result.resumed_from, result.rows, result.quarantined) == (None, 1, 1)
    assert len(world.target().quarantined(everything=True)) == 1
