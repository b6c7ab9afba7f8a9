"""The environments of the other programs, each apart from bq2pg's own.

Belongs here: building one from its pinned requirements, once. Does not: what runs in it
(contestants/).
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bq2pg_assets.local.python import find_uv

REQUIREMENTS = Path(__file__).with_name("environments")
STAMP = "bench-stamp"
BUILD_SECONDS = 900


class PeerError(Exception):
    """A program that cannot be installed here; the text says why."""


def built(name: str, folder: Path) -> Path:
    """The Python of the environment `name` below `folder`. Raises PeerError.

    It is built again when its requirements are others than then.
    """
    wanted = (REQUIREMENTS / f"{name}.txt").read_bytes()
    digest = hashlib.sha256(wanted).hexdigest()
    root = folder / "envs" / name
    stamp, python = root / STAMP, root / "bin" / "python"
    if not (stamp.exists() and stamp.read_text() == digest and python.exists()):
        shutil.rmtree(root, ignore_errors=True)
        _build(root, REQUIREMENTS / f"{name}.txt")
        stamp.write_text(digest)
    return python


def versions(name: str) -> list[str]:
    """The pins of an environment: what its requirements name."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return [line.partition(";")[0].strip() for line in lines if "==" in line]


def _build(root: Path, requirements: Path) -> None:
    uv = find_uv()
    if uv is None:
        raise PeerError("uv is not installed: run make setup")
    install = ["pip", "install", "-q", "--compile-bytecode", "--python", str(root / "bin/python")]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    for words in (
        ["venv", "-q", "--no-project", "--python", sys.executable, str(root)],
        [*install, "-r", str(requirements)],
    ):
        done = subprocess.run(
            [str(uv), *words],
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            env=environment,
            check=False,
        )
        if done.returncode:
            said = " ".join(done.stderr.split())[-400:]
            raise PeerError(f"{requirements.name} does not install: {said}")
