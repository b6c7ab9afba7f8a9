"""The sensor that loads tables when BigQuery says that their source changed.

Belongs here: deciding which tables are behind, and the events of their sources. Does not: loading
by the clock (schedules.py).

One sensor serves all tables with `automation: on_source_change`. A tick costs one free metadata
call per source. What a table was loaded from is read from sync_history, so that a run started by
hand counts too; the cursor remembers what was asked for, so that a table whose run fails is not
asked for again until its source changes again, or its circuit wants a trial.

A changed source is recorded as a materialization of its external asset, tagged with the time of
the change as data version: after an observation Dagster would call its targets unsynced for ever.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from pydantic import BaseModel

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.resources import BigQuery, Postgres
from bq2pg_assets.defs.schedules import SYNC_ALL, left_out
from bq2pg_assets.defs.spec import asset_key, source_specs
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.circuit import Circuit, CircuitState
from bq2pg_assets.engine.errors import Bq2pgError, SourceError

NAME = "bigquery_source_changes"
INTERVAL_SECONDS = 60
CALLS_AT_ONCE = 8
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Answer = datetime | None | Bq2pgError


class SourceCursor(BaseModel):
    """What earlier ticks saw and did: by source the change last recorded, by table the change a
    run was last asked for."""

    seen: dict[str, str] = {}
    asked: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick does. `remarks` says, a sentence each, which sources could not be judged, and
    `left_out` which tables are behind and whose circuit is open."""

    wanted: tuple[TableConfig, ...]
    changed: Mapping[dg.AssetKey, datetime]
    remarks: tuple[str, ...]
    cursor: SourceCursor
    left_out: tuple[str, ...] = ()

    @property
    def run_key(self) -> str:
        """The same for the same tables and changes: a tick that is repeated starts nothing."""
        asked = sorted(f"{t.name}@{self.cursor.asked[t.name]}" for t in self.wanted)
        return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:32]


def decide(
    answers: Sequence[tuple[TableConfig, Answer]],
    *,
    loaded: Mapping[str, datetime | None],
    circuits: Mapping[str, Circuit],
    busy: frozenset[dg.AssetKey],
    cursor: SourceCursor,
) -> Decision:
    """Which tables are behind their source.

    `answers` holds for each table when its source changed, or why that is not known; `loaded` the
    change each table holds; `busy` the assets of unfinished runs, which wait for a later tick.
    """
    seen, asked = dict(cursor.seen), dict(cursor.asked)
    wanted, changed, remarks, out = [], {}, [], []
    for table, answer in answers:
        if not isinstance(answer, datetime):
            remarks.append(str(answer) if answer else _cannot_tell(table))
            continue
        source, version = source_specs(table)[0].key, answer.isoformat()
        if seen.get(source.to_user_string()) != version:
            seen[source.to_user_string()] = version
            changed[source] = answer
        have = loaded.get(table.name)
        behind = have is None or have < answer
        circuit = circuits[table.name]
        if not behind or asset_key(table) in busy:
            continue
        if circuit.state is CircuitState.OPEN:
            out.append(left_out(table, circuit))
            continue
        if circuit.state is CircuitState.TRIAL:
            version += f" trial after {circuit.failed_runs}"  # asks for the same change once more
        if asked.get(table.name) != version:
            asked[table.name] = version
            wanted.append(table)
    after = SourceCursor(seen=seen, asked=asked)
    return Decision(tuple(wanted), changed, tuple(remarks), after, tuple(out))


def build_source_sensor(
    tables: Sequence[TableConfig], *, running: bool
) -> dg.SensorDefinition | None:
    """The sensor for all of `tables` that ask for it, or None when none does."""
    watched = [table for table in tables if table.automation == "on_source_change"]
    if not watched:
        return None

    @dg.sensor(
        name=NAME,
        job=SYNC_ALL,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING
        if running
        else dg.DefaultSensorStatus.STOPPED,
        description="Loads the tables with `automation: on_source_change` that are behind.",
    )
    def bigquery_source_changes(
        context: dg.SensorEvaluationContext, bigquery: BigQuery, postgres: Postgres
    ) -> dg.SensorResult:
        with bigquery.source() as source:
            answers = ask(watched, source)
        target = postgres.target()
        circuits = target.circuits(watched)
        held = {one.target: one.source_modified_at for one in target.status()}
        loaded = {table.name: held.get(str(table.target_name)) for table in watched}
        cursor = SourceCursor.model_validate_json(context.cursor or "{}")
        busy = busy_assets(context.instance, watched)
        decision = decide(answers, loaded=loaded, circuits=circuits, busy=busy, cursor=cursor)
        return tick(context, decision, watched=len(watched))

    return bigquery_source_changes


def ask(tables: Sequence[TableConfig], source: BigQuerySource) -> list[tuple[TableConfig, Answer]]:
    """When each table's source changed. One that fails does not keep the others from answering."""

    def answer(table: TableConfig) -> Answer:
        try:
            return source.modified_at(table)
        except Bq2pgError as error:
            return error

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(zip(tables, pool.map(answer, tables), strict=True))


def tick(
    context: dg.SensorEvaluationContext, decision: Decision, *, watched: int
) -> dg.SensorResult:
    """The decision as Dagster takes it. Raises SourceError when not one source could be judged."""
    for remark in decision.remarks:
        context.log.warning(remark)
    for sentence in decision.left_out:
        context.log.info(sentence)
    said = f"{len(decision.remarks)} of {watched} sources: " + "; ".join(decision.remarks)
    if len(decision.remarks) == watched:
        raise SourceError(
            f"sensor {NAME}",
            met=said,
            expected="the time of each source's last change",
            way_out="The next tick asks again; until then no table is loaded by this sensor.",
        )
    quiet = "; ".join([*decision.left_out, *([said] if decision.remarks else [])])
    requests = [
        dg.RunRequest(
            run_key=decision.run_key,
            asset_selection=[asset_key(table) for table in decision.wanted],
        )
    ]
    return dg.SensorResult(
        run_requests=requests if decision.wanted else [],
        asset_events=[_event(key, changed) for key, changed in decision.changed.items()],
        skip_reason=None if decision.wanted else quiet or "nothing changed",
        cursor=decision.cursor.model_dump_json(),
    )


def busy_assets(
    instance: dg.DagsterInstance, watched: Sequence[TableConfig]
) -> frozenset[dg.AssetKey]:
    """The assets of runs that have not ended, as far as this sensor watches them."""
    keys = frozenset(asset_key(table) for table in watched)
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    everything = any(run.job_name == SYNC_ALL.name and run.asset_selection is None for run in runs)
    selected = {key for run in runs for key in run.asset_selection or ()}
    return keys if everything else keys & selected


def _event(key: dg.AssetKey, changed: datetime) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        tags={"dagster/data_version": changed.isoformat()},
        metadata={"source_modified_at": dg.MetadataValue.timestamp(changed)},
    )


def _cannot_tell(table: TableConfig) -> str:
    return (
        f"table {table.name}: BigQuery does not tell when the rows of a view or query change; "
        "give it a schedule instead of automation"
    )
