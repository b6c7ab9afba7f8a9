"""Fixtures of the Dagster layer's tests.

Belongs here: instances. Does not: the engine's stand-ins (fakes.py), the stack (../conftest.py).
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A persistent instance of this test's own, on SQLite as with `dagster dev`."""
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=quiet) as own:
        yield own


@pytest.fixture
def ephemeral() -> Iterator[dg.DagsterInstance]:
    """An instance in memory, where storage does not matter."""
    with dg.DagsterInstance.ephemeral() as own:
        yield own
