"""Promise: `bq2pg check` asks everything, also after a failure, and says what to do."""

import pytest

from bq2pg_assets.cli.check import Answer, answer_lines, code_of_answers
from bq2pg_assets.cli.exit_codes import ExitCode
from bq2pg_assets.engine.errors import ConfigError, TargetError
from bq2pg_assets_tests.cli.conftest import Shell

WORDS = {"met": "no answer", "expected": "one", "way_out": "Start it."}
WRONG, DOWN = ConfigError("x", **WORDS), TargetError("PostgreSQL", **WORDS)


def test_all_is_well(shell: Shell, orders: str) -> None:
    shell.table("orders", f"source: {orders}\n")
    done = shell.run("check")
    assert done.returncode == ExitCode.DONE, done.stdout
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok      ") for line in lines)
    about = [line.removeprefix("ok      ").partition(":")[0] for line in lines]
    assert about == ["configuration", "settings", "PostgreSQL", "bucket", "source of orders"]
    assert "100 rows" in lines[-1]
    assert not shell.relations()


def test_every_failure_has_its_line_and_stops_nothing(shell: Shell, orders: str) -> None:
    dataset = orders.partition(".")[0]
    shell.table("missing", f"source: {dataset}.missing\n")
    shell.table("orders", f"source: {orders}\n")
    done = shell.run(
        "check",
        BQ2PG_PG_DSN="postgresql://u:hunter2@127.0.0.1:1/x",
        BQ2PG_GCS_BUCKET="no-such-bucket-here",
    )
    assert done.returncode == ExitCode.UNREACHABLE
    failed = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert [line.split(":")[0] for line in failed] == [
        "failed  PostgreSQL",
        "failed  bucket",
        "failed  source of missing",
    ]
    assert done.stdout.count("  → ") == 3
    assert "ok      source of orders" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_a_missing_bucket_says_what_it_means(shell: Shell, orders: str) -> None:
    shell.table("orders", f"source: {orders}\n")
    done = shell.run("check", BQ2PG_GCS_BUCKET=None)
    assert done.returncode == ExitCode.DONE, done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("ok      bucket")]
    assert "rows are read through the Storage Read API" in line


def test_wrong_configuration_is_another_code_and_the_rest_is_asked_all_the_same(
    shell: Shell, orders: str
) -> None:
    shell.table("bad", "mode: appendd\nsource: a.b\n")
    shell.table("orders", f"source: {orders}\n")
    done = shell.run("check")
    assert done.returncode == ExitCode.USAGE
    assert "failed  table bad" in done.stdout
    assert "did you mean append?" in " ".join(done.stdout.split())  # however wide it is printed
    assert "ok      source of orders" in done.stdout


def test_missing_variables_are_told_and_the_tables_still_checked(shell: Shell) -> None:
    shell.table("bad", "mode: appendd\nsource: a.b\n")
    done = shell.run("check", BQ2PG_PG_DSN=None)
    assert done.returncode == ExitCode.USAGE
    assert "failed  table bad" in done.stdout
    assert "BQ2PG_PG_DSN is not set" in done.stdout


@pytest.mark.parametrize(
    ("errors", "code"),
    [([], 0), ([DOWN], 3), ([DOWN, WRONG], 2)],
)
def test_codes(errors: list[ConfigError | TargetError], code: int) -> None:
    answers = [Answer("a", "fine"), *(Answer("b", error=error) for error in errors)]
    assert code_of_answers(answers) == code


def test_a_failure_is_a_line_and_a_way_out() -> None:
    assert answer_lines(Answer("PostgreSQL", error=DOWN)) == [
        "failed  PostgreSQL: PostgreSQL: no answer; expected one",
        "  → Start it.",
    ]
