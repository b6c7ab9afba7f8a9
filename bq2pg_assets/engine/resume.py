"""Going on with the finished export of a dead attempt instead of paying for another.

Belongs here: whether such an export fits the plan made now. Does not: which attempts are dead
(leftovers.py), what makes two plans alike (fingerprint.py), adopting the staged rows (session.py).
"""

from collections.abc import Callable
from dataclasses import replace

from bq2pg_assets.engine import plan as planning
from bq2pg_assets.engine.bigquery import BigQuerySource
from bq2pg_assets.engine.fingerprint import fingerprint
from bq2pg_assets.engine.model import Cursor, DeadAttempt, Probe, Resumed, SyncPlan
from bq2pg_assets.engine.shards import GcsShards


def resumed(
    dead: DeadAttempt,
    cursor: Cursor | None,
    make_plan: Callable[..., SyncPlan],
    *,
    source: BigQuerySource,
    shards: GcsShards,
) -> SyncPlan | None:
    """The plan that goes on with the dead attempt; None when its export does not fit.

    `cursor` is what a window is to be found above, None for a full load. A window's high end stays
    as it was probed then: rows above it come with the next run. Costs nothing.
    """
    probe = None
    if cursor is not None:
        high = planning.typed(dead.window_high, cursor.type) if dead.window_high else None
        probe = Probe(high, dead.expected_rows or 0, dead.snapshot_at or dead.exported_at)
    plan = make_plan(probe=probe)
    # What history modes keep of a read is its time, and the export's is another.
    if plan.publish.by_steps or plan.nothing_new or fingerprint(plan) != dead.fingerprint:
        return None
    if not dead.prefix.startswith(shards.root):  # another bucket's
        return None
    export = source.finished_export(dead.job_id, location=plan.location, place=dead.prefix)
    if export is None or not export.files or len(shards.list(dead.prefix)) != export.files:
        return None
    return replace(plan, resumes=Resumed(dead, export), reason=str(dead))
