"""Promise: what is shared or differs between environments is merged in one documented order."""

from pathlib import Path

import pytest

from bq2pg_assets.config.overlays import ENVIRONMENTS
from bq2pg_assets_tests.config.folders import GOOD, lines, load

DEFAULTS = "defaults: {retries: 1}\n"
PRODUCTION = "defaults: {retries: 2}\n"
TABLE = GOOD + "retries: 3\n"
PATCH = "tables: {orders: {retries: 4}}\n"


@pytest.mark.parametrize(
    ("files", "environment", "retries"),
    [
        ({"orders": GOOD}, "production", 2),  # the model's default
        ({"orders": GOOD, "_defaults": "defaults: {retries: 9}"}, "production", 9),
        ({"orders": GOOD, "_defaults": "defaults: {retries: 9}"}, "development", 9),
        (
            {"orders": GOOD, "_defaults": DEFAULTS, "_production": "defaults: {retries: 5}"},
            "production",
            5,
        ),
        (
            {"orders": GOOD, "_defaults": DEFAULTS, "_production": "defaults: {retries: 5}"},
            "staging",
            1,
        ),
        ({"orders": TABLE, "_defaults": DEFAULTS, "_production": PRODUCTION}, "production", 3),
        (
            {"orders": TABLE, "_defaults": DEFAULTS, "_production": PRODUCTION + PATCH},
            "production",
            4,
        ),
        (
            {"orders": TABLE, "_defaults": DEFAULTS, "_production": PRODUCTION + PATCH},
            "development",
            3,
        ),
        ({"orders": TABLE, "_development": PATCH}, "development", 4),
        ({"orders": TABLE, "_staging": PATCH}, "staging", 4),
        ({"other": TABLE + "name: orders\n", "_staging": PATCH}, "staging", 4),
        ({"orders": TABLE, "_defaults": "", "_staging": "defaults:\ntables:\n"}, "staging", 3),
        ({"orders": TABLE, "_staging": "tables:\n  orders:\n"}, "staging", 3),
    ],
)
def test_later_layers_win(
    tmp_path: Path, files: dict[str, str], environment: str, retries: int
) -> None:
    loaded = load(tmp_path, environment=environment, **files)
    assert loaded.problems == ()
    assert [table.retries for table in loaded.tables] == [retries]


def test_mappings_are_merged_key_by_key_and_lists_are_replaced(tmp_path: Path) -> None:
    (table,) = load(
        tmp_path,
        _defaults="defaults: {tags: {a: '1', b: '1'}, owners: [team:a]}",
        orders=GOOD + "tags: {b: '2', c: '2'}\nowners: [team:b]\ncolumns: {x: {name: y}, z: {}}\n",
        _production="tables: {orders: {tags: {c: '3'}, columns: {x: {exclude: true}}}}",
        environment="production",
    ).tables
    assert table.tags == {"a": "1", "b": "2", "c": "3"}
    assert table.owners == ("team:b",)
    assert (table.columns["x"].name, table.columns["x"].exclude) == ("y", True)
    assert set(table.columns) == {"x", "z"}


def test_a_wrong_value_is_told_where_it_stands(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        _defaults="defaults:\n  retries: 99\n  tags:\n    tier: no\n",
        _production="\ntables:\n  orders:\n    mode: appendd\n",
        orders=GOOD + "parallelism: 0\n",
        environment="production",
    )
    assert lines(loaded) == [
        "_defaults.yaml:2: retries: 99 is more than 10",
        "_defaults.yaml:4: tags.tier: YAML reads no as true or false; quote it: 'no'",
        "_production.yaml:4: mode: 'appendd' is not one of append, merge, "
        "mirror, replace, scd2, snapshot; "
        "did you mean append?",
        "orders.yaml:2: parallelism: 0 is less than 1",
    ]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "tables:\n  orderz: {retries: 1}\n",
            "2: tables.orderz: no file defines the table orderz; did you mean orders?",
        ),
        ("tables:\n  orders:\n    cursorr: x\n", "3: cursorr is not a field; did you mean cursor?"),
        ("defaults:\n  cursorr: x\n", "2: cursorr is not a field; did you mean cursor?"),
        ("defaults:\n  name: x\n", "2: name is given in the table's own file; remove it here"),
        ("default:\n", "1: default has no place here; did you mean defaults?"),
        ("retries: 1\n", "1: retries has no place here; put it under defaults"),
        ("defaults: [a]\n", "1: defaults: a list is not a mapping of fields"),
        ("tables: [a]\n", "1: tables: a list is not a mapping of table names to fields"),
        ("tables:\n  orders: 1\n", "2: tables.orders: 1 is not a mapping of fields"),
        (
            "a: [\n",
            "1: this is not YAML: while parsing a flow node did not find expected node content",
        ),
        (
            "defaults: {retries: 1, retries: 2}\n",
            "1: defaults.retries is given twice, first in line 1; keep one",
        ),
    ],
)
def test_a_mistake_in_an_overlay_is_told_in_every_environment(
    tmp_path: Path, environment: str, content: str, expected: str
) -> None:
    loaded = load(tmp_path, orders=GOOD, _production=content, environment=environment)
    problem = next(p for p in loaded.problems if p.table == "_production")
    assert problem.lines == (f"_production.yaml:{expected}",)


@pytest.mark.parametrize(
    "content", ["- a", "defaults: [a]", "default: {}", "a: [", "defaults: {name: x}", "tables: 1"]
)
def test_no_table_is_loaded_below_a_broken_overlay_that_applies(
    tmp_path: Path, content: str
) -> None:
    files = {"a": GOOD, "b": GOOD, "_production": content}
    broken = load(tmp_path, environment="production", **files)
    assert broken.tables == ()
    assert {problem.table for problem in broken.problems} == {"a", "b", "_production"}
    assert len(load(tmp_path, environment="staging", **files).tables) == 2


def test_a_broken_patch_takes_away_its_own_table_only(tmp_path: Path) -> None:
    patch = "tables: {a: {cursorr: x}, unknown: {retries: 1}}"
    loaded = load(tmp_path, a=GOOD, b=GOOD, _production=patch, environment="production")
    assert [table.name for table in loaded.tables] == ["b"]


def test_a_file_of_no_environment_is_refused(tmp_path: Path) -> None:
    loaded = load(tmp_path, a=GOOD, _prod="defaults: {retries: 1}")
    assert lines(loaded) == [
        "_prod.yaml: files that begin with _ are for all tables, and this is none of _defaults, "
        "_development, _staging, _production; rename it, or move it out of the folder"
    ]
    assert len(loaded.tables) == 1


def test_defaults_have_no_patches_for_single_tables(tmp_path: Path) -> None:
    loaded = load(tmp_path, a=GOOD, _defaults="tables: {a: {retries: 1}}")
    assert lines(loaded)[0] == (
        "_defaults.yaml:1: tables belongs to an environment; use the table's own file"
    )


def test_the_same_overlay_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_defaults.yml").write_text("")
    loaded = load(tmp_path, a=GOOD, _defaults="")
    assert "_defaults.yml: _defaults.yaml is there too; keep one" in lines(loaded)
    assert loaded.tables == ()
