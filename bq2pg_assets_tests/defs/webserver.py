"""`dagster dev` as a user starts it, and what its pages do, over GraphQL.

Belongs here: starting and stopping the processes, the queries. Does not: assertions.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY_SECONDS = 150.0
RUN_SECONDS = 120.0
STOP_SECONDS = 40.0
REPOSITORY = {
    "repositoryLocationName": "bq2pg_assets",
    "repositoryName": "__repository__",
}
LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
TERMINATE = """
mutation($r: String!) { terminateRun(runId: $r, terminatePolicy: SAFE_TERMINATE) { __typename
  ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
RETRIES = """
query($r: String!) { runsOrError(filter: { tags: [{ key: "dagster/parent_run_id", value: $r }] }) {
  ... on Runs { results { runId } } } }"""
RUNS = """
{ runsOrError { ... on Runs { results {
  runId status tags { key value } assetSelection { path } } } } }"""
VERSIONS = """
query($k: AssetKeyInput!) { assetOrError(assetKey: $k) { ... on Asset {
  assetMaterializations { tags { key value } } } } }"""
RUN = """
query($r: ID!) { runOrError(runId: $r) { ... on Run { status endTime } }
  logsForRun(runId: $r, limit: 1000) { ... on EventConnection { events { __typename
    ... on MessageEvent { message stepKey eventType }
    ... on MaterializationEvent { metadataEntries { label
      ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } } } } } }"""


@dataclass(frozen=True)
class DagsterPage:
    """A running `dagster dev`."""

    url: str

    def query(self, text: str, **variables: Any) -> Any:
        """The data of one GraphQL request; fails with its errors."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def launch(
        self, key: Sequence[str], *, step: str, config: Mapping[str, Any] | None = None
    ) -> str:
        """Materialize one asset as the page's button does; the run's id."""
        parameters = {
            "selector": {
                **REPOSITORY,
                "jobName": "__ASSET_JOB",
                "assetSelection": [{"path": list(key)}],
            },
            "runConfigData": json.dumps({"ops": {step: {"config": dict(config or {})}}}),
        }
        answer = self.query(LAUNCH, p=parameters)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Ask for the run's termination as the page's button does."""
        answer = self.query(TERMINATE, r=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def runs(self) -> list[dict[str, Any]]:
        """Every run with its status, its tags and the assets it was asked for."""
        return [
            {
                "id": run["runId"],
                "status": run["status"],
                "tags": {tag["key"]: tag["value"] for tag in run["tags"]},
                "assets": [key["path"] for key in run["assetSelection"] or []],
            }
            for run in self.query(RUNS)["runsOrError"]["results"]
        ]

    def data_versions(self, key: Sequence[str]) -> list[str]:
        """The data version of each recorded materialization of an asset."""
        asset = self.query(VERSIONS, k={"path": list(key)})["assetOrError"]
        tags = [tag for found in asset["assetMaterializations"] for tag in found["tags"]]
        return [tag["value"] for tag in tags if tag["key"] == "dagster/data_version"]

    def retries(self, run_id: str) -> list[str]:
        """The runs that Dagster started because this one ended badly."""
        found = self.query(RETRIES, r=run_id)["runsOrError"]["results"]
        return [run["runId"] for run in found]

    def run(self, run_id: str) -> Any:
        """Status, end and events of a run."""
        found = self.query(RUN, r=run_id)
        return {**found["runOrError"], "events": found["logsForRun"]["events"]}

    def ended(self, run_id: str) -> Any:
        """The run, once it has ended."""
        return until(
            lambda: (
                (run := self.run(run_id))["status"] in ("SUCCESS", "FAILURE", "CANCELED") and run
            ),
            f"run {run_id} to end",
            seconds=RUN_SECONDS,
        )


@contextlib.contextmanager
def dagster_dev(
    folder: Path, variables: Mapping[str, str], *, workspace: Path = ROOT / "workspace.yaml"
) -> Iterator[DagsterPage]:
    """`dagster dev` in `folder`, which is DAGSTER_HOME with the project's dagster.yaml."""
    folder.mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder)
    log, port = folder / "dev.log", _free_port()
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            cwd=folder,
            env={**process_environment(folder), **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    page = DagsterPage(f"http://127.0.0.1:{port}")
    try:
        until(lambda: _answers(page, process, log), "the page to answer", seconds=READY_SECONDS)
        yield page
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        finally:
            # Whatever it left behind; the group is its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def process_environment(home: Path) -> dict[str, str]:
    """The shell's variables without those that name a stack or an instance."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("BQ2PG_", "DAGSTER_", "BIGQUERY_", "STORAGE_"))
    }
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def until(found: Callable[[], Any], what: str, *, seconds: float) -> Any:
    """Poll an observable state until it is truthy; returns it. Fails after the deadline."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)
    return value


def _answers(page: DagsterPage, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-3000:]
    try:
        with urllib.request.urlopen(f"{page.url}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
