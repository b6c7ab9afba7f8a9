"""From a table's configuration to its asset's specification, and to those of its sources.

Belongs here: keys, names, groups, kinds, tags and the metadata known before a run. Pure. Does not:
what an asset does (assets.py), what a run found out (metadata.py).

A table's asset is `<target schema>/<target table>`; the BigQuery tables it reads are external
assets `bigquery/<dataset>/<table>`, with the project before the dataset where the YAML names one.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from bq2pg_assets.config.table import TableConfig

KINDS = {"bigquery", "postgres"}
# Not part of the code version: what changes when, by whom and how fast a table is loaded, but not
# what it holds. A field added later counts until it is listed here, which is the safe side.
NOT_CONTENT = {
    "schedule",
    "timezone",
    "automation",
    "retries",
    "circuit_breaker",
    "cool_down",
    "parallelism",
    "memory_limit_mb",
    "max_bytes_billed",
    "max_bad_rows",
    "group",
    "owners",
    "tags",
    "description",
}


def asset_spec(table: TableConfig) -> dg.AssetSpec:
    """The asset of one table."""
    return dg.AssetSpec(
        asset_key(table),
        deps=[spec.key for spec in source_specs(table)],
        description=table.description or _described(table),
        metadata={
            "dagster/table_name": str(table.target_name),
            "dagster/storage_kind": "postgres",
            **_facts(table),
        },
        group_name=table.group,
        code_version=code_version(table),
        owners=list(table.owners),
        tags=table.tags,
        kinds=KINDS,
    )


def source_specs(table: TableConfig) -> list[dg.AssetSpec]:
    """The external assets of the BigQuery tables that a table reads."""
    return [
        dg.AssetSpec(
            dg.AssetKey(["bigquery", *map(_part, parts)]),
            description="A BigQuery table or view, changed by others.",
            metadata={
                "dagster/table_name": ".".join(parts),
                "dagster/storage_kind": "bigquery",
            },
            group_name=table.group,
            kinds={"bigquery"},
        )
        for parts in _sources(table)
    ]


def asset_key(table: TableConfig) -> dg.AssetKey:
    """The key of a table's asset."""
    return dg.AssetKey([_part(table.target_name.schema), _part(table.target_name.table)])


def code_version(table: TableConfig) -> str:
    """Changes with whatever in the configuration changes the content of the target."""
    content = table.model_dump_json(exclude=NOT_CONTENT)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _sources(table: TableConfig) -> Sequence[tuple[str, ...]]:
    """(dataset, table) or (project, dataset, table) of each BigQuery table that is read."""
    if table.query is not None:
        return sorted(set(_tables_of(table.query)))
    return [tuple(part for part in table.source_parts if part)]


def _tables_of(query: str) -> Iterator[tuple[str, ...]]:
    """The tables a query names. A query that cannot be read names none: its run tells why."""
    # Imported here: it takes longer than all of this package, and few folders hold a query.
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.scope import traverse_scope

    try:
        scopes = traverse_scope(parse_one(query, dialect="bigquery"))
    except SqlglotError:
        return
    for scope in scopes:
        for source in scope.sources.values():
            if not isinstance(source, exp.Table):
                continue
            parts = tuple(part.name for part in source.parts)
            # `FROM orders AS o, o.items` unnests a column of o; it names no second table.
            if len(parts) in (2, 3) and parts[0] not in scope.sources:
                yield parts


def _part(name: str) -> str:
    """A part of an asset key: Dagster derives names from it and takes these characters."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _described(table: TableConfig) -> str:
    source = table.source or "a query"
    return f"BigQuery {source}, kept in PostgreSQL as {table.target_name} ({table.mode})."


def _facts(table: TableConfig) -> Mapping[str, Any]:
    """What the YAML says, for the asset's page. Unset fields are left out."""
    facts: dict[str, Any] = {
        "source": table.source,
        "mode": table.mode,
        "cursor": table.cursor_column,
        "key": ", ".join(table.key),
        "not_null": ", ".join(table.not_null),
        "export": table.export,
        "schedule": table.schedule and f"{table.schedule} ({table.timezone})",
        "automation": table.automation,
    }
    if table.query:
        facts["query"] = dg.MetadataValue.md(f"```sql\n{table.query}\n```")
    return {name: fact for name, fact in facts.items() if fact}
