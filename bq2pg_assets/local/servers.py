"""The three servers of the local stack: how each is started and when it is ready.

Belongs here: command lines, data folders, readiness. Does not belong here: which of them are
to be started or stopped (`stack.py`). Every server listens on 127.0.0.1 only.
"""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local import processes
from bq2pg_assets.local.environment import EmulatorEnvironment

PROJECT = "bq2pg-local"
LAUNCHER = Path(__file__).with_name("emulator")
STORAGE, BIGQUERY, POSTGRES = "storage", "bigquery", "postgres"
DATABASE = "bq2pg"
INITDB_OPTIONS = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
STOP_SIGNALS = {POSTGRES: signal.SIGINT}  # PostgreSQL's fast shutdown: does not wait for clients


@dataclass(frozen=True)
class Part:
    """A started server. `notes` holds what is special to it (gRPC port, data folder)."""

    name: str
    process: processes.ProcessRef
    port: int
    url: str
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether the very process that was started still runs."""
        return processes.is_running(self.process)


@dataclass(frozen=True)
class Place:
    """Where a server keeps things: the stack's folder and the emulators' environment."""

    local_dir: Path
    emulators: EmulatorEnvironment
    variables: Mapping[str, str] = field(default_factory=dict)

    def data(self, name: str) -> Path:
        """The data folder of a server; made when missing."""
        folder = self.local_dir / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """The log file of a server."""
        return self.local_dir / "logs" / f"{name}.log"


def start_storage(place: Place, *, port: int) -> Part:
    """fake-gcs-server with its objects on disk."""
    url = f"http://127.0.0.1:{port}"
    flags = {
        "-scheme": "http",
        "-backend": "filesystem",
        "-filesystem-root": str(place.data(STORAGE)),
        "-host": "127.0.0.1",
        "-port": str(port),
        "-public-host": f"127.0.0.1:{port}",
        "-external-url": url,
        "-log-level": "error",
    }
    words = [word for pair in flags.items() for word in pair]
    started = processes.start([place.emulators.gcs_server, *words], log=place.log(STORAGE))
    return Part(STORAGE, started, port, url)


def start_bigquery(place: Place, *, port: int, grpc_port: int, storage_url: str) -> Part:
    """The BigQuery stand-in of `emulator/`, exporting to and loading from `storage_url`."""
    command: list[str | Path] = [place.emulators.python, LAUNCHER, "--project", PROJECT]
    command += ["--port", str(port), "--grpc-port", str(grpc_port)]
    command += ["--data-dir", str(place.data(BIGQUERY))]
    variables = {
        "STORAGE_EMULATOR_HOST": storage_url,
        "LBQ_EXT_DIR": str(place.emulators.duckdb_extensions),
        "PYTHONDONTWRITEBYTECODE": "1",  # the launcher lies inside the product's package
        **place.variables,
    }
    started = processes.start(command, log=place.log(BIGQUERY), variables=variables)
    notes = {"grpc": f"127.0.0.1:{grpc_port}", "storage": storage_url}
    return Part(BIGQUERY, started, port, f"http://127.0.0.1:{port}", notes)


def start_postgres(place: Place, *, port: int, settings: Mapping[str, str] | None = None) -> Part:
    """A PostgreSQL server with one database, `bq2pg`; runs as `nobody` when the caller is root.

    `settings` win over the stack's own.
    """
    home, data, user = _postgres_places(place)
    variables = {"LC_ALL": "C.UTF-8", "HOME": str(data)}
    if not (data / "PG_VERSION").exists():
        _initdb(home, data, variables=variables, user=user)
    _forget_dead_postmaster(data)
    chosen = {
        "unix_socket_directories": "",  # TCP only: a socket's path has a limit of 107 bytes
        "fsync": "off",  # outlives a killed process, not a power cut; twice as fast to load
        "max_connections": "200",
        **(settings or {}),
    }
    command: list[str | Path] = [home / "bin/postgres", "-D", data, "-h", "127.0.0.1"]
    command += ["-p", str(port)]
    command += [word for key, value in chosen.items() for word in ("-c", f"{key}={value}")]
    log = place.log(POSTGRES)
    started = processes.start(command, log=log, variables=variables, user=user)
    url = f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"
    return Part(POSTGRES, started, port, url, {"data": str(data), "home": str(home)})


def wait_ready(part: Part, place: Place) -> None:
    """Wait until it answers; raises LocalStackError with the end of its log when it does not."""
    probes: dict[str, tuple[Callable[[], bool], float]] = {
        STORAGE: (lambda: _answers(f"{part.url}/storage/v1/b"), 20),
        BIGQUERY: (lambda: _answers(f"{part.url}/bigquery/v2/projects/{PROJECT}/datasets"), 90),
        POSTGRES: (lambda: _has_database(part.port), 30),
    }
    ready, seconds = probes[part.name]
    processes.wait_until(
        ready, process=part.process, name=part.name, log=place.log(part.name), seconds=seconds
    )


def stop_part(part: Part) -> bool:
    """Stop it in the way that suits it. False when it was not running."""
    return processes.stop(part.process, first=STOP_SIGNALS.get(part.name, signal.SIGTERM))


# -- PostgreSQL ------------------------------------------------------------------------------


def _postgres_places(place: Place) -> tuple[Path, Path, tuple[int, int] | None]:
    """Programs, data folder and user. PostgreSQL refuses root, and `nobody` must reach both.

    A home folder is often closed to others; then both lie below the system's folder for temporary
    files, under a name made from the stack's folder. `stack.json` tells where.
    """
    home, data = place.emulators.postgres_home, place.local_dir / "data" / POSTGRES
    user = None
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = (nobody.pw_uid, nobody.pw_gid)
        elsewhere = fallback_folder(place.local_dir)
        if elsewhere.exists() and elsewhere.stat().st_uid != os.geteuid():
            raise LocalStackError(
                f"PostgreSQL's folder {elsewhere}",
                met="it belongs to another user",
                expected="a folder made by this user",
                way_out="Remove it, or name another folder for the stack in BQ2PG_LOCAL_DIR.",
            )
        if not _open_to_others(home):
            home = _copied(home, elsewhere / "programs")
        if not _open_to_others(place.local_dir):
            data = elsewhere / POSTGRES
    data.mkdir(parents=True, exist_ok=True)
    if user:
        if data.is_relative_to(fallback_folder(place.local_dir)):
            data.parent.chmod(0o711)
        else:
            data.parent.chmod(0o755)
        os.chown(data, *user)
    data.chmod(0o700)
    return home, data, user


def _copied(home: Path, into: Path) -> Path:
    """A copy of the programs, with the libraries that they look for beside their package."""
    package = home.parent
    if not into.exists():
        fresh = into.with_name(f"{into.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, fresh / folder.name, symlinks=True)
        fresh.rename(into)
    return into / package.name / home.name


def fallback_folder(local_dir: Path) -> Path:
    """Where PostgreSQL lies when `local_dir` is closed to other users."""
    digest = hashlib.sha256(str(local_dir.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"bq2pg-{digest}"


def _open_to_others(folder: Path) -> bool:
    existing = [step for step in (folder, *folder.parents) if step.exists()]
    return all(step.stat().st_mode & 0o001 for step in existing)


def _initdb(
    home: Path, data: Path, *, variables: Mapping[str, str], user: tuple[int, int] | None
) -> None:
    done = subprocess.run(  # noqa: S603 - initdb of the emulators' environment
        [str(home / "bin/initdb"), "-D", str(data), *INITDB_OPTIONS],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **variables},
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        raise LocalStackError(
            POSTGRES,
            met=f"initdb said: {' '.join(done.stderr.split())[-400:]}",
            expected=f"a data folder in {data}",
            way_out="Make that folder writable, or name another one in BQ2PG_LOCAL_DIR.",
        )


def _forget_dead_postmaster(data: Path) -> None:
    """Remove a postmaster.pid that no server of this folder stands behind.

    PostgreSQL does so itself unless another process of the same user has got that pid.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text(encoding="utf-8").split()[0])
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        command = ""
    if str(data) not in command:
        lock.unlink()


def _has_database(port: int) -> bool:
    """Whether the server answers and has the database `bq2pg`, made here the first time."""
    dsn = f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=2"
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    except psycopg.OperationalError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - a loopback address
    except OSError:
        return False
    return True
