"""Promise: clients are built without a connection, and missing credentials say how to get some."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from google.auth.credentials import AnonymousCredentials

from bq2pg_assets.clients import bigquery_client, engine_parts, storage_client
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.settings import Settings


@pytest.fixture(autouse=True)
def _away_from_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine, no search for a virtual machine's, no connection at all."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a client was built over the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "GCLOUD_PROJECT",
        "BIGQUERY_EMULATOR_HOST",
        "STORAGE_EMULATOR_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Someone's Application Default Credentials, which name no project."""
    monkeypatch.setenv("PATH", str(tmp_path))  # gcloud would be asked for the project
    file = tmp_path / "application_default_credentials.json"
    user = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "t"}
    file.write_text(json.dumps(user))


def settings(**given: object) -> Settings:
    return Settings.model_validate(
        {"pg_dsn": "dbname=x", "gcs_bucket": "bucket", "tables": ".", "env": "development"} | given
    )


LOCAL = {
    "bigquery_emulator_host": "http://127.0.0.1:9050/",
    "storage_emulator_host": "http://127.0.0.1:4443",
}


def test_emulators_need_no_credentials() -> None:
    local = settings(**LOCAL, bq_project="local", bq_location="EU")
    with bigquery_client(local) as client:
        assert isinstance(client._credentials, AnonymousCredentials)
        assert client._connection.API_BASE_URL == "http://127.0.0.1:9050"
        assert (client.project, client.location) == ("local", "EU")
    store = storage_client(local)
    assert isinstance(store._credentials, AnonymousCredentials)
    assert store._connection.API_BASE_URL == "http://127.0.0.1:4443"
    store.close()


@pytest.mark.parametrize("build", [bigquery_client, storage_client, engine_parts])
def test_missing_credentials_say_the_ways_to_get_some(build: Callable[[Settings], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(settings(bq_project="p"))
    assert "no usable credentials were found" in str(caught.value)
    for way in ("gcloud auth application-default login", "GOOGLE_APPLICATION_CREDENTIALS"):
        assert way in caught.value.way_out


@pytest.mark.parametrize("given", [LOCAL, {}])
@pytest.mark.usefixtures("signed_in")
def test_a_missing_project_says_which_variable_names_it(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Set BQ2PG_BQ_PROJECT=<project id>"):
        bigquery_client(settings(**given))


@pytest.mark.usefixtures("signed_in")
def test_default_credentials_are_used_for_google_itself() -> None:
    with bigquery_client(settings(bq_project="p")) as client:
        assert client.project == "p"
        assert client._connection.API_BASE_URL == "https://bigquery.googleapis.com"
    store = storage_client(settings())
    assert store._connection.API_BASE_URL == "https://storage.googleapis.com"
    store.close()


def test_the_engine_s_parts_are_built_from_the_settings() -> None:
    local = settings(**LOCAL, bq_project="p", bq_location="EU", state_schema="s", price_per_tib=5)
    source, shards, target = engine_parts(local)
    assert (source.location, source.price_per_tib) == ("EU", 5)
    assert target.state_schema == "s"
    source.client.close()
    shards.client.close()
