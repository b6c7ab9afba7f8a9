"""The type table: one case per row, and every way in which columns cannot be carried."""

from dataclasses import replace
from typing import Any

import pytest

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import Column, SourceField
from bq2pg_assets.engine.typemap import LEGACY_NAMES, RULES, map_columns, quote, source_type

OBJECT = "IF(`c` IS NULL, NULL, {}(`c`))"
ELEMENTS = "ARRAY(SELECT {} FROM UNNEST(`c`) AS element WITH OFFSET AS o ORDER BY o)"
CASTED, CASTED_ELEMENTS = (
    "IF(`c` IS NULL, NULL, CAST(`c` AS STRING))",
    ELEMENTS.format("CAST(element AS STRING)"),
)
RANGE = (
    "CONCAT('[', IFNULL(CAST(RANGE_START({0}) AS STRING), 'UNBOUNDED'), ', ', "
    "IFNULL(CAST(RANGE_END({0}) AS STRING), 'UNBOUNDED'), ')')"
)
ENDS = f"IF(`c` IS NULL, NULL, {RANGE.format('`c`')})"
ENDS_OF_ELEMENTS = ELEMENTS.format(RANGE.format("element"))
JSON_TEXT = OBJECT.format("TO_JSON_STRING")
# type: PostgreSQL's, wire, SELECT; then the same of ARRAY<type>
GOLDEN = {
    "INT64": ("bigint", "native", "`c`", "bigint[]", "native", "`c`"),
    "FLOAT64": ("double precision", "native", "`c`", "double precision[]", "native", "`c`"),
    "NUMERIC": ("numeric(38,9)", "native", "`c`", "numeric(38,9)[]", "native", "`c`"),
    "BIGNUMERIC": ("numeric", "numeric", "`c`", "numeric[]", "numeric[]", "`c`"),
    "BOOL": ("boolean", "native", "`c`", "boolean[]", "native", "`c`"),
    "STRING": ("text", "native", "`c`", "text[]", "native", "`c`"),
    "BYTES": ("bytea", "native", "`c`", "bytea[]", "native", "`c`"),
    "DATE": ("date", "native", "`c`", "date[]", "native", "`c`"),
    "TIME": (
        *("time without time zone", "native", "`c`"),
        *("time without time zone[]", "native", "`c`"),
    ),
    "DATETIME": (
        *("timestamp without time zone", "native", "`c`"),
        *("timestamp without time zone[]", "native", "`c`"),
    ),
    "TIMESTAMP": (
        *("timestamp with time zone", "timestamptz", "`c`"),
        *("timestamp with time zone[]", "timestamptz[]", "`c`"),
    ),
    "JSON": ("jsonb", "jsonb", JSON_TEXT, "jsonb", "jsonb", JSON_TEXT),
    "STRUCT": ("jsonb", "jsonb", JSON_TEXT, "jsonb", "jsonb", JSON_TEXT),
    "GEOGRAPHY": (
        *("text", "native", OBJECT.format("ST_ASTEXT")),
        *("text[]", "native", ELEMENTS.format("ST_ASTEXT(element)")),
    ),
    "INTERVAL": ("interval", "interval", CASTED, "interval[]", "interval[]", CASTED_ELEMENTS),
    "RANGE<DATE>": (
        "daterange",
        "daterange",
        ENDS,
        "daterange[]",
        "daterange[]",
        ENDS_OF_ELEMENTS,
    ),
    "RANGE<DATETIME>": ("tsrange", "tsrange", ENDS, "tsrange[]", "tsrange[]", ENDS_OF_ELEMENTS),
    "RANGE<TIMESTAMP>": (
        *("tstzrange", "tstzrange", ENDS, "tstzrange[]", "tstzrange[]", ENDS_OF_ELEMENTS),
    ),
}


def table(**fields: Any) -> TableConfig:
    return TableConfig.model_validate({"name": "t", "source": "d.t", **fields})


def column(kind: str, mode: Any = "NULLABLE", **more: Any) -> Column:
    name, _, element = kind.rstrip(">").partition("<")
    field = SourceField("c", name, mode, range_element=element or None, **more)
    return map_columns(table(), [field])[0]


def problems(*fields: SourceField, **config: Any) -> tuple[str, ...]:
    with pytest.raises(MappingError) as caught:
        map_columns(table(**config), fields)
    assert "columns: {its name: {exclude: true}}" in caught.value.way_out
    return caught.value.problems


@pytest.mark.parametrize("kind", [k for k in RULES if k != "STRUCT"])
@pytest.mark.parametrize("mode", ["NULLABLE", "REPEATED"])
def test_parquet_carries_a_struct_when_it_carries_every_field(kind: str, mode: Any) -> None:
    name, _, element = kind.rstrip(">").partition("<")
    leaf = SourceField("leaf", name, range_element=element or None)
    inner = SourceField("inner", "STRUCT", mode, fields=(SourceField("i", "INT64"), leaf))
    assert column("STRUCT", mode, fields=(inner,)).plain == (RULES[kind].select == "{}")


def test_picoseconds_are_refused_because_they_would_be_cut_off() -> None:
    inner = SourceField("t", "TIMESTAMP", precision=12)
    assert problems(SourceField("s", "STRUCT", fields=(inner,))) == (
        "column s.t holds picoseconds, PostgreSQL keeps microseconds: say "
        "columns: {s.t: {expression: TIMESTAMP_TRUNC(s.t, MICROSECOND)}}",
    )


def test_two_fields_of_one_name_are_refused_because_jsonb_keeps_one() -> None:
    twice = (SourceField("a", "INT64"), SourceField("a", "INT64"), SourceField("A", "INT64"))
    assert problems(SourceField("s", "STRUCT", "REPEATED", fields=twice)) == (
        "column s has two fields a: jsonb keeps the last only",
    )


def test_every_rule_has_its_golden_row() -> None:
    assert set(GOLDEN) == set(RULES)


@pytest.mark.parametrize("kind", GOLDEN)
def test_each_type_becomes_its_row_of_the_table(kind: str) -> None:
    one, many = column(kind), column(kind, "REPEATED")
    assert (one.pg_type, one.wire, one.select, many.pg_type, many.wire, many.select) == GOLDEN[kind]
    parquet = one.select == "`c`" or kind == "STRUCT"
    assert (one.plain, many.plain) == (parquet, parquet)
    assert (one.source_type, many.source_type) == (kind, f"ARRAY<{kind}>")


@pytest.mark.parametrize(("legacy", "kind"), LEGACY_NAMES.items())
def test_a_legacy_name_is_the_same_type(legacy: str, kind: str) -> None:
    assert replace(column(legacy), field=None) == replace(column(kind), field=None)


@pytest.mark.parametrize(
    ("kind", "precision", "scale", "pg_type", "named"),
    [
        ("NUMERIC", 10, 2, "numeric(10,2)", "NUMERIC(10, 2)"),
        ("NUMERIC", 5, None, "numeric(5,0)", "NUMERIC(5, 0)"),
        ("BIGNUMERIC", 76, 38, "numeric(76,38)", "BIGNUMERIC(76, 38)"),
    ],
)
def test_precision_and_scale_are_kept(
    kind: str, precision: int, scale: int | None, pg_type: str, named: str
) -> None:
    found = column(kind, precision=precision, scale=scale)
    assert (found.pg_type, found.source_type) == (pg_type, named)
    many = column(kind, "REPEATED", precision=precision, scale=scale)
    assert (many.pg_type, many.source_type) == (f"{pg_type}[]", f"ARRAY<{named}>")


def test_required_is_not_null_and_a_description_is_a_comment() -> None:
    found = column("INT64", "REQUIRED", description="the key")
    assert (found.not_null, found.comment) == (True, "the key")
    other = column("INT64", "REPEATED", description="")
    assert (other.not_null, other.comment) == (False, None)


def test_columns_are_renamed_and_left_out_in_the_order_of_the_source() -> None:
    fields = [SourceField(n, "INT64") for n in ("b", "a", "c")]
    config = {"a": {"name": "first"}, "c": {"exclude": True}}
    found = map_columns(table(columns=config), fields)
    assert [(c.source, c.name) for c in found] == [("b", "b"), ("a", "first")]


def test_a_type_without_counterpart_is_no_problem_where_it_is_excluded() -> None:
    fields = [SourceField("a", "INT64"), SourceField("x", "TOKENLIST")]
    assert len(map_columns(table(columns={"x": {"exclude": True}}), fields)) == 1
    assert problems(*fields) == ("column x is TOKENLIST, which has no counterpart here",)


@pytest.mark.parametrize(
    ("field", "named"),
    [
        (SourceField("a", "RANGE", range_element=None), "RANGE<None>"),
        (SourceField("a", "TOKENLIST", "REPEATED"), "ARRAY<TOKENLIST>"),
    ],
)
def test_an_unknown_type_is_called_by_its_name(field: SourceField, named: str) -> None:
    assert source_type(field) == named
    assert f"column a is {named}, which has no counterpart here" in problems(field)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x" * 64, f"column {'x' * 64} is 64 bytes long, PostgreSQL keeps 63"),
        ("é" * 32, f"column {'é' * 32} is 64 bytes long, PostgreSQL keeps 63"),
        ("xmin", "column xmin has the name of a PostgreSQL system column"),
        ("CTID", "column CTID has the name of a PostgreSQL system column"),
        ("a\0b", "column 'a\\x00b' is not a name PostgreSQL can hold"),
    ],
)
def test_a_name_that_postgresql_cannot_hold_is_refused(name: str, problem: str) -> None:
    assert problems(SourceField(name, "INT64")) == (problem,)
    assert problems(SourceField("a", "INT64"), columns={"a": {"name": name}}) == (problem,)
    assert map_columns(table(columns={name: {"name": "b"}}), [SourceField(name, "INT64")])


@pytest.mark.parametrize("name", ["x" * 63, "é" * 31, "select", 'a"b', "A", "a b", "oid"])
def test_any_other_name_is_kept_as_it_is(name: str) -> None:
    assert map_columns(table(), [SourceField(name, "INT64")])[0].name == name


def test_two_columns_of_one_name_are_refused() -> None:
    fields = [SourceField("a", "INT64"), SourceField("b", "INT64")]
    assert problems(*fields, columns={"b": {"name": "a"}}) == ("columns a and b both become a",)


def test_too_few_and_too_many_columns_are_refused() -> None:
    assert problems(SourceField("a", "INT64"), columns={"a": {"exclude": True}}) == (
        "no column is left",
    )
    many = [SourceField(f"c{n}", "INT64") for n in range(1601)]
    assert problems(*many) == ("1601 columns are more than PostgreSQL's 1600",)
    assert len(map_columns(table(), many[:1600])) == 1600


def test_all_problems_are_told_at_once_with_the_nearest_name() -> None:
    fields = [SourceField("amount", "TOKENLIST"), SourceField("ctid", "INT64")]
    config = {"columns": {"amuont": {"exclude": True}}, "key": ["amont"], "not_null": ["zzz"]}
    assert problems(*fields, mode="merge", cursor=None, **config) == (
        "columns names amuont, which the source does not have, did you mean amount?",
        "key names amont, which the source does not have, did you mean amount?",
        "not_null names zzz, which the source does not have",
        "column amount is TOKENLIST, which has no counterpart here",
        "column ctid has the name of a PostgreSQL system column",
    )


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("a", "`a`"), ("a`b", r"`a\`b`"), ("a\\", r"`a\\`"), ("a\\`b", r"`a\\\`b`"), ("ä b", "`ä b`")],
)
def test_an_identifier_cannot_leave_its_backticks(name: str, quoted: str) -> None:
    assert quote(name) == quoted
