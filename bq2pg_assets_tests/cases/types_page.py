"""docs/types.md, written from the golden values: `python -m bq2pg_assets_tests.cases.types_page`.

Belongs here: the page. Does not: what it shows (types.py, limits.py, the engine's type table).
"""

from collections.abc import Iterator
from pathlib import Path

import bq2pg_assets
from bq2pg_assets.engine.typemap import RULES, map_columns
from bq2pg_assets_tests.cases.limits import LIMITS
from bq2pg_assets_tests.cases.types import TYPES, Type, Value
from bq2pg_assets_tests.integration.test_shard_types import TABLE

PAGE = Path(bq2pg_assets.__file__).parents[1] / "docs" / "types.md"
LONGEST = 60
COMMAND = "python -m bq2pg_assets_tests.cases.types_page"

HEAD = f"""\
<!-- Made by `{COMMAND}` from the cases of the tests. -->
# Types

Every type BigQuery has, what it becomes, and the values that prove it. `make test` carries each
of them alone and in an ARRAY, and where the column *in jsonb* shows a value in a STRUCT and in an
ARRAY of STRUCT as well, by every way out of BigQuery that takes the type, and compares what
PostgreSQL says; `make fuzz` does it with random tables.

REQUIRED becomes NOT NULL, a description becomes a column comment. Names keep their case; a name
longer than PostgreSQL's 63 bytes, or one of its system columns (`ctid`, `xmin`, …), is refused
until `columns: {{its name: {{name: new_name}}}}` renames it.

## The table

*bare*: the way carries the value as it is. Otherwise the export SELECT writes the text shown, and
PostgreSQL gets the value again. A STRUCT is carried bare where every field of it is; bq2pg then
writes the same JSON that `TO_JSON_STRING` would have.

| BigQuery | PostgreSQL | ARRAY of it | extract job, Storage Read API | EXPORT DATA |
|---|---|---|---|---|
"""
LIMITS_HEAD = """
## What cannot be carried as it is

| in BigQuery | what becomes of it |
|---|---|
"""
VALUES_HEAD = """
## The values

*alone* is what PostgreSQL prints of the column, *in jsonb* of the field of a STRUCT. Long values
are cut here, not there.
"""


def page() -> str:
    """The whole page."""
    table = "".join(map(_row, TYPES)) + _struct_row()
    limits = "".join(f"| {limit.what} | {limit.becomes} |\n" for limit in LIMITS)
    return HEAD + table + LIMITS_HEAD + limits + VALUES_HEAD + "".join(_values())


def _row(kind: Type) -> str:
    (column,) = map_columns(TABLE, [kind.field("c")])
    bare = "bare" if column.plain else "by query"
    select = "bare" if column.select == "`c`" else f"`{RULES[kind.rule].select.format('c')}`"
    return f"| {_plain(kind.name)} | {kind.pg} | {kind.pg_array} | {bare} | {select} |\n"


def _struct_row() -> str:
    return "| STRUCT | jsonb | jsonb | bare | `TO_JSON_STRING(c)` |\n"


def _values() -> Iterator[str]:
    for kind in TYPES:
        yield f"\n### {_plain(kind.name)}\n\n| | BigQuery | alone | in jsonb |\n|---|---|---|---|\n"
        for value in kind.values:
            yield _value(value)


def _value(value: Value) -> str:
    cells = (_code(value.sql), _code(value.pg), _code(value.nested or ""))
    return f"| {value.label} | {' | '.join(cells)} |\n"


def _code(text: str) -> str:
    if not text:
        return ""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 3 :]}"
    # What a table cell cannot hold, and what a reader cannot see, is shown escaped.
    seen = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)
    return f"<code>{_plain(seen)}</code>"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
