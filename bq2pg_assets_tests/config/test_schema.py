"""Promise: what editors and readers are told of the fields is what the program accepts."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from bq2pg_assets.config.load import load_tables_strictly
from bq2pg_assets.config.overlays import ENVIRONMENTS
from bq2pg_assets.config.schema import DOCS, generated, main, overlay_schema, table_schema
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets.settings import variables

DEMO = sorted(DEMO_FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", ["table.schema.json", "overlay.schema.json", "configuration.md"])
def test_the_generated_file_is_current(name: str) -> None:
    guide = (DOCS / "configuration.md").read_text(encoding="utf-8")
    current = (DOCS / name).read_text(encoding="utf-8")
    assert current == generated(guide)[name], "run python -m bq2pg_assets.config.schema"


def test_the_generator_fills_the_tables_of_the_guide(tmp_path: Path) -> None:
    empty = "x\n<!-- fields: generated -->\n<!-- fields: end -->\n<!-- variables: generated -->\n"
    (tmp_path / "configuration.md").write_text(empty + "<!-- variables: end -->\ny\n")
    main(tmp_path)
    guide = (tmp_path / "configuration.md").read_text()
    assert "| `max_bytes_billed` | number or text |" in guide
    assert "| `BQ2PG_PG_DSN` |" in guide
    assert guide.startswith("x\n")
    assert guide.endswith("\ny\n")
    assert json.loads((tmp_path / "table.schema.json").read_text()) == table_schema()


@pytest.mark.parametrize("schema", [table_schema(), overlay_schema()])
def test_the_schema_is_a_schema(schema: dict[str, object]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("file", DEMO, ids=lambda file: file.stem)
def test_every_demo_file_fits_the_schema_it_names(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = (file.parent / named).resolve()
    kind = "overlay" if file.stem.startswith("_") else "table"
    assert schema == DOCS / f"{kind}.schema.json"
    jsonschema.validate(yaml.safe_load(text), json.loads(schema.read_text(encoding="utf-8")))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_demo_table_loads_in_every_environment(environment: str) -> None:
    names = [table.name for table in load_tables_strictly(DEMO_FOLDER, environment=environment)]
    assert names == [file.stem for file in DEMO if not file.stem.startswith("_")]


@pytest.mark.parametrize(
    "content", ["cursorr: x", "mode: appendd", "key: id", "parallelism: 17", "columns: {a: {x: y}}"]
)
def test_the_schema_refuses_what_the_loader_refuses(content: str) -> None:
    for schema, text in (
        (table_schema(), f"source: a.b\n{content}"),
        (overlay_schema(), f"defaults:\n  {content}"),
        (overlay_schema(), f"tables:\n  orders:\n    {content}"),
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), schema)


def test_every_field_and_every_variable_says_its_meaning() -> None:
    assert all(field.get("description") for field in table_schema()["properties"].values())
    assert all(variable.purpose and variable.example for variable in variables())
