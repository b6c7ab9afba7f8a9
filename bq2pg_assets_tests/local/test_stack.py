"""The stack starts, survives and goes without leaving anything behind."""

import json
import os
import signal
import socket
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local import processes, servers, stack
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets.local.stack import StackState
from bq2pg_assets_tests.conftest import bigquery_client_of


@pytest.fixture
def local_dir() -> Iterator[Path]:
    """A folder for a stack; whatever still runs in it is stopped."""
    with tempfile.TemporaryDirectory(prefix="bq2pg-own-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        stack.reset(Path(folder), report=print)


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_killed_stack_comes_up_again_with_its_data_and_down_leaves_nothing(
    local_dir: Path, emulators: Path
) -> None:
    first = stack.up(local_dir, report=print, emulators=emulators)
    assert set(first.started) == {"storage", "postgres", "bigquery"}
    again = stack.up(local_dir, report=print, emulators=emulators)
    assert again.started == ()
    assert again.parts == first.parts

    _write_a_row_everywhere(first)
    for part in first.parts.values():
        os.kill(part.process.pid, signal.SIGKILL)
    for part in first.parts.values():
        processes.stop(part.process)  # reaps: this very process is their parent

    second = stack.up(local_dir, report=print, emulators=emulators)
    assert set(second.started) == {"storage", "postgres", "bigquery"}
    _expect_a_row_everywhere(second)

    stack.down(local_dir, report=print)
    for part in second.parts.values():
        assert processes.identity(part.process.pid) is None
        assert not is_taken(part.port)
    assert not stack.status(local_dir).complete

    stack.reset(local_dir, report=print)
    assert not (local_dir / "data").exists()
    assert not servers.fallback_folder(local_dir).exists()


def test_an_address_of_its_own_that_the_shell_still_holds_is_not_taken_for_the_users_server(
    local_dir: Path, emulators: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stack.up(local_dir, report=print, emulators=emulators)
    monkeypatch.setenv("BQ2PG_PG_DSN", first.postgres_dsn)  # eval "$(bq2pg local env)"
    stack.down(local_dir, report=print)
    with socket.create_server(("127.0.0.1", first.parts["postgres"].port)):
        second = stack.up(local_dir, report=print, emulators=emulators)
    assert "postgres" in second.started
    assert second.postgres_dsn != first.postgres_dsn
    with psycopg.connect(second.postgres_dsn) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_postgresql_of_ones_own_that_does_not_answer_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `bq2pg local reset` a shell still holds the address of the stack that is gone."""
    gone = f"postgresql://loader:geheim-4711@127.0.0.1:{processes.free_port()}/warehouse"
    monkeypatch.setenv("BQ2PG_PG_DSN", gone)
    with pytest.raises(LocalStackError) as refused:
        stack.up(tmp_path / "local", report=print, emulators=tmp_path / "never built")
    assert refused.value.where == "BQ2PG_PG_DSN"
    assert "unset BQ2PG_PG_DSN" in refused.value.way_out
    assert "geheim" not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None
    assert not (tmp_path / "local" / stack.RECORD).exists()
    assert not (tmp_path / "never built").exists()


def test_the_stacks_variables_name_the_demos_tables(stack_variables: dict[str, str]) -> None:
    assert stack_variables["BQ2PG_TABLES"] == str(DEMO_FOLDER)


def _write_a_row_everywhere(state: StackState) -> None:
    client = bigquery_client_of(stack.environment(state))
    client.create_dataset("kept")
    client.query_and_wait("CREATE TABLE kept.t AS SELECT 7 AS x")
    client.close()
    with psycopg.connect(state.postgres_dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS x")


def _expect_a_row_everywhere(state: StackState) -> None:
    client = bigquery_client_of(stack.environment(state))
    assert [row.x for row in client.query_and_wait("SELECT x FROM kept.t")] == [7]
    client.close()
    with psycopg.connect(state.postgres_dsn) as connection:
        assert connection.execute("SELECT x FROM kept").fetchall() == [(7,)]


def test_the_stack_is_recorded_without_the_address_of_a_postgresql_of_ones_own(
    slow_stack: StackState, stack_variables: dict[str, str]
) -> None:
    assert set(slow_stack.parts) == {"storage", "bigquery"}
    assert slow_stack.complete
    assert stack.environment(slow_stack)["BQ2PG_PG_DSN"] == stack_variables["BQ2PG_PG_DSN"]
    record = (slow_stack.local_dir / stack.RECORD).read_text()
    assert "postgresql://" not in record


def test_a_torn_record_reads_as_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / stack.RECORD).write_text('{"parts": {"stor')
    assert stack.status(tmp_path).parts == {}
    assert stack.down(tmp_path, report=print).parts == {}


def test_a_record_of_processes_that_are_gone_is_no_running_stack(tmp_path: Path) -> None:
    part = {
        "name": "storage",
        "process": {"pid": os.getpid(), "identity": "another boot/1"},
        "port": 1,
        "url": "http://127.0.0.1:1",
        "notes": {},
    }
    (tmp_path / stack.RECORD).write_text(json.dumps({"parts": {"storage": part}}))
    assert not stack.status(tmp_path).parts["storage"].running
    stack.down(tmp_path, report=print)  # this test would not survive a stop of its own pid
