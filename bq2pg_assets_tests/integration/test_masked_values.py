"""What a mask hides is written nowhere, whether the run goes well or not.

Belongs here: logs at DEBUG, errors with their whole chain, sync_history, metadata, the plan's
words, exported objects, BigQuery's jobs. Does not: what masks make (test_shaping.py).
"""

import io
import json
import logging
from dataclasses import replace
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from bq2pg_assets.cli.plan_text import plan_json, plan_lines
from bq2pg_assets.defs.metadata import result_metadata
from bq2pg_assets.engine.errors import SourceError
from bq2pg_assets.engine.model import RunId, RunOptions, Shard
from bq2pg_assets.engine.shards import GcsShards
from bq2pg_assets.engine.sync import plan_table
from bq2pg_assets_tests.integration import masks
from bq2pg_assets_tests.integration.helpers import World
from bq2pg_assets_tests.integration.test_secrets import everything_of
from bq2pg_assets_tests.integration.test_shaping import MaskingWorld

RAW = ["ann.raw", "4111222233334444", "hush-hush", "1977-03-04", "1977, 3, 4", "diag-n0sis"]
PRIVATE = """
    SELECT 1 AS id, 'ann.raw@example.com' AS email, '4111222233334444' AS card,
      'hush-hush' AS note, DATE '1977-03-04' AS born, STRUCT('diag-n0sis' AS d) AS health,
      TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at
"""
COLUMNS: dict[str, Any] = {
    "email": {"mask": "email"},
    "card": {"mask": "hmac"},
    "note": {"mask": "redact"},
    "born": {"mask": "null"},
    "health": {"mask": "sha256"},
    "both": {"expression": "CONCAT(note, card)", "mask": "redact"},
}
TELLING = "IF(id > 0, ERROR(CONCAT('no: ', note)), note)"


class Opened(GcsShards):
    """Remembers the bytes and the values of every object that was exported."""

    def __init__(self, world: World) -> None:
        super().__init__(world.storage, bucket=world.bucket)
        self.world, self.seen = world, list[str]()

    def list(self, prefix: str) -> tuple[Shard, ...]:
        for blob in self.world.storage.list_blobs(self.world.bucket):
            content = blob.download_as_bytes()
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
            self.seen += [blob.name, repr(content), repr(rows)]
        return super().list(prefix)


@pytest.fixture
def masking(world: World) -> MaskingWorld:
    return MaskingWorld(**vars(world))


def test_no_raw_value_and_no_secret_is_written_anywhere(
    masking: MaskingWorld, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    masking.make_source(PRIVATE)
    seen, errors = Opened(masking), list[str]()
    config: dict[str, Any] = {"mode": "append", "columns": COLUMNS}
    result = masking.sync(shards=seen, **config)
    plan, estimate = plan_table(
        masking.table(**config, name="u"),
        source=masking.source(),
        target=masking.target(),
        run=RunId("r"),
    )
    masking.pg("ALTER TABLE t ADD PRIMARY KEY (id)")
    merge: dict[str, Any] = {"mode": "merge", "key": ["id"], "columns": COLUMNS}
    quoting = RunOptions(where="CAST(note AS INT64) > 1")
    failing: list[dict[str, Any]] = [
        # What BigQuery says of a value it cannot cast quotes the value.
        {"target": "u", "columns": {**COLUMNS, "note": {"cast": "INT64", "mask": "hmac"}}},
        {"target": "u", "columns": {**COLUMNS, "note": {"expression": TELLING, "mask": "hmac"}}},
        {"options": quoting, **merge},
        {"options": replace(quoting, full_refresh=True), **merge},
    ]
    later = "TIMESTAMP '2024-02-01 00:00:00+00'"
    masking.bq(f"UPDATE {{d}}.source SET max_ingested_at = {later} WHERE TRUE")
    for sync in failing:
        with pytest.raises(SourceError) as refused:
            masking.sync(shards=seen, **sync)
        assert refused.value.reason == "invalidQuery"
        errors.append(everything_of(refused.value))
    key = dg.AssetKey(["bigquery", "d", "source"])
    metadata = result_metadata(
        result, options=RunOptions(), source_key=key, project="p", uri="postgresql://h/d"
    )
    lineage: Any = metadata["dagster/column_lineage"]
    deps = lineage.value.deps_by_column
    assert [dep.column_name for dep in deps["both"]] == ["card", "note"]
    assert [dep.column_name for dep in deps["id"]] == ["id"]
    configurations = [job.to_api_repr()["configuration"]["query"] for job in masking.exports()]
    shown = {
        "result": repr(result),
        "metadata": repr(metadata),
        "errors": "".join(errors),
        "logs": caplog.text + repr([record.__dict__ for record in caplog.records]),
        "output": "".join(capfd.readouterr()),
        "history": repr(masking.history()),
        "objects": "".join(seen.seen),
        "rows": repr(masking.rows("t")),
        "plan": "\n".join(plan_lines(plan, estimate, verbose=True)),
        "json": json.dumps(plan_json(plan, estimate), default=str),
        "queries": repr([query["query"] for query in configurations]),
    }
    assert "a***@example.com" in shown["objects"]
    assert masks.keyed(RAW[1]) in shown["rows"]
    assert "@bq2pg_outer" in shown["plan"]
    assert "@bq2pg_inner" in shown["queries"]
    for raw in [*RAW, masks.SECRET]:
        assert [name for name, text in shown.items() if raw in text] == [], raw
