# mypy: ignore-errors
"""DuckDB without the network: its extensions come from installed distributions.

Belongs here: where the extensions lie and how every connection finds them. Does not belong
here: anything about BigQuery. `install()` has to run before `local_bigquery` is imported.
The folder is run by the emulators' own Python, so nothing of the product may be imported.
"""

import functools
import importlib.util
import os
import pathlib

import duckdb

EXTENSIONS = ("icu", "spatial", "ducklake", "httpfs")
FOLDER = pathlib.Path(os.environ.get("LBQ_EXT_DIR") or pathlib.Path.home() / ".cache/lbq-duckdb")


def install() -> None:
    """Put the extensions on disk and make every DuckDB connection of this process use them.

    They have to be files: local_bigquery sets TimeZone in the connect config, which needs icu
    before any statement could load it.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    plain_connect = duckdb.connect

    @functools.wraps(plain_connect)
    def connect(database=":memory:", read_only=False, config=None, **rest):
        settings = {"extension_directory": str(FOLDER), "autoinstall_known_extensions": False}
        settings |= config or {}
        return plain_connect(database, read_only=read_only, config=settings, **rest)

    version = f"v{duckdb.__version__}"
    present = {path.stem for path in FOLDER.glob(f"{version}/*/*.duckdb_extension")}
    with connect() as connection:
        for name in EXTENSIONS:
            if name in present:
                continue
            found = importlib.util.find_spec(f"duckdb_extension_{name}")
            if found is None or found.origin is None:
                raise SystemExit(
                    f"duckdb-extension-{name} is not installed; build the environment again from "
                    f"emulators.txt"
                )
            file = pathlib.Path(found.origin).parent / "extensions" / version
            connection.execute(f"FORCE INSTALL '{file / name}.duckdb_extension'")
    duckdb.connect = connect
