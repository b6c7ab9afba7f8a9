"""What is shared by tables or differs between environments: the files that begin with `_`.

Belongs here: their one shape, the order in which they win, and what may not stand in them.
Does not: reading files (load.py), judging a merged table (table.py). Pure.

`_defaults.yaml`, `_development.yaml`, `_staging.yaml` and `_production.yaml` are all optional and
have one shape: `defaults` holds fields for all tables, `tables` patches single ones by name.

    defaults: {retries: 3}
    tables:
      flights: {parallelism: 8}

Later wins: `_defaults.yaml: defaults`, `_<environment>.yaml: defaults`, the table's own file,
`_<environment>.yaml: tables.<name>`. `_defaults.yaml` has no `tables`: what holds everywhere
stands in the table's own file. `columns` and `tags` are merged key by key; any other value
replaces the one before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from bq2pg_assets.config.document import Document
from bq2pg_assets.config.problems import Loc, did_you_mean, dotted, shown, unknown_field
from bq2pg_assets.config.table import TableConfig

Environment = Literal["development", "staging", "production"]
ENVIRONMENTS: tuple[str, ...] = get_args(Environment)
STEMS = tuple(f"_{name}" for name in ("defaults", *ENVIRONMENTS))
PARTS = ("defaults", "tables")
PATCHABLE = tuple(name for name in TableConfig.model_fields if name != "name")


@dataclass(frozen=True, slots=True)
class Layer:
    """Fields of a table that stand together at `path` of one file."""

    document: Document
    path: Loc
    fields: Mapping[str, Any]


def stack(table: Document, *, name: str, overlays: Sequence[Document]) -> tuple[Layer, ...]:
    """The layers of a table, the winning one last. `overlays`: those that apply, in order."""
    below = [layer for o in overlays if (layer := _layer(o, ("defaults",)))]
    above = [layer for o in overlays if (layer := _layer(o, ("tables", name)))]
    return (*below, Layer(table, (), table.data), *above)


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """The fields of all layers; a later one wins, mappings are merged key by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merged(merged, layer.fields)
    return merged


def origin(layers: Sequence[Layer], loc: Loc) -> tuple[Document, Loc]:
    """The file, and the path in it, that says most about `loc`; the winning one of equals."""
    best = max(
        reversed(layers),
        key=lambda layer: layer.document.depth((*layer.path, *loc)) - len(layer.path),
    )
    return best.document, (*best.path, *loc)


def overlay_problems(
    overlay: Document, *, stem: str, tables: Sequence[str]
) -> Iterator[tuple[bool, str]]:
    """Each mistake in an overlay: whether it spoils the whole overlay, and the sentence.

    `tables` are the names of all tables in the folder.
    """
    if stem not in STEMS:
        yield (
            True,
            f"{overlay.file}: files that begin with _ are for all tables, and this is none of "
            f"{', '.join(STEMS)}; rename it, or move it out of the folder",
        )
    yield from ((True, problem) for problem in overlay.problems)
    if overlay.unusable or overlay.data is None:
        return
    if not isinstance(overlay.data, dict):
        yield (
            True,
            f"{overlay.file}: {shown(overlay.data)} is not a mapping of {' and '.join(PARTS)}",
        )
        return
    for part, value in overlay.data.items():
        if part not in PARTS:
            hint = "put it under defaults" if part in PATCHABLE else did_you_mean(part, PARTS)
            yield True, f"{overlay.at((part,))}: {part} has no place here; {hint}"
        elif part == "defaults":
            yield from _patch_problems(overlay, (part,), value)
        elif stem == "_defaults":
            where = overlay.at((part,))
            yield True, f"{where}: tables belongs to an environment; use the table's own file"
        elif value is not None:
            yield from _tables_problems(overlay, value, tables)


def _tables_problems(
    overlay: Document, value: Any, tables: Sequence[str]
) -> Iterator[tuple[bool, str]]:
    if not isinstance(value, dict):
        where = overlay.at(("tables",))
        yield True, f"{where}: tables: {shown(value)} is not a mapping of table names to fields"
        return
    for name, patch in value.items():
        if name not in tables:
            where, near = overlay.at(("tables", name)), did_you_mean(name, tables)
            yield False, f"{where}: tables.{name}: no file defines the table {name}; {near}"
        yield from _patch_problems(overlay, ("tables", name), patch)


def _patch_problems(overlay: Document, path: Loc, patch: Any) -> Iterator[tuple[bool, str]]:
    if patch is None:
        return
    if not isinstance(patch, dict):
        yield True, f"{overlay.at(path)}: {dotted(path)}: {shown(patch)} is not a mapping of fields"
        return
    for name in patch:
        where = overlay.at((*path, name))
        if name == "name":
            yield True, f"{where}: name is given in the table's own file; remove it here"
        elif name not in PATCHABLE:
            yield False, f"{where}: {unknown_field(name)}"


def _layer(overlay: Document, path: Loc) -> Layer | None:
    fields = overlay.data
    for part in path:
        fields = fields.get(part) if isinstance(fields, dict) else None
    return Layer(overlay, path, fields) if isinstance(fields, dict) else None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        lower = merged.get(name)
        if isinstance(lower, dict) and isinstance(value, dict):
            merged[name] = _merged(lower, value)
        else:
            merged[name] = value
    return merged
