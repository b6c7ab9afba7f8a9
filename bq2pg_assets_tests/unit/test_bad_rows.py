"""Promise: bisecting takes all rows but the refused ones; only errors of a row count as such."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq2pg_assets.engine import quarantine_sql
from bq2pg_assets.engine.bad_rows import (
    hold_limit,
    in_ascii,
    isolate,
    joined,
    refusal_of,
    refuse_none_left,
)
from bq2pg_assets.engine.copy import _halves
from bq2pg_assets.engine.errors import Bq2pgError, MappingError, TargetError, VerifyError
from bq2pg_assets.engine.model import Refusal
from bq2pg_assets.engine.quarantine_sql import PAGE, Shape
from bq2pg_assets_tests.unit.plans import a_plan

NO = Refusal("no", "23514")
WORDS = {"expected": "b", "way_out": "c"}


@given(st.sets(st.integers(0, 20 * PAGE - 1), max_size=30))
def test_positions_are_isolated_in_their_order(bad: set[int]) -> None:
    taken: list[tuple[int, int]] = []

    def take(piece: quarantine_sql.Piece) -> Refusal | None:
        if any(piece[0] <= one < piece[1] for one in bad):
            return NO
        taken.append(piece)
        return None

    found = isolate(quarantine_sql.whole(20), take=take, halves=quarantine_sql.halves)
    assert [piece for piece, _ in found] == [(one, one + 1) for one in sorted(bad)]
    assert sum(high - low for low, high in taken) == 20 * PAGE - len(bad)
    assert taken == sorted(taken)


@given(st.integers(1, 20_000), st.data())
def test_rows_of_a_batch_are_isolated_in_their_order(rows: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, rows - 1), max_size=10))
    batch = pa.RecordBatch.from_pydict({"id": pa.array(range(rows), pa.int64())})
    taken: list[int] = []

    def take(piece: pa.RecordBatch) -> Refusal | None:
        ids = piece.column("id").to_pylist()
        if bad.intersection(ids):
            return NO
        taken.extend(ids)
        return None

    found = [piece.to_pylist() for piece, _ in isolate(batch, take=take, halves=_halves)]
    assert found == [[{"id": one}] for one in sorted(bad)]
    assert taken == [one for one in range(rows) if one not in bad]


def test_an_empty_target_has_no_position_and_takes_all() -> None:
    assert list(isolate((0, 0), take=lambda _: None, halves=quarantine_sql.halves)) == []


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (MappingError("t", ["column a: U+0000"], way_out="x"), Refusal("column a: U+0000", None)),
        *[
            (TargetError("t", met="no", sqlstate=code, **WORDS), Refusal("no", code))
            for code in ("22001", "22P02", "23502", "23514", "54000", "54001", "P0001")
        ],
        *[
            (TargetError("t", met="no", sqlstate=code, **WORDS), None)
            for code in ("", "08006", "53100", "42501", "57014", "54011", "40P01", "55P03", "42703")
        ],
        (VerifyError("t", met="no", **WORDS), None),
    ],
)
def test_only_an_error_of_a_row_is_a_refusal(error: Bq2pgError, refusal: Refusal | None) -> None:
    assert refusal_of(error) == refusal


@pytest.mark.parametrize(
    ("met", "says"),
    [
        ("bad (COPY stage_t_1f, line 3, column doc)", "bad (column doc)"),
        ("bad (COPY stage_t_1f, line 3)", "bad"),
        ("bad (column x)", "bad (column x)"),
    ],
)
def test_of_copys_context_the_column_is_left(met: str, says: str) -> None:
    error = TargetError("t", met=met, sqlstate="22P02", **WORDS)
    assert refusal_of(error) == Refusal(says, "22P02")


def test_the_limit_is_the_most_that_pass() -> None:
    plan = a_plan(max_bad_rows=2)
    hold_limit(plan, 2, last=NO)
    with pytest.raises(VerifyError) as stopped:
        hold_limit(plan, 3, last=NO)
    assert "more than 2 rows are refused; one by: no" in str(stopped.value)


def test_something_must_be_left() -> None:
    refuse_none_left(a_plan(), written=0, bad=0)
    refuse_none_left(a_plan(), written=1, bad=5)
    with pytest.raises(VerifyError):
        refuse_none_left(a_plan(), written=0, bad=1)


@given(st.dictionaries(st.text(), st.text()))
def test_a_row_in_ascii_is_the_same_json(row: dict[str, str]) -> None:
    import json

    text = joined((name, json.dumps(value, ensure_ascii=False)) for name, value in row.items())
    assert json.loads(text) == json.loads(in_ascii(text)) == row
    assert in_ascii(text).isascii()


@pytest.mark.parametrize("kind", ["text); DROP TABLE x; --", "text, x", '"x"', ""])
def test_a_type_that_bq2pg_did_not_write_is_refused(kind: str) -> None:
    stored: dict[str, Any] = {"columns": [["a", "a", kind]], "key": [], "cursor": None}
    with pytest.raises(TargetError) as stopped:
        Shape.read(stored)
    assert "delete it" in stopped.value.way_out
