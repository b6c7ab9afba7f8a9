"""Promise: what README and docs/ say is so. Links lead somewhere, commands run, nothing is missing.

Blocks fenced `sh` are executed: `make` lines as a dry run, everything else for real, against a
local stack of its own. Blocks that need a cloud account are fenced `console` and are not run.
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
from bq2pg_assets.engine.typemap import RULES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


def blocks(page: Path, kind: str) -> list[str]:
    return [m["body"] for m in FENCE.finditer(page.read_text()) if m["kind"] == kind]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.finditer(page.read_text()):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        lost = link["anchor"] and target.exists() and link["anchor"] not in anchors(target)
        if lost or not target.exists():
            broken.append(link[0])
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(blocks(page, "sh"))))
    named |= set(re.findall(r"`make ([a-z]+)`", page.read_text()))
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= known


def test_the_commands_of_the_pages_run_in_their_order(tmp_path: Path, emulators: Path) -> None:
    script = ["set -euo pipefail"]
    for page in (ROOT / "docs" / "quickstart.md", ROOT / "docs" / "operations.md"):
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


def test_commands_md_is_what_the_commands_say_of_themselves() -> None:
    """`python -m bq2pg_assets.cli.reference` writes it again."""
    assert (ROOT / "docs" / "commands.md").read_text() == reference.page()


def test_every_type_is_in_types_md_beside_its_counterpart() -> None:
    rows = [r for r in (ROOT / "docs" / "types.md").read_text().splitlines() if r.startswith("|")]
    missing = [
        name
        for name, rule in RULES.items()
        if not any(name in row and rule.pg_type in row for row in rows)
    ]
    assert missing == []


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
