"""Promise: Ctrl-C and SIGTERM end a sync cleanly; a second Ctrl-C ends it at once."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell

SECONDS = 60


@contextmanager
def writes_blocked(shell: Shell, relation: str) -> Iterator[None]:
    """Somebody holds a lock that lets nobody write the table: a publish has to wait."""
    with psycopg.connect(shell.dsn) as other:
        other.execute(f"LOCK TABLE {relation} IN SHARE MODE".encode())
        yield


def wait_for(child: subprocess.Popen[str], word: str) -> None:
    """Read what it says until `word` is in a line."""
    assert child.stderr is not None
    for line in child.stderr:
        if word in line:
            return
    raise AssertionError(f"it ended without saying {word}")


@pytest.fixture
def loaded(shell: Shell, orders: str) -> Shell:
    """Two tables, the first loaded with three rows, so that another load has what to replace."""
    for name in ("orders", "orders_too"):
        shell.table(name, f"source: {orders}\ntarget: public.{name}\nretries: 0\n")
    assert shell.run("sync", "orders", "--where", "id <= 3").returncode == ExitCode.DONE
    return shell


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_undoes_the_table_under_way_and_starts_no_other(
    loaded: Shell, number: signal.Signals
) -> None:
    with writes_blocked(loaded, "public.orders"):
        child = loaded.start("sync", "orders", "orders_too")
        wait_for(child, "orders: publish")
        child.send_signal(number)
        output, errors = child.communicate(timeout=SECONDS)
    assert child.returncode == ExitCode.INTERRUPTED, errors
    assert "orders: cancelled; live table and cursor untouched" in errors
    assert "not started: orders_too" in errors
    assert "cancelled" in output
    assert loaded.rows("SELECT count(*) FROM public.orders") == [(3,)]
    books = {"bq2pg.sync_history", "bq2pg.staged_shards", "bq2pg.sync_quarantine"}
    books.add("public.sync_state")
    leftovers = loaded.relations() - books
    assert leftovers == {"public.orders"}
    assert loaded.run("sync", "--all").returncode == ExitCode.DONE
    assert loaded.rows("SELECT count(*) FROM public.orders") == [(100,)]


def test_a_second_ctrl_c_does_not_wait(shell: Shell) -> None:
    shell.table("orders", "source: shop.orders\n")
    # A PostgreSQL that accepts and never answers: nothing that could be undone, or interrupted.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"host=127.0.0.1 port={silent.getsockname()[1]} user=x sslmode=disable"
        child = shell.start("sync", "orders", BQ2PG_PG_DSN=address)
        connection, _ = silent.accept()
        with connection:
            child.send_signal(signal.SIGINT)
            wait_for(child, "cancelling")
            child.send_signal(signal.SIGTERM)  # supervisors repeat it: this changes nothing
            child.send_signal(signal.SIGINT)
            output, errors = child.communicate(timeout=SECONDS)
    assert child.returncode == ExitCode.INTERRUPTED
    assert not output, "it does not wait for a result"
    assert not errors
