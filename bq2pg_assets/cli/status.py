"""`bq2pg status`: how far each configured table is loaded, and how its last attempt ended.

Belongs here: the command and its rendering. Does not: reading `sync_history` (engine/state.py).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from bq2pg_assets.cli import options, output, wording
from bq2pg_assets.cli.exit_codes import code_of_all
from bq2pg_assets.cli.result_table import aligned
from bq2pg_assets.engine.circuit import Circuit
from bq2pg_assets.engine.redact import redact
from bq2pg_assets.engine.results import TableStatus

HEADER = ("table", "last attempt", "mode", "rows", "seconds", "finished", "cursor", "billed")
RIGHT = {"rows", "seconds", "billed"}


def status(as_json: options.Json = False) -> None:
    """Show each table's last attempt and cursor.

    What PostgreSQL remembers in sync_history; BigQuery is not asked.
    """
    from bq2pg_assets.clients import postgres_target
    from bq2pg_assets.config.load import load_tables
    from bq2pg_assets.settings import load_settings

    settings = load_settings()
    loaded = load_tables(settings.tables, environment=settings.env)
    target = postgres_target(settings)
    known, circuits = {one.target: one for one in target.status()}, target.circuits(loaded.tables)
    found = {table.name: known.get(str(table.target_name)) for table in loaded.tables}
    if as_json:
        rows = [as_object(*one, circuit=circuits[one[0]]) for one in found.items()]
        output.say(json.dumps(rows, indent=2))
    else:
        for line in status_lines(list(found.items()), circuits=circuits):
            output.say(line)
    errors = [problem.error for problem in loaded.problems]
    for error in errors:
        output.print_error(error)
    raise typer.Exit(code_of_all(errors))


def status_lines(
    found: Sequence[tuple[str, TableStatus | None]], *, circuits: Mapping[str, Circuit]
) -> list[str]:
    """One line per table, then what the failed ones said and which are left out. Pure."""
    cells = [HEADER, *(_cells(table, one) for table, one in found)]
    lines = aligned(cells, left=set(HEADER) - RIGHT)
    for table, one in found:
        if one is not None and one.error:
            lines += ["", f"{table}: {redact(one.error)}"]
        if circuits[table].opened:
            way_out = f"`bq2pg resume {table}` closes it."
            lines += ["", f"{table}: {circuits[table].sentence}; {way_out}"]
    return lines


def as_object(table: str, status: TableStatus | None, *, circuit: Circuit) -> dict[str, Any]:
    """One table for JSON; `last_attempt` is null when it was never synced. Pure."""
    common = {
        "table": table,
        "circuit": {
            "state": circuit.state.value,
            "failed_runs": circuit.failed_runs,
            "until": wording.iso(circuit.until),
        },
    }
    if status is None:
        return common | {"last_attempt": None, "cursor": None}
    return common | {
        "cursor": wording.iso(status.cursor),
        "last_attempt": {
            "outcome": status.outcome.value,
            "mode": status.mode or None,
            "rows": status.rows,
            "seconds": status.seconds,
            "finished_at": wording.iso(status.finished_at),
            "bytes_billed": status.bytes_billed,
            "run_id": status.run_id,
            "error": redact(status.error) if status.error else None,
            "source_modified_at": wording.iso(status.source_modified_at),
            "advice": status.advice,
        },
    }


def _cells(table: str, status: TableStatus | None) -> tuple[str, ...]:
    if status is None:
        return (table, "never synced", *[""] * 6)
    finished = status.finished_at.replace(microsecond=0) if status.finished_at else None
    return (
        table,
        status.outcome.value.replace("_", " "),
        status.mode,
        wording.count(status.rows),
        f"{status.seconds:.1f}",
        wording.moment(finished),
        wording.moment(status.cursor),
        wording.size(status.bytes_billed) if status.bytes_billed else "",
    )
