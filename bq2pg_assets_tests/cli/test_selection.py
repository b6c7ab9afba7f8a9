"""Promise: a name that is wrong is answered with the right one; a bad file harms no other table."""

from pathlib import Path

import pytest

from bq2pg_assets.cli.selection import select
from bq2pg_assets.config.load import LoadedTables, load_tables
from bq2pg_assets.engine.errors import ConfigError

GOOD = "source: shop.orders\ntarget: {}\n"


def loaded(folder: Path, **files: str) -> LoadedTables:
    for name in ("orders", "customers"):
        (folder / f"{name}.yaml").write_text(GOOD.format(name), encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return load_tables(folder)


def test_named_tables_come_in_the_order_given_and_once(tmp_path: Path) -> None:
    chosen = select(["orders", "customers", "orders"], everything=False, loaded=loaded(tmp_path))
    assert [table.name for table in chosen.tables] == ["orders", "customers"]


def test_all_unknown_names_are_told_at_once_with_their_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        select(["Ordrs", "orders", "cstomers", "zzz"], everything=False, loaded=loaded(tmp_path))
    assert caught.value.met == "no table is called Ordrs or cstomers or zzz"
    assert caught.value.way_out.splitlines() == [
        "Ordrs: did you mean orders?",
        "cstomers: did you mean customers?",
        "zzz: no name is like it",
        "Configured are customers, orders.",
    ]


@pytest.mark.parametrize(("names", "everything"), [((), False), (("orders",), True)])
def test_names_or_all_and_not_both(
    names: tuple[str, ...], everything: bool, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        select(names, everything=everything, loaded=loaded(tmp_path))
    assert caught.value.expected == "either the names of tables or --all"


def test_all_leaves_out_a_bad_file_and_hands_on_its_error(tmp_path: Path) -> None:
    chosen = select((), everything=True, loaded=loaded(tmp_path, bad="mode: x\n"))
    assert [table.name for table in chosen.tables] == ["customers", "orders"]
    assert "bad.yaml" in chosen.errors[0].way_out


def test_a_bad_file_that_was_not_asked_for_is_not_mentioned(tmp_path: Path) -> None:
    chosen = select(["orders"], everything=False, loaded=loaded(tmp_path, bad="mode: x\n"))
    assert not chosen.errors


def test_only_bad_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        select(["bad"], everything=False, loaded=loaded(tmp_path, bad="mode: x\n"))


@pytest.mark.parametrize("names", [(), ("orders",)])
def test_an_empty_folder_says_so(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no table in this folder") as caught:
        select(names, everything=not names, loaded=load_tables(tmp_path))
    assert "Configured are" not in caught.value.way_out
