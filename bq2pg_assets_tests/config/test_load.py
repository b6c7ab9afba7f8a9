"""Promise: a wrong file says where, what, what else and the way out, and harms no other table."""

import time
from pathlib import Path

import pytest

from bq2pg_assets.config.load import load_tables, load_tables_strictly
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets_tests.config.folders import GOOD, lines, load

MESSAGES = [
    # the wording of fields
    (
        "mode: appendd",
        "mode: 'appendd' is not one of append, merge, "
        "mirror, replace, scd2, snapshot; did you mean append?",
    ),
    ("mode: on", "mode: on is not one of append, merge, mirror, replace, scd2, snapshot"),
    ("automation: always", "automation: 'always' is not on_source_change"),
    ("cursorr: x", "cursorr is not a field; did you mean cursor?"),
    ("zzz: x", "zzz is not a field; docs/configuration.md lists all"),
    ("columns: {a: {nme: b}}", "columns.a: nme is not a field; did you mean name?"),
    (
        "columns: {a: {wrong: b}}",
        "columns.a: wrong is not a field; docs/configuration.md lists all",
    ),
    (
        "columns: {a: }",
        "columns.a: nothing is not a mapping of name, exclude, expression, cast, default, mask",
    ),
    ("columns: [a]", "columns: a list is not a mapping of name: value"),
    ("columns: {a: {exclude: 1}}", "columns.a.exclude: 1 is not true or false"),
    ("key: id", "key: 'id' is not a list; write [id]"),
    ("key: {a: b}", "key: a mapping is not a list; write [one, two]"),
    ("cursor: ''", "cursor: '' is empty; write a value or leave the line out"),
    ("description: [a]", "description: a list is not text"),
    ("parallelism: 17", "parallelism: 17 is more than 16"),
    ("retries: -1", "retries: -1 is less than 0"),
    ("retries: two", "retries: 'two' is not a whole number"),
    ("name: a-b", "name: 'a-b' may hold letters, digits and _ and begins with no digit"),
    (
        "max_bytes_billed: 5 fib",
        "max_bytes_billed: '5 fib' is not a size; "
        "write a number of bytes, or one with its unit: 50 GiB",
    ),
    (
        "timezone: Europe/Berln",
        "timezone: 'Europe/Berln' is not a time zone of the IANA database; "
        "did you mean Europe/Berlin?",
    ),
    (
        "schedule: 0 25 * * *",
        "schedule: [0 25 * * *] is not acceptable, out of range; write five fields such as "
        "'0 6 * * *'",
    ),
    # what YAML reads as something else
    ("target: no", "target: YAML reads no as true or false; quote it: 'no'"),
    ("group: 12", "group: YAML reads 12 as a number; quote it: '12'"),
    ("tags: {tier: 1.0}", "tags.tier: YAML reads 1.0 as a number; quote it: '1.0'"),
    (
        "description: 2024-01-31",
        "description: YAML reads 2024-01-31 as a date; quote it: '2024-01-31'",
    ),
    (
        "max_bytes_billed: 1:30",
        "max_bytes_billed: YAML reads 1:30 as a number in base 60; quote it: '1:30'",
    ),
    ("not_null: [a, off]", "not_null[1]: YAML reads off as true or false; quote it: 'off'"),
    (
        "columns: {no: {exclude: true}}",
        "the key columns.no: YAML reads no as true or false; quote it: 'no'",
    ),
    ("tags: {~: x}", "the key tags.~: YAML reads ~ as nothing; quote it: '~'"),
    ("source: a.b", "source is given twice, first in line 1; keep one"),
    # what may not be combined
    ("query: SELECT 1", "query: give either source (dataset.table) or query, and not both"),
    (
        "{mode: append, cursor: null}",
        "cursor: append adds rows above a cursor: name its column, or use mode: replace",
    ),
    # YAML itself
    (
        "schedule: @daily",
        "this is not YAML: while scanning for the next token found character that cannot start "
        "any token; quote a value that begins with @",
    ),
    (
        "schedule: */5 * * * *",
        "this is not YAML: while scanning an alias did not find expected alphabetic or numeric "
        "character; quote a value that begins with *",
    ),
    (
        "\tmode: append",
        "this is not YAML: while scanning a plain scalar found a tab character that violates "
        "indentation; indent with spaces, not with tabs",
    ),
    (
        "description: a: b",
        "this is not YAML: mapping values are not allowed in this context; "
        "quote a value that holds a colon and a space",
    ),
    (
        "---\nsource: b.c",
        "this is not YAML: expected a single document in the stream but found another document; "
        "keep one table in one file, without ---",
    ),
    (
        "description: !secret x",
        "this is not YAML: could not determine a constructor for the tag '!secret'; "
        "leave the !tag out, or quote a value that begins with !",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MESSAGES)
def test_a_mistake_is_told_with_file_line_and_way_out(
    tmp_path: Path, text: str, expected: str
) -> None:
    flow = text.startswith("{")
    content = f"{text[:-1]}, source: a.b}}" if flow else f"source: a.b\n{text}\n"
    loaded = load(tmp_path, flights=content)
    assert f"flights.yaml:{1 if flow else 2}: {expected}" in lines(loaded)
    assert loaded.tables == ()


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    content = (
        "mode: appendd\nexport: extract\nquery: SELECT 1\ncursorr: x\nsource: orders\nmode: x\n"
    )
    assert lines(load(tmp_path, flights=content)) == [
        "flights.yaml:2: export: an extract job cannot run a query: use export: auto",
        "flights.yaml:3: query: give either source (dataset.table) or query, and not both",
        "flights.yaml:4: cursorr is not a field; did you mean cursor?",
        "flights.yaml:5: source: 'orders' is not dataset.table or project.dataset.table",
        "flights.yaml:6: mode is given twice, first in line 1; keep one",
        "flights.yaml:6: mode: 'x' is not one of append, merge, mirror, replace, scd2, snapshot",
    ]


def test_an_error_reads_as_where_met_expected_and_the_lines_to_correct(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, flights="source: a.b\nmode: appendd\n").problems
    assert str(problem.error) == (
        f"{tmp_path}/flights.yaml: 1 problem; expected tables that can be loaded. "
        "Correct this (docs/configuration.md):\n"
        "  flights.yaml:2: mode: 'appendd' is not one of append, merge, "
        "mirror, replace, scd2, snapshot; "
        "did you mean append?"
    )
    assert not problem.error.retryable


def test_one_bad_file_takes_away_no_good_table(tmp_path: Path) -> None:
    loaded = load(tmp_path, b=GOOD, a=GOOD, bad="mode: [", worse="- x")
    assert [table.name for table in loaded.tables] == ["a", "b"]
    assert [(p.table, p.file.name) for p in loaded.problems] == [
        ("bad", "bad.yaml"),
        ("worse", "worse.yaml"),
    ]


def test_loading_strictly_names_the_problems_of_all_files_in_one_error(tmp_path: Path) -> None:
    load(tmp_path, a="mode: appendd\nsource: a.b\n", b=GOOD, c="")
    with pytest.raises(ConfigError) as caught:
        load_tables_strictly(tmp_path)
    assert "2 problems" in str(caught.value)
    assert "a.yaml:1: mode:" in str(caught.value)
    assert "c.yaml: the file is empty; give at least source: dataset.table" in str(caught.value)


def test_loading_strictly_returns_the_tables_when_all_are_right(tmp_path: Path) -> None:
    load(tmp_path, b=GOOD, a=GOOD)
    assert [table.name for table in load_tables_strictly(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "x.yaml: the file is empty; give at least source: dataset.table"),
        (b"# later\n", "x.yaml: the file is empty; give at least source: dataset.table"),
        (b"- a\n", "x.yaml: a list is not a mapping of field: value"),
        (b"orders", "x.yaml: 'orders' is not a mapping of field: value"),
        (b"a: b\nc: \xff", "x.yaml:2: byte 0xff is not UTF-8 text; save the file as UTF-8"),
        (b"\ta: 1", "x.yaml:1: this is not YAML: while scanning for the next token found char"),
        (b"a: [1", "x.yaml:1: this is not YAML: while parsing a flow sequence did not find"),
        (b"a: !!int", "x.yaml: a value is not of its kind (string index out of range); remove"),
        (b"a: \x01", "x.yaml: this is not YAML: unacceptable character #x0001"),
        (b"mode: replace", "x.yaml: source: give either source (dataset.table) or query"),
    ],
)
def test_a_file_that_is_no_table_says_so(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    (line,) = lines(load_tables(tmp_path))
    assert line.startswith(expected)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    (tmp_path / "y.yaml").symlink_to(tmp_path / "nowhere")
    assert lines(load_tables(tmp_path)) == [
        "x.yaml: the file cannot be read (is a directory); make it readable",
        "y.yaml: the file cannot be read (no such file or directory); make it readable",
    ]


def test_a_missing_folder_says_how_to_name_another(tmp_path: Path) -> None:
    (problem,) = load_tables(tmp_path / "gone").problems
    assert problem.lines == (
        f"{tmp_path}/gone: the folder of the tables cannot be read (no such file or directory); "
        "create it, or name another one in BQ2PG_TABLES",
    )
    assert problem.table == "tables"


def test_a_folder_without_tables_says_how_to_add_one(tmp_path: Path) -> None:
    assert lines(load(tmp_path, _defaults="")) == [
        f"{tmp_path}: there is no table in this folder; add one as <name>.yaml "
        "(docs/configuration.md), or name another folder in BQ2PG_TABLES (`bq2pg local env` names "
        "the demo's)"
    ]


def test_an_unknown_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean production"):
        load(tmp_path, a=GOOD, environment="prod")


def test_the_name_is_the_file_s_unless_given_and_yml_counts_too(tmp_path: Path) -> None:
    (tmp_path / "short.yml").write_text(GOOD)
    (tmp_path / ".hidden.yaml").write_text("[")
    (tmp_path / "notes.txt").write_text("[")
    loaded = load(tmp_path, orders=GOOD, other=GOOD + "name: sales")
    assert [(t.name, str(t.target_name)) for t in loaded.tables] == [
        ("orders", "public.orders"),
        ("sales", "public.sales"),
        ("short", "public.short"),
    ]
    assert loaded.problems == ()


def test_a_file_whose_name_is_no_asset_s_name_says_how_to_give_one(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, **{"my-orders": GOOD}).problems
    assert problem.lines == (
        "my-orders.yaml: name: 'my-orders' may hold letters, digits and _ and begins with no "
        "digit; rename the file, or give name:",
    )
    assert problem.table == "my_orders"


def test_the_second_of_two_files_with_one_name_is_refused(tmp_path: Path) -> None:
    loaded = load(tmp_path, a=GOOD, b=GOOD + "name: a\n")
    assert [table.name for table in loaded.tables] == ["a"]
    assert lines(loaded) == [
        "b.yaml:2: a.yaml already defines the table a; give one of them another name or remove it"
    ]
    assert loaded.problems[0].table == "a_2"


def test_the_second_of_two_tables_with_one_target_is_refused_naming_both(tmp_path: Path) -> None:
    loaded = load(tmp_path, a=GOOD + "target: x.y\n", b=GOOD + "\ntarget: '\"x\".y'\n", c=GOOD)
    assert [table.name for table in loaded.tables] == ["a", "c"]
    assert lines(loaded) == [
        "b.yaml:3: target: a.yaml already writes x.y and b.yaml would too; "
        "give one of them another target"
    ]


def test_a_password_in_a_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        a="source: postgresql://loader:geheim@host/db\n",
        b="pg_dsn: host=x password=geheim\nsource: a.b\nmode: password=geheim\n",
    )
    assert len(loaded.problems) == 2
    with pytest.raises(ConfigError) as strict:
        load_tables_strictly(tmp_path)
    assert "geheim" not in "".join(map(str, [*loaded.problems, strict.value]))


def test_anchors_and_merge_keys_are_plain_yaml(tmp_path: Path) -> None:
    content = (
        "source: a.b\ntags: &t {x: 'y'}\ncolumns:\n  a: &a {name: b}\n  c: {<<: *a, name: d}\n"
    )
    (table,) = load(tmp_path, orders=content).tables
    assert table.columns["c"].name == "d"


@pytest.mark.parametrize("mode", ["append", "appendd"])
def test_a_thousand_files_are_loaded_in_about_a_second_good_or_bad(
    tmp_path: Path, mode: str
) -> None:
    """Processor time, best of three: 0.5 s on an idle core of 2024, so 2 s leaves room."""
    for number in range(1000):
        (tmp_path / f"t{number}.yaml").write_text(
            f"source: sales.orders_{number}\ntarget: sales.orders_{number}\nmode: {mode}\n"
            "cursor: changed_at\nkey: [id]\nnot_null:\n  - id\n  - changed_at\n"
            "columns:\n  old: {name: new}\n  secret: {exclude: true}\n"
            "schedule: 0 6 * * *\ntimezone: Europe/Berlin\nowners: [team:sales]\n"
            "tags: {tier: gold}\n"
        )
    seconds = []
    for _ in range(3):
        start = time.process_time()
        loaded = load_tables(tmp_path)
        seconds.append(time.process_time() - start)
    assert len(loaded.tables) == (1000 if mode == "append" else 0)
    assert len(loaded.tables) + len(loaded.problems) == 1000
    assert min(seconds) < 2
