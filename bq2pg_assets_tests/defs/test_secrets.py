"""The password of the connection string is nowhere in what Dagster keeps, shows or prints.

Belongs here: DAGSTER_HOME after runs that went well and badly, the page's answers, the terminal.
Does not: the engine's own errors and logs (integration/test_secrets.py).
"""

import json
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from bq2pg_assets_tests.defs.test_real_runs import FIRST, KEY, Shop
from bq2pg_assets_tests.defs.webserver import DagsterPage, dagster_dev, process_environment

PASSWORD = "hunter2/S3cret@%:'x y"
MARK = "S3cret"  # the same in every encoding of it: percent, JSON, repr

EVENTS = """
query($r: ID!) { logsForRun(runId: $r, limit: 1000) { ... on EventConnection { events { __typename
  ... on MessageEvent { message stepKey eventType }
  ... on ErrorEvent { error { ...Told } }
  ... on ExecutionStepFailureEvent { failureMetadata { metadataEntries { ...Entry } } }
  ... on MaterializationEvent { metadataEntries { ...Entry } } } } } }
fragment Told on PythonError { message className stack causes { message stack }
  errorChain { error { message stack } } }
fragment Entry on MetadataEntry { label description
  ... on TextMetadataEntry { text } ... on UrlMetadataEntry { url }
  ... on JsonMetadataEntry { jsonString } ... on MarkdownMetadataEntry { mdStr } }"""
RUNS = """
{ runsOrError { ... on Runs { results {
  runId status runConfigYaml tags { key value } } } } }"""
ASSETS = """
{ assetNodes { id description opNames metadataEntries { label description
  ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString } }
  assetMaterializations { metadataEntries { label
    ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString } } } } }"""
RESOURCES = """
query($s: RepositorySelector!) { allTopLevelResourceDetailsOrError(repositorySelector: $s) {
  ... on ResourceDetailsList { results {
    name description configuredValues { key value type } configFields { name defaultValueAsJson }
  } } } }"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def shop(stack_variables: dict[str, str], postgres_dsn: str, tmp_path: Path) -> Iterator[Shop]:
    """A source, and a target that is reached with a password."""
    (tmp_path / "tables").mkdir()
    shop = Shop(stack_variables, tmp_path / "tables", dsn=postgres_dsn, dataset="shop_of_secrets")
    shop.orders(3, at=FIRST)
    role = f"role_{shop.world.database}"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        secret = psycopg.sql.Literal(PASSWORD)
        admin.execute(
            psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                psycopg.sql.Identifier(role), secret
            )
        )
    shop.world.pg(f"GRANT ALL ON DATABASE {shop.world.database} TO {role}")
    parts = psycopg.conninfo.conninfo_to_dict(postgres_dsn)
    shop.variables["BQ2PG_PG_DSN"] = (
        f"postgresql://{role}:{quote(PASSWORD, safe='')}@/{parts['dbname']}"
        f"?host={quote(str(parts['host']), safe='')}&port={parts['port']}"
    )
    yield shop
    shop.world.pg(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_password_is_nowhere_in_dagsters_home_its_page_and_the_terminal(
    shop: Shop, tmp_path: Path
) -> None:
    home, good = tmp_path / "home", shop.variables["BQ2PG_PG_DSN"]
    (tmp_path / "tables" / "items.yaml").unlink()
    with dagster_dev(home, shop.variables) as page:
        run = page.ended(page.launch(KEY, step="orders"))
        assert run["status"] == "SUCCESS", run["events"]
        said = [
            launched(shop, home, dsn, code=code)
            for dsn, code in (
                (good, 0),
                (good.replace("?host", "_no_such?host"), 1),
                (good.replace("port=", "nonsense=1&port="), 1),
            )
        ]
        failing = page.ended(page.launch(KEY, step="orders", config={"where": "nope"}))
        assert failing["status"] == "FAILURE", failing["events"]
        answers = everything(page)
    kept = content(home)

    assert "does not exist" in answers
    assert "no_such" in answers
    assert b"sales.orders" in kept
    assert b"no_such" in kept
    assert "FAILED: PostgreSQL" in "".join(said)
    shown = {"terminal": "".join(said), "page": answers, "home": kept.decode(errors="replace")}
    assert [where for where, text in shown.items() if MARK in text] == []


def launched(shop: Shop, home: Path, dsn: str, *, code: int) -> str:
    """Load orders from the terminal, over this connection; what it said."""
    variables = {**shop.variables, "BQ2PG_PG_DSN": dsn}
    done = subprocess.run(
        [sys.executable, "-m", "bq2pg_assets.defs.launch", "orders"],
        cwd=home,
        env={**process_environment(home), **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def everything(page: DagsterPage) -> str:
    """What the page is told of runs, their events and errors, assets and resources."""
    answers: list[Any] = [
        page.query(RUNS),
        page.query(ASSETS),
        page.query(
            RESOURCES,
            s={"repositoryLocationName": "bq2pg_assets", "repositoryName": "__repository__"},
        ),
    ]
    answers += [page.query(EVENTS, r=run["id"]) for run in page.runs()]
    return json.dumps(answers, ensure_ascii=False)


def content(home: Path) -> bytes:
    """Every file below the home; what databases hold compressed, as it was."""
    found = []
    for path in sorted(home.rglob("*")):
        if path.is_file():
            found.append(path.read_bytes())
            if path.suffix == ".db":
                found += decompressed(path)
    return b"\n".join(found)


def decompressed(database: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(database)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for table in tables:
            for row in db.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, bytes):
                        with suppress(zlib.error):
                            yield zlib.decompress(value)
