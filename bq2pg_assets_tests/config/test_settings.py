"""Promise: every missing or wrong variable is named with an example, and no value is repeated."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import bq2pg_assets
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets.settings import PREFIX, ProjectSettings, Settings, load_settings, variables

Load = Callable[..., Settings]
SECRET = "geheim-4711"
GOOD = {"BQ2PG_PG_DSN": f"postgresql://loader:{SECRET}@db/warehouse", "BQ2PG_GCS_BUCKET": "bucket"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX) or name.endswith("_EMULATOR_HOST"):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Load:
    def load(**given: str) -> Settings:
        for name, value in (GOOD | given).items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return load


def refused(settings: Load, **given: str) -> str:
    """The whole error, traceback and all."""
    with pytest.raises(ConfigError) as caught:
        settings(**given)
    text = "".join(traceback.format_exception(caught.value))
    assert SECRET not in text
    assert caught.value.__context__ is None
    return str(caught.value)


def test_every_missing_variable_is_named_with_its_purpose_and_an_example() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == (
        "environment: 1 of bq2pg's variables is wrong; expected what docs/configuration.md "
        "lists. Set this:\n"
        "  BQ2PG_PG_DSN is not set. The PostgreSQL to write to, as an address or as key=value "
        "pairs. A secret. Example: BQ2PG_PG_DSN="
        "postgresql://loader:PASSWORD@db.example.com:5432/warehouse"
    )


def test_a_bucket_is_not_needed(settings: Load) -> None:
    assert settings(BQ2PG_GCS_BUCKET="").gcs_bucket is None


def test_the_yaml_can_be_read_without_any_connection() -> None:
    project = load_settings(ProjectSettings)
    assert project.env == "development"
    assert project.tables == Path(bq2pg_assets.__file__).parent / "tables"
    assert project.tables == DEMO_FOLDER.parent, "the user's, with the demo's out of sight below"


def test_the_defaults_are_the_documented_ones(settings: Load) -> None:
    loaded = settings(BQ2PG_BQ_PROJECT="")
    assert loaded.pg_dsn.get_secret_value() == GOOD["BQ2PG_PG_DSN"]
    assert (loaded.bq_project, loaded.bq_location) == (None, None)
    assert (loaded.state_schema, loaded.price_per_tib) == ("bq2pg", 6.25)
    assert (loaded.bigquery_emulator_host, loaded.storage_emulator_host) == (None, None)


def test_emulators_are_read_from_their_usual_variables(settings: Load) -> None:
    loaded = settings(
        BIGQUERY_EMULATOR_HOST="http://127.0.0.1:9050",
        STORAGE_EMULATOR_HOST="http://127.0.0.1:4443",
        BQ2PG_TABLES="~/tables",
    )
    assert loaded.bigquery_emulator_host == "http://127.0.0.1:9050"
    assert loaded.storage_emulator_host == "http://127.0.0.1:4443"
    assert loaded.tables == Path("~/tables").expanduser()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BQ2PG_ENV", "prod", "is not one of development, staging, production."),
        ("BQ2PG_GCS_BUCKET", "gs://b", "is not a bucket's name; write it without gs://."),
        ("BQ2PG_STATE_SCHEMA", "pg_x", "is not a schema's name (letters, digits, _)."),
        ("BQ2PG_PRICE_PER_TIB", "free", "is not a number, 0 or more."),
        ("BQ2PG_PRICE_PER_TIB", "-1", "is not a number, 0 or more."),
        ("BQ2PG_PRICE_PER_TIB", "nan", "is not a number, 0 or more."),
        ("BIGQUERY_EMULATOR_HOST", "127.0.0.1:9", "is not an address that begins with http://."),
        ("BIGQUERY_STORAGE_EMULATOR_HOST", "http://b:9", "is not host:port, without http://."),
    ],
)
def test_a_wrong_variable_says_what_it_may_be(
    settings: Load, name: str, value: str, expected: str
) -> None:
    assert f"\n  {name} {expected}" in refused(settings, **{name: value})


def test_one_emulator_alone_is_refused(settings: Load) -> None:
    text = refused(settings, BIGQUERY_EMULATOR_HOST="http://127.0.0.1:9050")
    assert "STORAGE_EMULATOR_HOST is not set while the other emulator is" in text


def test_a_read_api_of_an_emulator_belongs_to_its_bigquery(settings: Load) -> None:
    text = refused(settings, BIGQUERY_STORAGE_EMULATOR_HOST="127.0.0.1:9060")
    assert "  BIGQUERY_EMULATOR_HOST is not set while the other emulator is" in text


def test_a_misspelt_variable_is_pointed_out(settings: Load) -> None:
    text = refused(settings, BQ2PG_PG_DSN="", BQ2PG_PGDSN=f"password={SECRET}")
    assert "BQ2PG_PG_DSN is not set (but BQ2PG_PGDSN is: a slip?)." in text


@pytest.mark.parametrize(
    "dsn",
    [
        SECRET,
        f"host=db password='{SECRET}",
        f"host=db {SECRET}=x",
        f"postgresql://u:{SECRET}%zz@db/x",
        f"postgresql://u:p@{SECRET}@db/x",
        f"postgresql://u:{SECRET}/x@db/x",
        f"postgresql://u:1/{SECRET}@db/x",
        f"mysql://u:{SECRET}@db/x",
    ],
)
def test_a_malformed_connection_string_is_refused_and_never_repeated(
    settings: Load, dsn: str
) -> None:
    assert "BQ2PG_PG_DSN is not a PostgreSQL connection string" in refused(
        settings, BQ2PG_PG_DSN=dsn
    )


@pytest.mark.parametrize("name", [v.name for v in variables() if v.name != "BQ2PG_TABLES"])
def test_a_secret_in_the_wrong_variable_is_not_repeated(settings: Load, name: str) -> None:
    refused(settings, **({"BQ2PG_PRICE_PER_TIB": SECRET} | {name: GOOD["BQ2PG_PG_DSN"]}))


@pytest.mark.parametrize(
    "dsn",
    [
        "dbname=x",
        "service=warehouse",
        "postgresql:///db?host=/var/run/postgresql",
        "postgres://u:a%40b%2Fc@db1:5432,db2:5433/x?sslmode=require",
    ],
)
def test_every_form_of_connection_string_is_accepted(settings: Load, dsn: str) -> None:
    assert settings(BQ2PG_PG_DSN=dsn).pg_dsn.get_secret_value() == dsn


def test_settings_that_are_shown_or_copied_hide_the_secret(settings: Load) -> None:
    loaded = settings()
    shown = f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}"
    assert SECRET not in shown


@pytest.mark.parametrize("value", ["1", "many", "2.5"])
def test_a_limit_on_connections_that_no_run_could_keep_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("BQ2PG_PG_DSN", "host=db.example.com")
    monkeypatch.setenv("BQ2PG_PG_MAX_CONNECTIONS", value)
    with pytest.raises(ConfigError) as stopped:
        load_settings()
    assert "BQ2PG_PG_MAX_CONNECTIONS is not a whole number, 2 or more" in stopped.value.way_out
