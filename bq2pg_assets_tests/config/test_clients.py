"""Promise: clients are built without a connection, and missing credentials say how to get some."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from google.auth.credentials import AnonymousCredentials

from bq2pg_assets.clients import bigquery_client, engine_parts, read_client, storage_client
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
        "BIGQUERY_STORAGE_EMULATOR_HOST",
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


@pytest.mark.parametrize("build", [bigquery_client, storage_client, read_client, engine_parts])
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


def test_without_a_bucket_there_are_no_shards() -> None:
    source, shards, _ = engine_parts(settings(**LOCAL, bq_project="p", gcs_bucket=None))
    assert shards is None
    source.client.close()


def test_the_read_api_is_the_emulators_or_googles() -> None:
    local = settings(**LOCAL, bigquery_storage_emulator_host="127.0.0.1:9060")
    read_client(local).transport.close()
    with pytest.raises(ConfigError, match="BIGQUERY_STORAGE_EMULATOR_HOST=host:port"):
        read_client(settings(**LOCAL))


@pytest.mark.usefixtures("signed_in")
def test_the_read_api_uses_the_default_credentials() -> None:
    client = read_client(settings())
    assert client.api_endpoint == "bigquerystorage.googleapis.com"
    client.transport.close()


def test_a_missing_extra_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['google.cloud.bigquery_storage_v1'] = None\n"
        "from bq2pg_assets.clients import read_client\n"
        "from bq2pg_assets.engine.errors import ConfigError\n"
        "from bq2pg_assets.settings import Settings\n"
        "try: read_client(Settings.model_construct())\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the package google.cloud.bigquery_storage_v1 is not installed" in done.stdout
    assert "pip install '.[read-api]'" in done.stdout


def test_a_target_is_built_without_googles_libraries() -> None:
    """So that `bq2pg status` starts at once."""
    code = (
        "import sys; from bq2pg_assets.clients import postgres_target\n"
        "from bq2pg_assets.settings import Settings\n"
        "given = dict(pg_dsn='dbname=x', gcs_bucket='bucket', tables='.', env='development')\n"
        "postgres_target(Settings.model_validate(given))\n"
        "print([m for m in sys.modules if m.startswith(('google.', 'pyarrow'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_engine_s_parts_are_built_from_the_settings() -> None:
    local = settings(**LOCAL, bq_project="p", bq_location="EU", state_schema="s", price_per_tib=5)
    source, shards, target = engine_parts(local)
    assert (source.location, source.price_per_tib) == ("EU", 5)
    assert target.state_schema == "s"
    source.client.close()
    shards.client.close()
