"""U+0000 in text, which BigQuery stores and PostgreSQL cannot. Pure.

Belongs here: finding it, stripping or replacing it, counting. Does not: which policy a table has
(config/), what is said when it is `fail` (encode.py).

A text column holds the character itself, a jsonb column its escape: PostgreSQL refuses 0x00 in
any text and `\\u0000` in jsonb (src/backend/utils/adt/json.c).
"""

import json
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from bq2pg_assets.engine.model import NulBytes

INSTEAD = {NulBytes.STRIP: "", NulBytes.REPLACE: "\ufffd"}
BYTE = re.compile(rb"\0")
ESCAPE = re.compile(rb"\\u0000")
# An even number of backslashes before it: `\\u0000` is a backslash and four digits.
JSON_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

Cleaned = tuple[pa.Array, int]


def clean_text(array: pa.Array, policy: NulBytes) -> Cleaned:
    """Text without U+0000, and in how many values it stood. An array's elements are values."""
    if pa.types.is_list(array.type):
        return _in_lists(array, lambda values: clean_text(values, policy))
    if not _holds(array, BYTE):
        return array, 0
    count = _count(pc.match_substring(array, "\0"))
    if not count or policy is NulBytes.FAIL:
        return array, count
    return pc.replace_substring(array, "\0", INSTEAD[policy]), count


def clean_json(array: pa.Array, policy: NulBytes) -> Cleaned:
    """JSON text whose strings and names hold no U+0000, and in how many documents it stood.

    Raises ValueError where two names of an object would become one: jsonb keeps the last only.
    """
    if not _holds(array, ESCAPE):
        return array, 0
    suspect = pc.fill_null(pc.match_substring(array, "\\u0000"), False)
    found = [(t, JSON_NUL.search(t) is not None) for t in array.filter(suspect).to_pylist()]
    count = sum(held for _, held in found)
    if not count or policy is NulBytes.FAIL:
        return array, count
    put = INSTEAD[policy]
    clean = [JSON_NUL.sub(rf"\g<1>{put}", text) for text, _ in found]
    for text, (before, held) in zip(clean, found, strict=True):
        if held and _names(text) != _names(before):
            raise ValueError("names of a JSON object that differ in U+0000 only")
    return pc.replace_with_mask(array, suspect, pa.array(clean, pa.string())), count


def _names(text: str) -> int:
    """How many names the objects of a document have, each counted once within its object."""
    count = 0

    def one(pairs: list[tuple[str, object]]) -> None:
        nonlocal count
        count += len({name for name, _ in pairs})

    json.loads(text, object_pairs_hook=one)
    return count


def _holds(array: pa.Array, pattern: re.Pattern[bytes]) -> bool:
    """Whether the array's memory holds it at all: one scan, some 3 GB/s, and nearly always no."""
    data = array.buffers()[2]
    return data is not None and pattern.search(memoryview(data)) is not None


def _count(hits: pa.Array) -> int:
    return int(pc.sum(hits).as_py() or 0)


def _in_lists(array: pa.ListArray, clean: Callable[[pa.Array], Cleaned]) -> Cleaned:
    values, count = clean(array.values)
    if not count:
        return array, 0
    lists = pa.ListArray.from_arrays(array.offsets, values).cast(array.type)
    return pc.if_else(array.is_valid(), lists, pa.scalar(None, array.type)), count
