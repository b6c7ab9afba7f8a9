"""Promise: `bq2pg clean` removes what dead runs left and says so; a dry run only says it."""

from google.cloud import storage

from bq2pg_assets.cli.clean import cleaning_lines
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.engine.janitor import Cleaning, Leftover
from bq2pg_assets_tests.cli.conftest import Shell

RUNNING = (
    "INSERT INTO bq2pg.sync_history (run_id, attempt, launcher, table_name, target, outcome) "
    "VALUES ('dead', 0, 'cli', 'orders', 'public.orders', 'running')"
)


def test_what_a_dead_run_left_is_listed_then_removed(
    shell: Shell, orders: str, bucket: storage.Bucket
) -> None:
    shell.table("orders", f"source: {orders}\nmode: append\n")
    assert shell.run("sync", "orders").returncode == ExitCode.DONE
    shell.rows(f"{RUNNING} RETURNING id")
    for run in ("dead", "unknown"):
        bucket.blob(f"bq2pg/orders/{run}-0/000.parquet").upload_from_string(b"x" * 2048)

    dry = shell.run("clean", "--dry-run")
    assert dry.returncode == ExitCode.DONE, dry.stderr
    assert dry.stdout.splitlines() == [
        "would remove  attempt dead-0 of public.orders",
        f"would remove  prefix gs://{bucket.name}/bq2pg/orders/dead-0/ of public.orders, 2.0 KiB",
        f"kept, unknown run  prefix gs://{bucket.name}/bq2pg/orders/unknown-0/, 2.0 KiB",
        "would remove 2 things, 2.0 KiB",
    ]
    assert len(list(bucket.list_blobs())) == 2

    done = shell.run("clean", "--older-than", "0")
    assert done.returncode == ExitCode.DONE, done.stderr
    assert done.stdout.splitlines()[-1] == "removed 3 things, 4.0 KiB"
    assert list(bucket.list_blobs()) == []
    assert shell.rows("SELECT outcome FROM bq2pg.sync_history WHERE run_id = 'dead'") == [
        ("killed",)
    ]
    assert "killed" in shell.run("status").stdout


def test_an_age_that_cannot_be_read_is_refused(shell: Shell) -> None:
    done = shell.run("clean", "--older-than", "a week")
    assert done.returncode == ExitCode.USAGE
    assert "'a week' is not a span of time" in done.stderr


def test_what_is_kept_and_what_lives_is_said() -> None:
    done = Cleaning(
        resumable=[Leftover("prefix", "gs://b/bq2pg/t/x-0/", "public.t", 1024)],
        live=["public.u"],
    )
    assert cleaning_lines(done, dry_run=False) == [
        "kept to be resumed  prefix gs://b/bq2pg/t/x-0/ of public.t, 1.0 KiB",
        "being loaded, left alone  public.u",
        "removed 0 things, 0 B",
    ]
