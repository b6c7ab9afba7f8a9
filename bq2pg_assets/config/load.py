"""A folder of YAML files, read into tables.

Belongs here: the folder, its files, and what two tables may not share. Does not: YAML and lines
(document.py), the order of overlays (overlays.py), wording (problems.py), fields (table.py).

One bad file takes away its own table only: `load_tables` returns the good ones beside the
problems, and never guesses: a table below a broken overlay is a problem too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pydantic import ValidationError

from bq2pg_assets.config.document import Document, read_document
from bq2pg_assets.config.overlays import (
    ENVIRONMENTS,
    Layer,
    merge,
    origin,
    overlay_problems,
    stack,
)
from bq2pg_assets.config.problems import (
    GUIDE,
    Loc,
    config_error,
    did_you_mean,
    dotted,
    shown,
    table_problems,
)
from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.redact import redact

EXPECTED = "tables that can be loaded"


@dataclass(frozen=True, slots=True)
class TableProblem:
    """Why a file gives no table. `table` is unique in a LoadedTables, among the tables as well.

    It is made of letters, digits and `_` only, so that a placeholder can bear it. `lines` are the
    sentences of `error`, each of which begins with file and line.
    """

    table: str
    file: Path
    error: ConfigError
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedTables:
    """The good tables, sorted by name, and what is wrong with the others."""

    tables: tuple[TableConfig, ...]
    problems: tuple[TableProblem, ...]


@dataclass(slots=True)
class _Folder:
    """What was read and found so far, while a folder is loaded."""

    overlays: dict[Path, Document] = field(default_factory=dict)
    documents: dict[Path, Document] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)
    tables: dict[Path, TableConfig] = field(default_factory=dict)
    lines: dict[Path, list[str]] = field(default_factory=dict)


def load_tables(folder: Path, *, environment: str = "development") -> LoadedTables:
    """Every table of the folder's `*.yaml` and `*.yml` files; subfolders are not read.

    Files that begin with `_` are overlays (overlays.py), files that begin with `.` are skipped.
    Never raises for what stands in the folder, nor for a missing one: that is a problem too.
    Raises ConfigError for an unknown environment.
    """
    if environment not in ENVIRONMENTS:
        raise ConfigError(
            "environment",
            met=repr(environment),
            expected=f"one of {', '.join(ENVIRONMENTS)}",
            way_out=f"Set BQ2PG_ENV to one of them; {did_you_mean(environment, ENVIRONMENTS)}",
        )
    found = _Folder()
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        files = []
        found.lines[folder] = [
            f"{folder}: the folder of the tables cannot be read ({_reason(error)}); "
            "create it, or name another one in BQ2PG_TABLES"
        ]
    for path in files:
        if not path.name.startswith("."):
            kind = found.overlays if path.name.startswith("_") else found.documents
            kind[path] = _read(path)
    if not found.documents and folder not in found.lines:
        found.lines[folder] = [
            f"{folder}: there is no table in this folder; add one as <name>.yaml ({GUIDE}), "
            "or name another folder in BQ2PG_TABLES (`bq2pg local env` names the demo's)"
        ]
    _load(found, environment)
    good = [table for path, table in found.tables.items() if not found.lines[path]]
    good.sort(key=lambda table: table.name)
    names = [table.name for table in good]
    return LoadedTables(tuple(good), tuple(_problems(found, folder=folder, taken=names)))


def load_tables_strictly(
    folder: Path, *, environment: str = "development"
) -> tuple[TableConfig, ...]:
    """The tables of `load_tables`, sorted by name. Raises one ConfigError with all problems."""
    loaded = load_tables(folder, environment=environment)
    if loaded.problems:
        lines = [line for problem in loaded.problems for line in problem.lines]
        raise config_error(str(folder), lines, expected=EXPECTED)
    return loaded.tables


def _load(found: _Folder, environment: str) -> None:
    for path, document in found.documents.items():
        found.lines[path] = list(document.problems)
        given = document.data.get("name") if isinstance(document.data, dict) else None
        found.names[path] = given if isinstance(given, str) else path.stem
    broken = _check_overlays(found, environment)
    applied = [
        document
        for stem in ("_defaults", f"_{environment}")
        for path, document in found.overlays.items()
        if path.stem == stem
    ]
    owners: dict[str, Path] = {}
    for path, document in found.documents.items():
        if (other := owners.setdefault(found.names[path], path)) != path:
            found.lines[path].append(
                f"{document.at(('name',))}: {other.name} already defines the table "
                f"{found.names[path]}; give one of them another name or remove it"
            )
        found.lines[path] += _table(found, path, applied)
        found.lines[path] += broken
    _refuse_shared_targets(found, applied)


def _check_overlays(found: _Folder, environment: str) -> list[str]:
    """Record each overlay's problems; those that spoil an overlay that applies are returned."""
    broken: list[str] = []
    stems: dict[str, Path] = {}
    for path, document in found.overlays.items():
        names = tuple(found.names.values())
        problems = list(overlay_problems(document, stem=path.stem, tables=names))
        if (other := stems.setdefault(path.stem, path)) != path:
            problems.append((True, f"{document.file}: {other.name} is there too; keep one"))
        found.lines[path] = [sentence for _, sentence in problems]
        if path.stem in ("_defaults", f"_{environment}"):
            broken += [sentence for spoils, sentence in problems if spoils]
    return broken


def _table(found: _Folder, path: Path, applied: Sequence[Document]) -> Iterator[str]:
    """Validate one table into `found.tables`; yields what is wrong with it."""
    document = found.documents[path]
    if document.unusable:
        return
    if document.data is None:
        yield f"{document.file}: the file is empty; give at least source: dataset.table"
        return
    if not isinstance(document.data, dict):
        yield f"{document.file}: {shown(document.data)} is not a mapping of field: value"
        return
    layers = stack(document, name=found.names[path], overlays=applied)
    fields = {"name": path.stem} | merge(layers)
    try:
        found.tables[path] = TableConfig.model_validate(fields)
    except ValidationError as error:
        yield from _located(error, fields, layers)


def _located(
    error: ValidationError, fields: dict[str, object], layers: Sequence[Layer]
) -> Iterator[str]:
    def misread(loc: Loc) -> tuple[str, str] | None:
        document, path = origin(layers, loc)
        return document.misread(path)

    for loc, sentence in table_problems(error, fields, misread=misread):
        document, path = origin(layers, loc)
        where = document.at(path)
        if loc == ("name",) and not document.depth(path):
            sentence += "; rename the file, or give name:"
        if not any(p.startswith(f"{where}: {dotted(loc)}: ") for p in document.problems):
            yield f"{where}: {sentence}"


def _refuse_shared_targets(found: _Folder, applied: Sequence[Document]) -> None:
    owners: dict[str, Path] = {}
    for path, table in found.tables.items():
        target = str(table.target_name)
        other = owners.setdefault(target, path)
        if other != path and found.names[other] != found.names[path]:
            layers = stack(found.documents[path], name=table.name, overlays=applied)
            document, loc = origin(layers, ("target",))
            found.lines[path].append(
                f"{document.at(loc)}: target: {other.name} already writes {target} and "
                f"{path.name} would too; give one of them another target"
            )


def _problems(found: _Folder, *, folder: Path, taken: Iterable[str]) -> Iterator[TableProblem]:
    names = set(taken)
    for path, lines in found.lines.items():
        if not lines:
            continue
        wanted = "tables" if path == folder else found.names.get(path, path.stem)
        wanted = name = re.sub(r"\W", "_", wanted, flags=re.ASCII) or "_"
        numbers = count(2)
        while name in names:
            name = f"{wanted}_{next(numbers)}"
        names.add(name)
        unique = tuple(redact(line) for line in sorted(set(lines), key=_place))
        yield TableProblem(name, path, config_error(str(path), unique, expected=EXPECTED), unique)


def _read(path: Path) -> Document:
    try:
        return read_document(path.read_bytes(), file=path.name)
    except OSError as error:
        sentence = f"{path.name}: the file cannot be read ({_reason(error)}); make it readable"
        return Document(path.name, problems=(sentence,), unusable=True)


def _place(line: str) -> tuple[str, int, str]:
    """Sorts sentences as the files are read: by file, then by line."""
    match = re.match(r"([^:]*)(?::(\d+))?: ", line)
    return (match[1], int(match[2] or 0), line) if match else ("", 0, line)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
