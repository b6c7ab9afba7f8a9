"""What the models say of themselves, for editors and for readers.

Belongs here: the JSON Schemas of a table's file and of an overlay file, and the tables of fields
and of environment variables in docs/configuration.md. Does not: checking a file (load.py).

`python -m bq2pg_assets.config.schema` writes them all; a test fails when they are not current.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bq2pg_assets.config.overlays import PATCHABLE
from bq2pg_assets.config.table import ColumnConfig, TableConfig
from bq2pg_assets.settings import variables

DOCS = Path(__file__).parents[2] / "docs"
KINDS = {
    "array": "list",
    "boolean": "true, false",
    "integer": "number",
    "object": "mapping",
    "string": "text",
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def table_schema() -> dict[str, Any]:
    """The JSON Schema of `<name>.yaml`. Nothing is required there: `name` is the file's stem."""
    schema: dict[str, Any] = _plain(TableConfig.model_json_schema())
    del schema["required"]
    return {"$schema": DIALECT, "title": "A table of bq2pg"} | schema


def overlay_schema() -> dict[str, Any]:
    """The JSON Schema of `_defaults.yaml` and `_<environment>.yaml`."""
    table = table_schema()
    fields = {
        "description": "Fields of a table.",
        "type": ["object", "null"],
        "properties": {name: table["properties"][name] for name in PATCHABLE},
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "What several tables of bq2pg share, or one environment changes",
        "type": ["object", "null"],
        "properties": {
            "defaults": {"$ref": "#/$defs/Fields"},
            "tables": {
                "description": "Fields by table name; only in the file of an environment.",
                "type": ["object", "null"],
                "additionalProperties": {"$ref": "#/$defs/Fields"},
            },
        },
        "additionalProperties": False,
        "$defs": table["$defs"] | {"Fields": fields},
    }


def fields_table() -> str:
    """The fields of a table's file as Markdown."""
    rows = [
        (f"`{prefix}{name}`", _kind(field), _default(field), field.get("description", ""))
        for prefix, schema in (
            ("", table_schema()),
            ("columns.<column>.", _plain(ColumnConfig.model_json_schema())),
        )
        for name, field in schema["properties"].items()
    ]
    return _markdown(("field", "value", "default", "meaning"), rows)


def variables_table() -> str:
    """The environment variables as Markdown."""
    rows = []
    for v in variables():
        default = "**needed**" if v.default is None else _code(v.default)
        rows.append((f"`{v.name}`", v.purpose, default, f"`{v.example}`"))
    return _markdown(("variable", "meaning", "default", "example"), rows)


def generated(guide: str) -> dict[str, str]:
    """Each generated file's content by name; `guide` is configuration.md as it is now."""
    for name, table in (("fields", fields_table()), ("variables", variables_table())):
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        guide = re.sub(pattern, lambda _: f"{begin}\n{table}\n{end}", guide, flags=re.DOTALL)  # noqa: B023
    return {
        "table.schema.json": json.dumps(table_schema(), indent=2) + "\n",
        "overlay.schema.json": json.dumps(overlay_schema(), indent=2) + "\n",
        "configuration.md": guide,
    }


def main(docs: Path = DOCS) -> None:
    """Write the generated files into the folder `docs`."""
    guide = (docs / "configuration.md").read_text(encoding="utf-8")
    for name, content in generated(guide).items():
        (docs / name).write_text(content, encoding="utf-8")


def _plain(schema: Any) -> Any:
    """Without pydantic's titles, which repeat the names, and with descriptions on one line."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: _plain(v) for k, v in schema.items() if k != "title" or isinstance(v, dict)}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    return kept


def _kind(field: Mapping[str, Any]) -> str:
    """What may be written for a field, in a few words."""
    if "anyOf" in field:
        return " or ".join(_kind(option) for option in field["anyOf"])
    if words := field.get("enum") or ([field["const"]] if "const" in field else []):
        return ", ".join(_code(word) for word in words)
    given = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(KINDS.get(str(kind), str(kind)) for kind in given)


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    return "" if default in (None, "", [], {}) else _code(json.dumps(default).strip('"'))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    table = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in table)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
