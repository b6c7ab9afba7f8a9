"""Metadata of the installed Python distributions, as rows of `pypi.python_packages`.

Belongs here: importlib.metadata -> Arrow. It gives the demo a nested table with real content.
"""

import base64
import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pyarrow as pa

# name, [extras], specifier (with or without brackets), ; marker. Enough for installed metadata.
REQUIREMENT = re.compile(
    r"^\s*(?P<name>[\w.\-]+)\s*(?:\[[^\]]*\])?\s*\(?(?P<specifier>[^;()]*)\)?\s*(?:;(?P<marker>.*))?$"
)
EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")

REQUIRES = pa.struct([("name", pa.string()), ("specifier", pa.string()), ("extra", pa.string())])
FILES = pa.struct([("path", pa.string()), ("bytes", pa.int64()), ("sha256", pa.binary())])
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("version", pa.string()),
        ("metadata_version", pa.decimal128(38, 9)),
        ("summary", pa.string()),
        ("classifiers", pa.list_(pa.string())),
        ("requires", pa.list_(REQUIRES)),
        ("files", pa.list_(FILES)),
        ("project_urls", pa.string()),
        ("max_ingested_at", pa.timestamp("us", tz="UTC")),
    ]
)


def python_packages() -> pa.Table:
    """One row per distribution of this environment, sorted by name; JSON columns as text."""
    rows = {row["name"].lower(): row for row in map(_row, _installed())}
    return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=SCHEMA)


def _installed() -> Iterator[Distribution]:
    # A folder left behind by an interrupted uninstall has no name.
    return (found for found in distributions() if found.metadata["Name"])


def _row(found: Distribution) -> dict[str, Any]:
    metadata = found.metadata
    urls = dict(
        line.split(", ", 1) for line in metadata.get_all("Project-URL") or [] if ", " in line
    )
    return {
        "name": metadata["Name"],
        "version": found.version,
        "metadata_version": Decimal(metadata["Metadata-Version"]),
        "summary": metadata["Summary"],
        "classifiers": metadata.get_all("Classifier") or [],
        "requires": [_requirement(line) for line in found.requires or []],
        "files": list(_files(found)),
        "project_urls": json.dumps(urls) if urls else None,
        "max_ingested_at": _installed_at(found),
    }


def _requirement(line: str) -> dict[str, str | None]:
    parsed = REQUIREMENT.match(line)
    if parsed is None:  # name @ address
        return {"name": line.split("@")[0].strip(), "specifier": None, "extra": None}
    extra = EXTRA.search(parsed["marker"] or "")
    return {
        "name": parsed["name"],
        "specifier": parsed["specifier"].strip() or None,
        "extra": extra["extra"] if extra else None,
    }


def _files(found: Distribution) -> Iterator[dict[str, Any]]:
    for file in found.files or []:
        digest = None
        if file.hash is not None and file.hash.mode == "sha256":
            digest = base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4))
        yield {"path": str(file), "bytes": file.size, "sha256": digest}


def _installed_at(found: Distribution) -> dt.datetime:
    """When its METADATA file was written; the epoch where it has none."""
    metadata = next((file for file in found.files or [] if file.name == "METADATA"), None)
    path = Path(str(metadata.locate())) if metadata else None
    seconds = int(path.stat().st_mtime) if path and path.exists() else 0
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
