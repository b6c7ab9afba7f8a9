"""Folders of YAML files for the tests of this package."""

from pathlib import Path

from bq2pg_assets.config.load import LoadedTables, load_tables

GOOD = "source: sales.orders\n"


def load(folder: Path, *, environment: str = "development", **files: str) -> LoadedTables:
    """What is loaded after writing `files`: name -> content; `.yaml` is added to the names."""
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return load_tables(folder, environment=environment)


def lines(loaded: LoadedTables) -> list[str]:
    """Every sentence of every problem."""
    return [line for problem in loaded.problems for line in problem.lines]
