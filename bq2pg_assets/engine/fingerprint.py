"""What a plan would export and stage, as one short text: two plans of one text may share an export.

Belongs here: what of a plan counts. Does not: looking for an export to use again (resume.py).
"""

import hashlib
import json
from dataclasses import asdict

from bq2pg_assets.engine import shape
from bq2pg_assets.engine.model import ExportWay, SyncPlan

# What differs from run to run of the same plan; a field that is not named here counts. Of the
# window the low end counts: it is the cursor's value.
PASSING = {
    *("reason", "window", "expected_rows", "snapshot_at", "source_bytes", "bytes_probed"),
    *("nothing_new", "resumes", "max_bytes_billed", "comment"),
    *("parallelism", "piece_bytes"),
}


def fingerprint(plan: SyncPlan) -> str | None:
    """The plan's text; None when its export cannot be used again.

    Streams of the Read API end with their session, and nothing tells whether a secret that masks
    are made with is still the same.
    """
    if plan.way is ExportWay.READ_API or any(
        shape.parameters(c.select, None) for c in plan.columns
    ):
        return None
    counts = {name: value for name, value in asdict(plan).items() if name not in PASSING}
    counts["windowed"] = plan.window is not None
    text = json.dumps(counts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
