"""Finding a Python that can run the emulators.

Belongs here: where to look, and proof that what was found really runs. Does not belong here:
building an environment with it (`environment.py`).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bq2pg_assets.engine.errors import LocalStackError

# local-bigquery uses syntax of 3.13. 3.19 is only an end for the search.
MINORS = range(13, 20)
PROBE_SECONDS = 20
DOWNLOAD_SECONDS = 600
PROBE = (
    "import ssl, sys, sysconfig; assert not sysconfig.get_config_var('Py_GIL_DISABLED'); "
    "print('%d.%d.%d' % sys.version_info[:3])"
)


def find_python() -> Path:
    """A Python >= 3.13 that runs: on PATH, then under pyenv, then uv's, which may download it.

    Raises LocalStackError that names these three ways when none can be had.
    """
    for candidate in _candidates():
        if python_version(candidate) is not None:
            return candidate
    raise LocalStackError(
        "Python for the emulators",
        met="no Python from 3.13 on that runs, neither on PATH nor under pyenv nor by uv",
        expected="Python >= 3.13 (the product itself may run on 3.11)",
        way_out=(
            "Do one of: install python3.13 so that it is on PATH; `pyenv install 3.13`; "
            "`uv python install 3.13` where the network allows."
        ),
    )


def python_version(python: Path) -> str | None:
    """Version like '3.13.1', or None when it does not run, is too old or is free-threaded.

    It is executed because a pyenv shim of the right name may exist and still fail.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a Python found by this file, fixed arguments
            [str(python), "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = done.stdout.strip()
    if done.returncode or not version.startswith("3.") or int(version.split(".")[1]) < MINORS[0]:
        return None
    return version


def find_uv() -> Path | None:
    """The `uv` program: beside this Python (it is in the `local` extra), then on PATH."""
    beside = Path(sys.executable).parent / "uv"
    if beside.exists():
        return beside
    found = shutil.which("uv")
    return Path(found) if found else None


def _candidates() -> Iterator[Path]:
    for minor in MINORS:
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    yield Path(sys.executable)
    yield from _pyenv_pythons()
    yield from _uv_pythons()


def _pyenv_pythons() -> Iterator[Path]:
    """Newest first. Also without pyenv on PATH, as in a non-interactive shell."""
    roots = [Path(os.environ["PYENV_ROOT"])] if os.environ.get("PYENV_ROOT") else []
    if pyenv := shutil.which("pyenv"):
        roots.extend(Path(line) for line in _output([pyenv, "root"]).splitlines())
    roots.append(Path.home() / ".pyenv")
    found = {python for root in roots for python in root.glob("versions/3.1[3-9]*/bin/python")}
    yield from sorted(found, key=_numbers, reverse=True)


def _numbers(python: Path) -> list[int]:
    digits = "".join(c if c.isdigit() else " " for c in python.parent.parent.name)
    return [int(number) for number in digits.split()]


def _uv_pythons() -> Iterator[Path]:
    uv = find_uv()
    if uv is None:
        return
    find = [str(uv), "python", "find", ">=3.13"]
    if found := _output(find):
        yield Path(found)
    _output([str(uv), "python", "install", "3.13"], timeout=DOWNLOAD_SECONDS)
    if found := _output(find):
        yield Path(found)


def _output(command: list[str], *, timeout: float = PROBE_SECONDS) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - pyenv or uv with fixed arguments
            command, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
