"""Promise: `bq-to-postgres` takes exactly its arguments, names what is wrong, leaks nothing."""

import pytest

from bq2pg_assets.cli.one_table import HELP, parse
from bq2pg_assets.engine.errors import ConfigError

GOOD = {
    "bq-dataset": "shop",
    "bq-table": "orders",
    "bq-location": "EU",
    "pg-conn": "host=db user=loader",
    "pg-table": "public.orders",
    "gcs-bucket": "my-bucket",
}


def words(**changed: str) -> list[str]:
    given = GOOD | {name.replace("_", "-"): value for name, value in changed.items()}
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def test_all_are_read_in_either_form() -> None:
    arguments = parse(words())
    assert arguments == parse([f"--{name}={value}" for name, value in GOOD.items()])
    assert (arguments.bq_dataset, arguments.pg_table) == ("shop", "public.orders")


@pytest.mark.parametrize("name", HELP)
def test_a_missing_argument_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"--{other}={value}" for other, value in GOOD.items() if other != name]
    with pytest.raises(SystemExit) as left:
        parse(given)
    assert left.value.code == 2
    assert f"required: --{name}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "extra",
    [
        ["--pg-con", "postgresql://u:hunter2@db/x"],
        ["--pg-con=postgresql://u:hunter2@db/x"],
        ["password=hunter2", "dbname=x"],
        ["--limit", "5"],
    ],
)
def test_what_is_not_an_argument_is_refused_and_not_repeated(
    extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse([*words(), *extra])
    assert left.value.code == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bq-dataset", "shop`; DROP TABLE x"),
        ("bq-dataset", "a.b.c"),
        ("bq-dataset", ""),
        ("bq-table", "orders` WHERE 1=1 --"),
        ("bq-table", "a.b"),
        ("bq-table", "orders\\"),
        ("bq-location", "EU; x"),
        ("pg-table", "orders; DROP TABLE x"),
        ("pg-table", 'orders"; DROP TABLE x; --'),
        ("pg-table", "a.b.c"),
        ("pg-table", "x" * 64),
        ("pg-table", ""),
        ("gcs-bucket", "gs://my-bucket"),
        ("gcs-bucket", "my-bucket/../other"),
        ("gcs-bucket", "b', overwrite=true"),
        ("pg-conn", ""),
        ("pg-conn", "not a connection string"),
    ],
)
def test_a_bad_value_is_refused_with_its_argument(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name}") as caught:
        parse(words(**{name: value}))
    assert caught.value.way_out


def test_all_bad_values_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(words(bq_dataset="a b", pg_table="a b", gcs_bucket="A"))
    assert [line.split(":")[0] for line in caught.value.way_out.splitlines()] == [
        "--bq-dataset",
        "--gcs-bucket",
        "--pg-table",
    ]


def test_a_bad_connection_string_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(words(pg_conn="host=db password hunter2"))
    assert "hunter2" not in str(caught.value)
    assert "~/.pgpass" in caught.value.way_out
    assert caught.value.__cause__ is None
    assert "hunter2" not in repr(parse(words(pg_conn="host=db password=hunter2")))


@pytest.mark.parametrize(
    ("conn", "shows"),
    [("host=db", False), ("host=db password=x", True), ("postgresql://u:p@db/x", True)],
)
def test_a_password_in_the_process_list_is_noticed(conn: str, shows: bool) -> None:
    assert parse(words(pg_conn=conn)).shows_password is shows


@pytest.mark.parametrize(
    ("table", "name"),
    [("orders", "orders"), ("2024-orders", "_2024_orders"), ("événements", "_v_nements")],
)
def test_the_name_can_be_an_assets(table: str, name: str) -> None:
    assert parse(words(bq_table=table)).name == name


@pytest.mark.parametrize(
    "table", ["orders", "shop.orders", '"my shop"."my ""orders"""', "tâble", "a$b"]
)
def test_names_postgres_can_have_are_taken(table: str) -> None:
    assert parse(words(pg_table=table)).pg_table == table
