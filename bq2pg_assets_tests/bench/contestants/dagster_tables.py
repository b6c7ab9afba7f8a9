"""bq2pg through Dagster: many small tables in one run, or one run for each on the queue.

The clock runs from the start of the first run to the end of the last, by Dagster's own times.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bq2pg_assets_tests.bench.server import BUCKET
from bq2pg_assets_tests.bench.source import PROJECT
from bq2pg_assets_tests.defs.webserver import ROOT, dagster_dev, until

MODULE = "bq2pg_assets_tests.bench.definitions"
ALL_SECONDS = 3600.0
RUNS = "{ runsOrError { ... on Runs { results { status startTime endTime } } } }"


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="bq2pg-bench-") as folder:
        tables = _write_tables(Path(folder), job["size"])
        variables = {
            "BQ2PG_PG_DSN": job["dsn"],
            "BQ2PG_BQ_PROJECT": PROJECT,
            "BQ2PG_GCS_BUCKET": BUCKET,
            "BQ2PG_TABLES": str(Path(folder) / "tables"),
            "STORAGE_EMULATOR_HOST": job["storage"],
            "BIGQUERY_EMULATOR_HOST": job["storage"],  # never asked: the source is ready
            "BENCH_SIZE": str(job["size"]),
            "BENCH_ROWS": str(job["rows"]),
        }
        way = one_run if job["options"]["way"] == "one run" else queue
        seconds = way(Path(folder) / "home", tables, variables)
    print(json.dumps({"seconds": seconds, "seconds_each": seconds / len(tables)}))


def one_run(home: Path, tables: list[str], variables: dict[str, str]) -> float:
    """All tables as steps of one run, in this process."""
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    os.environ.update({**variables, "DAGSTER_HOME": str(home)})
    os.chdir(home)

    import dagster as dg

    from bq2pg_assets_tests.bench.definitions import sync_all_job

    with dg.DagsterInstance.get() as instance:
        result = dg.execute_job(dg.reconstructable(sync_all_job), instance=instance)
        if not result.success:
            sys.exit("the run failed")
        stats: Any = instance.get_run_stats(result.run_id)
        return float(stats.end_time - stats.start_time)


def queue(home: Path, tables: list[str], variables: dict[str, str]) -> float:
    """A run for each table, as the page's button starts them, through `dagster dev`."""
    workspace = home.with_name("workspace.yaml")
    location = {"module_name": MODULE, "location_name": "bq2pg_assets"}
    workspace.write_text(json.dumps({"load_from": [{"python_module": location}]}))
    with dagster_dev(home, variables, workspace=workspace) as page:
        for table in tables:
            page.launch(["bench", table], step=table)

        def ended() -> list[dict[str, Any]]:
            runs = page.query(RUNS)["runsOrError"]["results"]
            return runs if all(run["endTime"] for run in runs) else []

        runs = until(ended, "all runs to end", seconds=ALL_SECONDS)
    if failed := [run["status"] for run in runs if run["status"] != "SUCCESS"]:
        sys.exit(f"{len(failed)} of {len(runs)} runs failed")
    return float(max(run["endTime"] for run in runs) - min(run["startTime"] for run in runs))


def _write_tables(folder: Path, count: int) -> list[str]:
    (folder / "tables").mkdir()
    names = [f"t{at}" for at in range(1, count + 1)]
    for name in names:
        text = f"source: bench.{name}\ntarget: bench.{name}\n"
        (folder / "tables" / f"{name}.yaml").write_text(text)
    return names


if __name__ == "__main__":
    main()
