"""The asset graph: keys, dependencies and the snapshot of the demo tables' specifications."""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bq2pg_assets.config.load import load_tables_strictly
from bq2pg_assets.defs.spec import asset_key, asset_spec, code_version, source_specs
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets_tests.defs.fakes import a_table

SNAPSHOT = Path(__file__).parents[1] / "cases" / "asset_specs.json"
UPDATE = "BQ2PG_TEST_UPDATE_SNAPSHOTS"


def _sources(**fields: Any) -> list[str]:
    return [spec.key.to_user_string() for spec in source_specs(a_table(**fields))]


def test_the_graph_of_the_demo_tables_is_the_recorded_one() -> None:
    """A change of the graph shows in the diff of the snapshot.

    BQ2PG_TEST_UPDATE_SNAPSHOTS=1 pytest bq2pg_assets_tests/defs/test_spec.py writes it anew.
    """
    found = [_shown(spec) for table in load_tables_strictly(DEMO_FOLDER) for spec in _specs(table)]
    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get(UPDATE):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8") == text


def test_the_key_is_schema_and_table() -> None:
    assert asset_key(a_table(target="sales.orders")).path == ["sales", "orders"]
    assert asset_key(a_table(target="orders")).path == ["public", "orders"]


def test_a_key_holds_only_what_dagster_takes() -> None:
    assert asset_key(a_table(target='"my schema"."ta""ble"')).path == ["my_schema", "ta_ble"]


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({"source": "shop.orders"}, ["bigquery/shop/orders"]),
        ({"source": "other-project.shop.orders"}, ["bigquery/other-project/shop/orders"]),
        ({"query": "SELECT 1 AS one"}, []),
        ({"query": "SELECT * FROM shop.a JOIN `p-1.shop.b` USING (id)"}, ["p-1/shop/b", "shop/a"]),
        ({"query": "WITH a AS (SELECT * FROM shop.b) SELECT * FROM a"}, ["shop/b"]),
        ({"query": "SELECT i.x FROM shop.a AS t, t.items AS i, UNNEST(t.more)"}, ["shop/a"]),
        ({"query": "SELECT (SELECT MAX(x) FROM shop.b) FROM shop.a"}, ["shop/a", "shop/b"]),
        ({"query": "SELECT * FROM `shop.events_*`"}, ["shop/events__"]),
        ({"query": "SELECT FROM WHERE"}, []),
    ],
)
def test_upstream_is_every_table_that_is_read(fields: dict[str, Any], keys: list[str]) -> None:
    expected = [key if key.startswith("bigquery/") else f"bigquery/{key}" for key in keys]
    assert _sources(**fields) == expected
    assert [d.asset_key.to_user_string() for d in asset_spec(a_table(**fields)).deps] == expected


def test_the_code_version_changes_with_the_content_only() -> None:
    """Dagster calls an asset with a changed code version stale; a new schedule does not make it."""
    base = code_version(a_table())
    same = [{"schedule": "0 5 * * *"}, {"description": "x"}, {"owners": ["team:a"]}, {"retries": 9}]
    same += [{"circuit_breaker": None}, {"cool_down": "1 d"}]
    other = [{"mode": "append"}, {"columns": {"a": {"exclude": True}}}, {"source": "shop.b"}]
    assert {code_version(a_table(**fields)) for fields in same} == {base}
    assert len({base, *(code_version(a_table(**fields)) for fields in other)}) == 4


def _specs(table: Any) -> list[dg.AssetSpec]:
    return [asset_spec(table), *source_specs(table)]


def _shown(spec: dg.AssetSpec) -> dict[str, Any]:
    return {
        "key": spec.key.to_user_string(),
        "deps": [dep.asset_key.to_user_string() for dep in spec.deps],
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "tags": {k: v for k, v in spec.tags.items() if not k.startswith("dagster/kind/")},
        "description": spec.description,
        "metadata": {k: getattr(v, "value", v) for k, v in spec.metadata.items()},
    }
