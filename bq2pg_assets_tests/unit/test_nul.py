"""U+0000 in text and JSON: found, counted, taken out; and nothing else is touched."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq2pg_assets.engine.model import NulBytes
from bq2pg_assets.engine.nul import clean_json, clean_text

TEXTS = ["a\0b", None, "", "\0", "plain", "\0\0x"]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (NulBytes.STRIP, ["ab", None, "", "", "plain", "x"]),
        (NulBytes.REPLACE, ["a\ufffdb", None, "", "\ufffd", "plain", "\ufffd\ufffdx"]),
        (NulBytes.FAIL, TEXTS),
    ],
)
def test_each_value_with_it_is_counted_once(policy: NulBytes, wanted: list[Any]) -> None:
    array, count = clean_text(pa.array(TEXTS), policy)
    assert (array.to_pylist(), count) == (wanted, 3)


def test_text_without_it_is_handed_on_untouched() -> None:
    array = pa.array(["a", None, "\x01"])
    assert clean_text(array, NulBytes.STRIP) == (array, 0)
    assert clean_text(array, NulBytes.STRIP)[0] is array


def test_a_column_of_nulls_has_no_memory_to_look_at() -> None:
    assert clean_text(pa.nulls(3, pa.string()), NulBytes.FAIL)[1] == 0


def test_the_elements_of_an_array_are_values() -> None:
    lists = pa.array([["\0", "a"], None, [], [None, "b\0"]])
    array, count = clean_text(lists, NulBytes.STRIP)
    assert (array.to_pylist(), count) == ([["", "a"], None, [], [None, "b"]], 2)
    sliced, _ = clean_text(lists.slice(2), NulBytes.STRIP)
    assert sliced.to_pylist() == [[], [None, "b"]]


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        (r'"\u0000"', '""'),
        (r'"\u0000\u0000a"', '"a"'),
        (r'"\\u0000"', r'"\\u0000"'),
        (r'"\\\u0000"', r'"\\"'),
        (r'"\\\\u0000 \u0000"', r'"\\\\u0000 "'),
        (r'{"k\u0000":[1,"\u00001"]}', '{"k":[1,"1"]}'),
        (r'"\u00001"', '"1"'),
    ],
)
def test_in_json_only_the_escape_itself_goes(text: str, stripped: str) -> None:
    array, count = clean_json(pa.array([text, None]), NulBytes.STRIP)
    assert array.to_pylist() == [stripped, None]
    assert count == (text != stripped)


def test_names_that_would_become_one_are_refused_because_jsonb_keeps_the_last() -> None:
    with pytest.raises(ValueError, match="differ in U"):
        clean_json(pa.array([r'[{"a\u0000": 1, "a": 2}]']), NulBytes.STRIP)
    array, count = clean_json(pa.array([r'[{"a\u0000": 1}, {"a": 2}]']), NulBytes.STRIP)
    assert (array.to_pylist(), count) == (['[{"a": 1}, {"a": 2}]'], 1)


@given(st.lists(st.text(st.sampled_from('\0\\u0"a🐘'))))
def test_any_json_reads_as_its_value_without_the_character(values: list[str]) -> None:
    texts = pa.array([json.dumps(v) for v in values], pa.string())
    for policy, put in ((NulBytes.STRIP, ""), (NulBytes.REPLACE, "\ufffd")):
        array, count = clean_json(texts, policy)
        assert [json.loads(t) for t in array.to_pylist()] == [v.replace("\0", put) for v in values]
        assert count == sum("\0" in v for v in values)
