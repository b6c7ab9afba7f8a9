"""What a swap touches, in which order, and what counts as a difference.

Belongs here: the decisions of carry.py. Does not: whether PostgreSQL takes its statements
(integration/test_swap.py).
"""

import pytest

from bq2pg_assets.engine.carry import Catalog, Item, differences, order_readers, release, take_over
from bq2pg_assets.engine.model import SchemaChange, TargetName

TABLE, VIEW, OVER, SUMS, ABOVE = 1, 2, 3, 4, 5
T, STAGE = TargetName("public", "t"), TargetName("bq2pg", "stage_t_abc")
INDEX = Item("public.t", "index", "i", "CREATE INDEX i ON public.t USING btree (v)")
CHECK = Item("public.t", "check", "c", "ALTER TABLE public.t ADD CONSTRAINT c CHECK ((v)::text)")


def test_a_view_of_a_view_is_left_alone_and_one_of_a_materialized_view_is_not() -> None:
    reads = {VIEW: {TABLE}, OVER: {VIEW}, SUMS: {TABLE, OVER}, ABOVE: {SUMS}}
    kinds = {VIEW: "v", OVER: "v", SUMS: "m", ABOVE: "v"}
    assert order_readers(TABLE, reads, kinds) == [VIEW, SUMS, ABOVE]


def test_views_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="in a circle"):
        order_readers(TABLE, {VIEW: {TABLE, OVER}, OVER: {VIEW}}, {VIEW: "v", OVER: "v"})


def test_what_is_lost_new_or_another_is_named_once() -> None:
    other = Item("public.t", "index", "i", "CREATE INDEX i ON public.t USING btree (w)")
    assert differences([INDEX], [INDEX]) == []
    assert differences([INDEX], []) == ["index i of public.t is lost"]
    assert differences([], [INDEX]) == ["index i of public.t is new"]
    assert differences([INDEX], [other]) == ["index i of public.t is another"]


def test_only_what_the_plan_changes_may_differ() -> None:
    before = [Item("public.t", "column", "v", "1 character varying(5)"), CHECK]
    after = [
        Item("public.t", "column", "v", "1 text"),
        Item("public.t", "check", "c", "ALTER TABLE public.t ADD CONSTRAINT c CHECK (v)"),
    ]
    widened = SchemaChange("widened", "v", "character varying(5)", "text")
    assert differences(before, after, [widened]) == []
    assert differences(before, after[:1], [widened]) == ["check c of public.t is lost"]
    assert len(differences(before, after)) == 2


def test_readers_let_go_from_the_outside_in_and_take_hold_from_the_inside_out() -> None:
    readers = tuple(
        (Item(f"public.{name}", "view", "", f"make {name}", f"unmake {name}"),)
        for name in ("inner", "outer")
    )
    catalog = Catalog((), readers)
    released = [s.as_string() for s in release(T, catalog, ())]
    assert released == [
        "unmake outer",
        "unmake inner",
        'LOCK TABLE "public"."t" IN ACCESS EXCLUSIVE MODE',
        'DROP TABLE "public"."t"',
    ]
    made = [s.as_string() for s in take_over(T, catalog, (), STAGE)]
    assert made[0] == 'ALTER TABLE "bq2pg"."stage_t_abc" SET SCHEMA "public"'
    assert made[-3:-1] == ["make inner", "make outer"]
