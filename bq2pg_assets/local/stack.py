"""The local stack as a whole: up, down, reset, status, and the variables the product needs.

Belongs here: which servers run, and the record of them in `stack.json`. Does not belong here:
how one server is started (`servers.py`). Everything lies below one folder, `.local` unless
BQ2PG_LOCAL_DIR names another, and survives restarts.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from bq2pg_assets.engine.errors import LocalStackError
from bq2pg_assets.local import servers
from bq2pg_assets.local.catalog import DEMO_FOLDER
from bq2pg_assets.local.environment import ensure_environment
from bq2pg_assets.local.processes import ProcessRef, free_port
from bq2pg_assets.local.servers import BIGQUERY, POSTGRES, PROJECT, STORAGE, Part, Place

LOCATION = "US"
BUCKET = "bq2pg-local-staging"
RECORD = "stack.json"
ORDER = (STORAGE, POSTGRES, BIGQUERY)
EXTERNAL_SECONDS = 5  # how long a PostgreSQL of the user's own may take to accept a connection

Report = Callable[[str], None]


@dataclass(frozen=True)
class StackState:
    """What is recorded of the stack. `started` names the parts that this very call started."""

    local_dir: Path
    parts: dict[str, Part]
    postgres_dsn: str
    started: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything the product needs runs (an external PostgreSQL is taken on trust)."""
        names = [STORAGE, BIGQUERY] + ([] if _is_external(self) else [POSTGRES])
        return all(name in self.parts and self.parts[name].running for name in names)


def default_local_dir() -> Path:
    """The stack's folder: BQ2PG_LOCAL_DIR, otherwise `.local` in the current folder."""
    return Path(os.environ.get("BQ2PG_LOCAL_DIR") or ".local").resolve()


def emulators_dir(local_dir: Path) -> Path:
    """The emulators' environment: BQ2PG_EMULATORS_DIR, otherwise inside the stack's folder."""
    named = os.environ.get("BQ2PG_EMULATORS_DIR")
    return Path(named).resolve() if named else local_dir / "emulators"


def up(
    local_dir: Path,
    *,
    report: Report,
    emulators: Path | None = None,
    emulator_variables: Mapping[str, str] | None = None,
) -> StackState:
    """Start what does not run yet and wait until all of it answers.

    No PostgreSQL is started when BQ2PG_PG_DSN names one of the user's own. `emulators` is the
    folder of the emulators' environment; `emulator_variables` go to the BigQuery emulator.
    Raises LocalStackError when that one does not answer, before anything is started, and when a
    part cannot be built or started; parts that this call started before are stopped again.
    """
    local_dir = local_dir.resolve()
    local_dir.mkdir(parents=True, exist_ok=True)
    with _locked(local_dir):
        before = _read(local_dir)
        if _is_external(before):
            _refuse_silent(before.postgres_dsn)
        environment = ensure_environment(emulators or emulators_dir(local_dir), report=report)
        place = Place(local_dir, environment, emulator_variables or {})
        return _start_missing(before, place, report)


def down(local_dir: Path, *, report: Report, parts: Sequence[str] | None = None) -> StackState:
    """Stop the parts (all when None). What is not running is no error. Data stays."""
    local_dir = local_dir.resolve()
    if not (local_dir / RECORD).exists():
        return _read(local_dir)
    with _locked(local_dir):
        state = _read(local_dir)
        chosen = [name for name in reversed(ORDER) if parts is None or name in parts]
        for name in chosen:
            if name in state.parts and servers.stop_part(state.parts[name]):
                report(f"{name} stopped")
        return state


def reset(local_dir: Path, *, report: Report) -> None:
    """Stop everything and delete its data, logs and record. The emulators' environment stays."""
    local_dir = local_dir.resolve()
    down(local_dir, report=report)
    for name in ("data", "logs"):
        shutil.rmtree(local_dir / name, ignore_errors=True)
    shutil.rmtree(servers.fallback_folder(local_dir), ignore_errors=True)
    (local_dir / RECORD).unlink(missing_ok=True)
    report(f"the data of the local stack in {local_dir} is deleted")


def status(local_dir: Path) -> StackState:
    """What is recorded; ask each part whether it is `running`."""
    return _read(local_dir.resolve())


def environment(state: StackState) -> dict[str, str]:
    """The variables with which the product and Google's clients reach this stack.

    BQ2PG_TABLES is the demo's folder: what this BigQuery holds is the demo's.
    """
    bigquery, storage = state.parts[BIGQUERY], state.parts[STORAGE]
    return {
        "BQ2PG_PG_DSN": state.postgres_dsn,
        "BQ2PG_BQ_PROJECT": PROJECT,
        "BQ2PG_BQ_LOCATION": LOCATION,
        "BQ2PG_GCS_BUCKET": BUCKET,
        "BQ2PG_TABLES": str(DEMO_FOLDER),
        "BIGQUERY_EMULATOR_HOST": bigquery.url,
        "BIGQUERY_STORAGE_EMULATOR_HOST": bigquery.notes["grpc"],
        "STORAGE_EMULATOR_HOST": storage.url,
    }


def _refuse_silent(dsn: str) -> None:
    """Raise LocalStackError when no connection can be made. Nothing of the address is repeated."""
    reached = True
    try:
        psycopg.connect(dsn, connect_timeout=EXTERNAL_SECONDS).close()
    except psycopg.Error:
        reached = False
    # Raised out here so that the error does not carry psycopg's, whose message holds the address.
    if not reached:
        raise LocalStackError(
            "BQ2PG_PG_DSN",
            met="no PostgreSQL accepts a connection at the address it holds",
            expected="a server of your own that runs, or the variable not set",
            way_out="`unset BQ2PG_PG_DSN` to have the stack start its own (the address of an "
            "earlier local stack is of no use after `bq2pg local reset`), or start that server.",
        )


def _start_missing(before: StackState, place: Place, report: Report) -> StackState:
    parts, started, external = dict(before.parts), list[Part](), _is_external(before)

    def port(name: str) -> int:
        return free_port(before.parts[name].port if name in before.parts else None)

    def running(name: str) -> bool:
        return name in parts and parts[name].running

    try:
        if not running(STORAGE):
            started.append(servers.start_storage(place, port=port(STORAGE)))
            parts[STORAGE] = started[-1]
        if not running(POSTGRES) and not external:
            started.append(servers.start_postgres(place, port=port(POSTGRES)))
            parts[POSTGRES] = started[-1]
        url = parts[STORAGE].url
        if running(BIGQUERY) and parts[BIGQUERY].notes["storage"] != url:
            # It was told the storage's address at its start and cannot be told another one.
            servers.stop_part(parts[BIGQUERY])
        if not running(BIGQUERY):
            bigquery = servers.start_bigquery(
                place, port=port(BIGQUERY), grpc_port=free_port(), storage_url=url
            )
            started.append(bigquery)
            parts[BIGQUERY] = bigquery
        # BQ2PG_PG_DSN may still hold the address its PostgreSQL had before, on another port.
        dsn = before.postgres_dsn if external else parts[POSTGRES].url
        # Recorded before they are ready: were we killed while waiting, the next `up` finds them.
        _write(StackState(place.local_dir, parts, dsn))
        for part in started:
            servers.wait_ready(part, place)
            report(f"{part.name} answers on 127.0.0.1:{part.port}")
    except BaseException:  # also on Ctrl-C: nothing may be left that is not recorded
        for part in started:
            servers.stop_part(part)
        raise
    names = tuple(part.name for part in started)
    return StackState(place.local_dir, parts, dsn, names)


# -- the record ------------------------------------------------------------------------------


def _dsn(parts: Mapping[str, Part]) -> str:
    """The user's own server when BQ2PG_PG_DSN names one, otherwise the stack's.

    The variable may also hold the stack's own address, from `environment()` of an earlier call.
    """
    own = parts[POSTGRES].url if POSTGRES in parts else ""
    return os.environ.get("BQ2PG_PG_DSN") or own


def _is_external(state: StackState) -> bool:
    own = state.parts[POSTGRES].url if POSTGRES in state.parts else ""
    return bool(state.postgres_dsn) and state.postgres_dsn != own


def _read(local_dir: Path) -> StackState:
    """The recorded state. A missing or torn file reads as an empty one: `up` starts afresh."""
    try:
        record = json.loads((local_dir / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = {"parts": {}}
    parts = {
        name: Part(**{**part, "process": ProcessRef(**part["process"])})
        for name, part in record["parts"].items()
    }
    return StackState(local_dir, parts, _dsn(parts))


def _write(state: StackState) -> None:
    """Replace the record in one step. The address of an external PostgreSQL is not in it."""
    record = {"parts": {name: asdict(part) for name, part in state.parts.items()}}
    fresh = state.local_dir / f"{RECORD}.new"
    fresh.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    fresh.replace(state.local_dir / RECORD)


@contextlib.contextmanager
def _locked(local_dir: Path) -> Iterator[None]:
    """One up, down or reset at a time per folder; released by the system when we are killed."""
    with (local_dir / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
