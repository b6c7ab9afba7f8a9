"""Promise: what README and docs/ say is so. Links lead somewhere, commands run, nothing is missing.

Blocks fenced `sh` are executed. The pages of RUN run for real, against a local stack of their own,
with `make sync` as the command behind it. Other pages hold `make` lines only; `make` lines run dry
on every page. Blocks that need a cloud account are fenced `console` and are not run.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bq2pg_assets.cli import reference
from bq2pg_assets.engine import errors
from bq2pg_assets.engine.model import Outcome
from bq2pg_assets_tests.cases import types_page
from bq2pg_assets_tests.cases.limits import LIMITS, Limit
from bq2pg_assets_tests.chaos import page as failures_page

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "bq2pg_assets" / "tables"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), TABLES / "README.md"])
RUN = [ROOT / "docs" / "quickstart.md", ROOT / "docs" / "operations.md"]
FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


def blocks(page: Path, kind: str) -> list[str]:
    return [m["body"] for m in FENCE.finditer(page.read_text()) if m["kind"] == kind]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.finditer(page.read_text()):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        lost = link["anchor"] and target.exists() and link["anchor"] not in anchors(target)
        if lost or not target.exists():
            broken.append(link[0])
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_line_of_a_page_runs_dry(page: Path) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]
    made = [line.partition("#")[0].split() for line in lines if line.startswith("make ")]
    assert page in RUN or len(made) == len(lines), "a command that no test runs"
    made += [["make", target] for target in re.findall(r"`make ([a-z]+)`", page.read_text())]
    for make, *words in made:
        done = subprocess.run([make, "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_commands_of_the_pages_run_in_their_order(tmp_path: Path, emulators: Path) -> None:
    script = ["set -euo pipefail"]
    for page in RUN:
        body = "\n".join(blocks(page, "sh"))
        script.append(body.replace("make sync", "bq2pg local demo --no-ui"))
    local = {"BQ2PG_LOCAL_DIR": str(tmp_path / "local"), "BQ2PG_EMULATORS_DIR": str(emulators)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # `operations.md` asks a stack that quickstart.md took down.
    text = "\n".join(script).replace("bq2pg local down", "") + "\nbq2pg local down\n"
    try:
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=tmp_path,
            env={**os.environ, **local, "PATH": path},
            capture_output=True,
            text=True,
            timeout=280,
        )
    finally:
        subprocess.run(
            [sys.executable, "-m", "bq2pg_assets.cli.app", "local", "reset"],
            env={**os.environ, **local},
            check=True,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "nothing new" in done.stdout


def test_types_md_is_what_the_golden_values_say() -> None:
    """`python -m bq2pg_assets_tests.cases.types_page` writes it again."""
    assert types_page.PAGE.read_text() == types_page.page()


def test_failures_md_is_what_the_faults_say() -> None:
    """`python -m bq2pg_assets_tests.chaos.page` writes it again."""
    assert failures_page.PAGE.read_text() == failures_page.page()


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_every_limit_of_the_types_is_shown_by_a_test(limit: Limit) -> None:
    file, _, name = limit.proof.partition("::")
    assert f"def {name}(" in (ROOT / "bq2pg_assets_tests" / file).read_text()


def test_commands_md_is_what_the_commands_say_of_themselves() -> None:
    """`python -m bq2pg_assets.cli.reference` writes it again."""
    assert (ROOT / "docs" / "commands.md").read_text() == reference.page()


def test_every_error_class_and_outcome_is_explained() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    classes = [
        n
        for n, c in vars(errors).items()
        if isinstance(c, type) and c.__module__ == errors.__name__
    ]
    assert [n for n in classes if n not in text] == []
    assert [o for o in Outcome if f"`{o}`" not in text] == []


def test_the_version_is_in_the_changelog_or_unreleased() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {version}" in text or "## Unreleased" in text
