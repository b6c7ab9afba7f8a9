"""The arrows of docs and architecture, held: who may import whom.

errors, model <- config <- pure modules <- I/O <- copy, checks, attempt <- sync <- (defs | cli) <-
definitions. Imports inside functions count as well. Each exception is a line of data with its
reason; a module that no layer names fails, so a new file has to choose its place.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bq2pg_assets

ROOT = Path(bq2pg_assets.__file__).parent
NAME = "bq2pg_assets"
# From the bottom up; a module imports from layers below its own.
LAYERS: list[tuple[str, ...]] = [
    (NAME, "engine"),
    ("engine.errors", "engine.redact"),
    ("engine.model", "engine.cancel"),
    ("engine.profile",),
    ("engine.stopwatch",),
    ("engine.results", "engine.circuit", "engine.connections", "engine.retrying"),
    ("engine.workers",),
    ("config",),
    *[
        ("engine.wire", "engine.nested", "engine.nul"),
        ("engine.typemap",),
        ("engine.postgres_sql", "engine.catalog_sql"),
        ("engine.publish_sql", "engine.guards"),
    ],
    ("engine.bad_rows", "engine.quarantine_sql"),
    ("engine.row_json",),
    *[
        ("engine.export_sql", "engine.evolve", "engine.carry"),
        ("engine.encode", "engine.shape"),
        ("engine.ways",),
        ("engine.plan", "engine.fingerprint"),
    ],
    ("engine.google_reasons",),
    ("engine.google_errors", "engine.postgres_errors"),
    ("engine.state", "engine.leftovers", "engine.catalog", "engine.staged_rows"),
    ("engine.publish", "engine.quarantine"),
    ("engine.own_tables",),
    ("engine.target_facts", "engine.swap", "engine.connecting", "engine.copy_sink"),
    ("engine.session",),
    *[("engine.download",), ("engine.parquet",)],
    ("engine.bigquery", "engine.shards", "engine.read_api", "engine.postgres"),
    ("engine.feed", "engine.meter"),
    ("engine.copy",),
    ("engine.checks", "engine.attempt", "engine.resume"),
    ("engine.sync", "engine.janitor"),
    ("settings",),
    ("clients", "local"),
    ("defs", "cli"),
    ("definitions",),
]
PURE = (
    "plan",
    "ways",
    "evolve",
    "typemap",
    "export_sql",
    "postgres_sql",
    "publish_sql",
    "catalog_sql",
    "carry",
    "guards",
    "encode",
    "wire",
    "nested",
    "nul",
    "shape",
    "circuit",
    "fingerprint",
    "profile",
    "bad_rows",
    "row_json",
    "quarantine_sql",
    "workers",
)
# (importer, imported): why this arrow may point up or sideways.
EXCEPTIONS = {
    ("config.schema", "settings"): "publishes the list of variables beside the YAML's schema",
    ("defs.launch", "definitions"): "a started process finds the job again, inside a function",
}
# postgres keeps its state tables on its own connection, and each speaks through its translator.
IO = {
    "bigquery": {"google_errors"},
    "shards": {"google_errors", "parquet", "download"},
    "parquet": {"download"},
    "download": {"google_errors"},
    "read_api": {"google_errors"},
    "staged_rows": {"postgres_errors"},
    "quarantine": {"postgres_errors", "staged_rows"},
    "postgres": {
        *("postgres_errors", "state", "leftovers", "connecting", "target_facts", "session"),
        "quarantine",
    },
    "session": {
        *("postgres_errors", "state", "leftovers", "connecting", "copy_sink"),
        *("publish", "swap", "target_facts", "quarantine", "own_tables"),
    },
    "own_tables": {"state", "leftovers", "quarantine"},
    "connecting": {"postgres_errors"},
    "copy_sink": {"postgres_errors"},
    "publish": {"staged_rows"},
    "swap": {"catalog"},
    "target_facts": {"catalog", "state"},
    "catalog": set(),
    "state": set(),
    "leftovers": set(),
    "google_errors": set(),
    "postgres_errors": set(),
}
SETTINGS_READERS = ("cli", "clients", "defs", "definitions", "config.schema")
IMPURE = {
    *("google", "requests", "os", "time", "logging", "threading", "concurrent", "socket"),
    *("subprocess", "pathlib", "tempfile", "random", "uuid", "secrets", "dagster"),
}
CLOCKS = {"now", "utcnow", "today", "fromtimestamp"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(p for p in parts if p not in ("__init__", "__main__")) or NAME


MODULES = {
    module_name(path): ast.parse(path.read_text())
    for path in sorted(ROOT.rglob("*.py"))
    if "emulator" not in path.parts  # runs in an environment of its own, without this package
}


def imports(module: str) -> Iterator[str]:
    """Every dotted name the module imports; of `from a import b` both a and a.b."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """The modules of this package that the module imports."""
    found = {i.removeprefix(f"{NAME}.") for i in imports(module) if i.startswith(f"{NAME}.")}
    return {i for i in found if i in MODULES and i != "engine"}


def layer(module: str) -> int:
    """The place of the longest name in LAYERS that the module is, or is inside."""
    places = [
        (len(name), at)
        for at, names in enumerate(LAYERS)
        for name in names
        if module == name or (module.startswith(f"{name}.") and name != "engine")
    ]
    assert places, f"{module} has no layer: give it one in LAYERS"
    return max(places)[1]


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_below(module: str) -> None:
    for other in own_imports(module):
        if (module, other) in EXCEPTIONS:
            continue
        within = top(module) == top(other) and top(module) != "engine"
        assert within or layer(other) < layer(module), f"{module} imports {other}"


@pytest.mark.parametrize("arrow", EXCEPTIONS, ids=" to ".join)
def test_no_exception_has_outlived_its_reason(arrow: tuple[str, str]) -> None:
    module, other = arrow
    if module in MODULES:
        assert other in own_imports(module)


@pytest.mark.parametrize("module", IO)
def test_a_module_that_does_io_does_not_import_another(module: str) -> None:
    others = {i.removeprefix("engine.") for i in own_imports(f"engine.{module}")}
    assert others & set(IO) == IO[module]


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_touches_no_client_no_environment_and_no_clock(module: str) -> None:
    names = set(imports(f"engine.{module}"))
    assert {n for n in names if n.partition(".")[0] in IMPURE} == set()
    psycopg = {n for n in names if n.partition(".")[0] == "psycopg"}
    assert psycopg <= {"psycopg", "psycopg.sql"}
    below = {"engine.errors", "engine.model", "engine.results", *(f"engine.{p}" for p in PURE)}
    assert {o for o in own_imports(f"engine.{module}") if top(o) != "config"} <= below
    called = {n.attr for n in ast.walk(MODULES[f"engine.{module}"]) if isinstance(n, ast.Attribute)}
    assert called & (CLOCKS | {"environ"}) == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("engine.")])
def test_the_engine_reads_no_environment(module: str) -> None:
    used = set(imports(module))
    if "os.pread" in used:  # reads a file
        used.remove("os")
    assert not {"os", "dotenv", f"{NAME}.settings", f"{NAME}.clients"} & used


@pytest.mark.parametrize("module", MODULES)
def test_only_the_dagster_layer_imports_dagster(module: str) -> None:
    if top(module) not in ("defs", "definitions"):
        assert not [i for i in imports(module) if i.startswith("dagster")]


@pytest.mark.parametrize("module", MODULES)
def test_settings_are_read_at_the_edges_only(module: str) -> None:
    if "settings" in own_imports(module):
        assert module.startswith(SETTINGS_READERS)


@pytest.mark.parametrize("module", [m for m in MODULES if top(m) in ("cli", "defs")])
def test_the_command_line_and_dagsters_definitions_do_not_know_each_other(module: str) -> None:
    other = "defs" if top(module) == "cli" else "cli"
    assert not [i for i in own_imports(module) if top(i) == other]


def test_the_flow_loads_no_module_of_dagster() -> None:
    code = (
        "import sys, bq2pg_assets.engine.sync\n"
        "print([m for m in sys.modules if m.partition('.')[0].startswith('dagster')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout.strip() == "[]"
