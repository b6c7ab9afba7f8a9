"""A disk of a few megabytes for PostgreSQL, to be filled.

Belongs here: the tablespace on a tmpfs, and what is put there. Does not: what then happens.

Mounting needs root; without it nothing can be tried here, and `possible` says so.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bq2pg_assets_tests.chaos.ground import Case

SPACE = "small"


def possible() -> bool:
    """Whether a file system can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        return _mount(Path(folder)) and _unmount(Path(folder))


@contextmanager
def for_staging(case: Case) -> Iterator[None]:
    """New tables go there, and it is too small for the rows."""
    name = case.world.database
    with _space(case, size="96k"):
        case.world.pg(f"ALTER DATABASE {name} SET default_tablespace = {SPACE}")
        yield
        case.world.pg(f"ALTER DATABASE {name} RESET default_tablespace")
        case.quiet()
        for stage in case.world.stages():
            case.world.pg(f'ALTER TABLE bq2pg."{stage}" SET TABLESPACE pg_default')


@contextmanager
def for_target(case: Case) -> Iterator[None]:
    """The target lies there, and the disk is as large as what it holds."""
    with _space(case, size="16m") as folder:
        case.world.pg(f"ALTER TABLE t SET TABLESPACE {SPACE}")
        case.world.pg("VACUUM FULL t")  # COPY leaves free blocks behind the last row
        disk = os.statvfs(folder)
        assert _mount(folder, size=str((disk.f_blocks - disk.f_bfree) * disk.f_frsize), again=True)
        yield
        case.quiet()
        assert _mount(folder, size="16m", again=True)
        case.world.pg("ALTER TABLE t SET TABLESPACE pg_default")


@contextmanager
def _space(case: Case, *, size: str) -> Iterator[Path]:
    # Below a folder that the server's user may enter.
    folder = Path(tempfile.mkdtemp(prefix="bq2pg-small-"))
    owner = case.ground.server.data.stat()
    assert _mount(folder, size=size), "no file system can be mounted here"
    try:
        os.chown(folder, owner.st_uid, owner.st_gid)
        case.world.pg(f"CREATE TABLESPACE {SPACE} LOCATION '{folder}'")
        yield folder
        case.world.pg(f"DROP TABLESPACE {SPACE}")
    finally:
        _unmount(folder)
        shutil.rmtree(folder)


def _mount(folder: Path, *, size: str = "1m", again: bool = False) -> bool:
    options = f"remount,size={size}" if again else f"size={size}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _unmount(folder: Path) -> bool:
    return subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0
