"""Metadata of the installed Python distributions, as rows of `pypi.python_packages`.

Belongs here: importlib.metadata -> Arrow. It gives the demo a nested table with real content. What
others wrote into their metadata may be malformed: it must not stop the demo.
"""

import base64
import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path
from typing import Any

import pyarrow as pa
from packaging.requirements import InvalidRequirement, Requirement

# In a marker as `packaging` writes it; it has no public way to ask for the extra.
EXTRA = re.compile(r'extra == "(?P<extra>[^"]+)"')

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
    # A folder left behind by an interrupted uninstall has neither.
    return (
        found
        for found in distributions()
        if _first(found.metadata, "Name") and _first(found.metadata, "Version")
    )


def _first(metadata: PackageMetadata, field: str) -> str | None:
    # metadata[field] of a missing one is None, a warning or an error, depending on Python.
    return next(iter(metadata.get_all(field) or []), None)


def _row(found: Distribution) -> dict[str, Any]:
    metadata = found.metadata
    urls = dict(
        line.split(", ", 1) for line in metadata.get_all("Project-URL") or [] if ", " in line
    )
    return {
        "name": _first(metadata, "Name"),
        "version": _first(metadata, "Version"),
        "metadata_version": _number(_first(metadata, "Metadata-Version")),
        "summary": _first(metadata, "Summary"),
        "classifiers": metadata.get_all("Classifier") or [],
        "requires": [requirement(line) for line in found.requires or []],
        "files": list(_files(found)),
        "project_urls": json.dumps(urls) if urls else None,
        "max_ingested_at": _installed_at(found),
    }


def requirement(line: str) -> dict[str, str | None]:
    """Name, specifier and extra of a `Requires-Dist` line; a malformed one is a name as it is."""
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        return {"name": line, "specifier": None, "extra": None}
    extra = EXTRA.search(str(parsed.marker or ""))
    return {
        "name": parsed.name,
        "specifier": str(parsed.specifier) or None,
        "extra": extra["extra"] if extra else None,
    }


def _number(text: str | None) -> Decimal | None:
    try:
        return Decimal(text) if text else None
    except InvalidOperation:
        return None


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
