"""The one place where an error of the engine becomes a failure of Dagster.

Belongs here: what the run page shows of an error, and whether the step is tried again. Does not:
putting errors into words (engine/errors.py).
"""

import dagster as dg

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine.errors import Bq2pgError, MappingError
from bq2pg_assets.engine.redact import redact

RETRY_SECONDS = 10.0  # before the first retry; then 3 and 7 times as long, each give or take 10 s


def failure(error: Bq2pgError, *, cancelled: bool = False) -> dg.Failure:
    """What to raise from `error`. A cancelled run is never tried again, whatever broke in it."""
    metadata: dict[str, dg.MetadataValue] = {
        "error": dg.MetadataValue.text(type(error).__name__),
        **{
            name: dg.MetadataValue.text(redact(getattr(error, name)))
            for name in ("where", "met", "expected", "way_out")
        },
        "retryable": dg.MetadataValue.bool(error.retryable),
    }
    for name in ("reason", "sqlstate"):
        if code := getattr(error, name, ""):
            metadata[name] = dg.MetadataValue.text(code)
    if isinstance(error, MappingError):
        metadata["problems"] = dg.MetadataValue.md(
            redact("\n".join(f"- {p}" for p in error.problems))
        )
    return dg.Failure(
        description=redact(str(error)),
        metadata=metadata,
        allow_retries=error.retryable and not cancelled,
    )


def retry_policy(table: TableConfig, *, seconds: float = RETRY_SECONDS) -> dg.RetryPolicy | None:
    """How often and how far apart a table's step is tried again."""
    if table.retries == 0:
        return None
    return dg.RetryPolicy(
        max_retries=table.retries,
        delay=seconds,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )
