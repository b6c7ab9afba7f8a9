"""Fixtures on the real local stack: emulators and PostgreSQL started once for the whole run.

Belongs here: the stack, clients for it, and a fresh database, dataset and bucket per test. Does
not belong here: anything about one part of the product. A stack that cannot be started fails the
tests that need it; nothing is skipped.

Environment: BQ2PG_EMULATORS_DIR names a built emulators' environment (default: the one in
`.local`). BQ2PG_TEST_PG_DSN names a PostgreSQL server to test against instead of the built-in one;
databases are created and dropped there. Every other BQ2PG_ variable of the shell is hidden, so that
no test reaches what it names.
"""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import google.cloud.bigquery.retry
import google.cloud.storage.retry
import psycopg
import pytest
import stamina
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from hypothesis import settings

from bq2pg_assets.local import stack as local_stack
from bq2pg_assets.local.environment import pinned_versions
from bq2pg_assets.local.stack import StackState

ROOT = Path(__file__).resolve().parent.parent
EMULATORS = Path(os.environ.get("BQ2PG_EMULATORS_DIR") or ROOT / ".local" / "emulators")
RETRY_SECONDS = 20.0

# 100 random examples at home, more in CI and always the same there; 2,000 by `make fuzz`.
settings.register_profile("ci", max_examples=200, derandomize=True, database=None, print_blob=True)
settings.register_profile("fuzz", max_examples=2000, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_report_header() -> list[str]:
    versions = [f"{name} {version}" for name, version in pinned_versions().items()]
    if os.environ.get("BQ2PG_TEST_PG_DSN"):
        versions.append("PostgreSQL of BQ2PG_TEST_PG_DSN")
    return [f"local stack: {', '.join(versions)}"]


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Hide the shell's settings; give Google's clients seconds instead of ten minutes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("BQ2PG_") and not name.startswith("BQ2PG_TEST_"):
                patch.delenv(name)
        emulators = ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")
        for name in (*emulators, "BIGQUERY_STORAGE_EMULATOR_HOST"):
            patch.delenv(name, raising=False)
        # The default Retry objects are bound into the clients' signatures, so they are changed
        # in place: an emulator that answers 500 would otherwise look like a hang.
        retries = (
            google.cloud.bigquery.retry.DEFAULT_RETRY,
            google.cloud.storage.retry.DEFAULT_RETRY,
        )
        for retry in retries:
            patch.setattr(retry, "_timeout", RETRY_SECONDS)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waits_between_attempts() -> Iterator[None]:
    """As many attempts as ever, one right after the other."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


def bigquery_client_of(variables: dict[str, str]) -> bigquery.Client:
    """Google's client for the stack that `variables` name; the caller closes it."""
    return bigquery.Client(
        project=variables["BQ2PG_BQ_PROJECT"],
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": variables["BIGQUERY_EMULATOR_HOST"]},
    )


@contextlib.contextmanager
def _stack(*, dsn: str | None, emulator_variables: dict[str, str]) -> Iterator[StackState]:
    with tempfile.TemporaryDirectory(prefix="bq2pg-tests-", ignore_cleanup_errors=True) as folder:
        local_dir = Path(folder) / "local"
        try:
            with pytest.MonkeyPatch.context() as patch:
                if dsn:
                    patch.setenv("BQ2PG_PG_DSN", dsn)
                state = local_stack.up(
                    local_dir,
                    report=print,
                    emulators=EMULATORS,
                    emulator_variables=emulator_variables,
                )
            yield state
        finally:
            local_stack.reset(local_dir, report=print)


@pytest.fixture(scope="session")
def emulators() -> Path:
    """The folder of the emulators' environment, for tests that start a stack of their own."""
    return EMULATORS


@pytest.fixture(scope="session")
def stack(_own_environment: None) -> Iterator[StackState]:
    """The three servers on free ports in a folder of their own; gone at the end of the run."""
    with _stack(dsn=os.environ.get("BQ2PG_TEST_PG_DSN"), emulator_variables={}) as state:
        yield state


@pytest.fixture(scope="session")
def slow_stack(stack: StackState) -> Iterator[StackState]:
    """A second pair of emulators whose exports stay RUNNING for a minute unless cancelled."""
    slow = {"LBQ_EXPORT_DELAY_SECONDS": "60"}
    with _stack(dsn=stack.postgres_dsn, emulator_variables=slow) as state:
        yield state


@pytest.fixture(scope="session")
def stack_variables(stack: StackState) -> dict[str, str]:
    """The variables that name the stack, not set anywhere."""
    return local_stack.environment(stack)


@pytest.fixture
def local_env(
    stack_variables: dict[str, str], postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The variables of the stack with this test's own database, set in os.environ as well."""
    variables = {**stack_variables, "BQ2PG_PG_DSN": postgres_dsn}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def postgres_dsn(stack: StackState) -> Iterator[str]:
    """Address of a fresh, empty database; dropped afterwards together with its connections."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        yield psycopg.conninfo.make_conninfo(stack.postgres_dsn, dbname=name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="session")
def bigquery_client(stack_variables: dict[str, str]) -> Iterator[bigquery.Client]:
    """Google's client, talking to the emulator."""
    client = bigquery_client_of(stack_variables)
    yield client
    client.close()


@pytest.fixture(scope="session")
def storage_client(stack_variables: dict[str, str]) -> Iterator[storage.Client]:
    """Google's client, talking to the emulator."""
    client = storage.Client(
        project=stack_variables["BQ2PG_BQ_PROJECT"],
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": stack_variables["STORAGE_EMULATOR_HOST"]},
    )
    yield client
    client.close()


@pytest.fixture
def bucket(storage_client: storage.Client) -> storage.Bucket:
    """A fresh, empty bucket; it goes with the stack's folder."""
    return storage_client.create_bucket(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def dataset(bigquery_client: bigquery.Client) -> Iterator[str]:
    """Id of a fresh, empty dataset of the client's project; deleted afterwards with its tables."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    bigquery_client.create_dataset(name)
    yield name
    bigquery_client.delete_dataset(name, delete_contents=True)
