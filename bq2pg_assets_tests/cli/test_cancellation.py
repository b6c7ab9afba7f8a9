"""Promise: Ctrl-C and SIGTERM end a sync cleanly; a second Ctrl-C ends it at once."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets_tests.cli.conftest import Shell

SECONDS = 60


@contextmanager
def reader_of(shell: Shell, relation: str) -> Iterator[None]:
    """Somebody reads the table in an open transaction: a publish has to wait."""
    with psycopg.connect(shell.dsn) as reader:
        reader.execute(f"LOCK TABLE {relation} IN ACCESS SHARE MODE".encode())
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
    with reader_of(loaded, "public.orders"):
        child = loaded.start("sync", "orders", "orders_too")
        wait_for(child, "orders: publish")
        child.send_signal(number)
        output, errors = child.communicate(timeout=SECONDS)
    assert child.returncode == ExitCode.INTERRUPTED, errors
    assert "orders: cancelled; live table and cursor untouched" in errors
    assert "not started: orders_too" in errors
    assert "cancelled" in output
    assert loaded.rows("SELECT count(*) FROM public.orders") == [(3,)]
    leftovers = loaded.relations() - {"bq2pg.sync_history", "public.sync_state"}
    assert leftovers == {"public.orders"}
    assert loaded.run("sync", "--all").returncode == ExitCode.DONE
    assert loaded.rows("SELECT count(*) FROM public.orders") == [(100,)]


def test_a_second_ctrl_c_does_not_wait(loaded: Shell) -> None:
    with reader_of(loaded, "public.orders"):
        child = loaded.start("sync", "orders")
        wait_for(child, "orders: publish")
        # Stopped meanwhile, it finds both signals waiting; and SIGINT waits only once.
        child.send_signal(signal.SIGSTOP)
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGCONT)
        child.communicate(timeout=SECONDS)
    assert child.returncode == ExitCode.INTERRUPTED
    assert loaded.rows("SELECT count(*) FROM public.orders") == [(3,)]
    assert loaded.run("sync", "orders").returncode == ExitCode.DONE
