"""Google's exceptions in our words.

Belongs here: which reason can heal by a retry, and the way out of each common one. Does not:
raising in the first place (bigquery.py, shards.py). Reasons: bigquery-facts section 1.3, from
BigQuery's page on error messages.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google.auth.exceptions
import requests
from google.api_core import exceptions as api

from bq2pg_assets.engine.errors import SourceError, StorageError

RETRYABLE_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "rateLimitExceeded",
        "jobRateLimitExceeded",
        "tableUnavailable",
    }
)
WAYS_OUT = {
    "accessDenied": "Grant the account roles/bigquery.dataViewer on the dataset and "
    "roles/bigquery.jobUser on the project; an export also needs roles/storage.objectAdmin on "
    "the bucket.",
    "notFound": "Check the spelling of project, dataset, table and bucket, and that location is "
    "the dataset's: a wrong location is reported as not found as well.",
    "bytesBilledLimitExceeded": "Nothing was billed. Raise max_bytes_billed in the table's YAML, "
    "or narrow the run with where.",
    "quotaExceeded": "Wait for the quota to renew, or ask for a higher one; trying again at once "
    "does not help.",
    "invalidQuery": "Correct the query, the condition or the column names.",
    "stopped": "The job was cancelled in BigQuery; run the table again.",
}
UNREACHABLE = (
    google.auth.exceptions.TransportError,  # a GoogleAuthError too: caught before that one
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,  # the connection broke within an answer
    api.RetryError,
    ConnectionError,
    TimeoutError,
)


@contextmanager
def bigquery_errors(where: str) -> Iterator[None]:
    """Translate what the BigQuery client raises inside into SourceError."""
    try:
        yield
    except api.GoogleAPICallError as error:
        raise source_error(where, reason=_reason(error), message=_message(error)) from error
    except UNREACHABLE as error:
        raise SourceError(where, **_unreachable("BigQuery", error)) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise SourceError(where, **_credentials(error)) from error


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Translate what the Cloud Storage client raises inside into StorageError."""
    try:
        yield
    except api.NotFound as error:
        raise StorageError(
            where,
            met=f"not found: {_message(error)}",
            expected="a bucket and objects that exist",
            way_out="Create the bucket in the dataset's location and name it without gs://.",
        ) from error
    except api.Forbidden as error:
        raise StorageError(
            where,
            met=f"permission denied: {_message(error)}",
            expected="to list, read, create and delete objects",
            way_out="Grant the account roles/storage.objectAdmin on this bucket.",
        ) from error
    except api.GoogleAPICallError as error:
        retryable = error.code in (408, 429) or (error.code or 0) >= 500
        raise StorageError(
            where,
            met=f"HTTP {error.code}: {_message(error)}",
            expected="the request to succeed",
            way_out="Try again in a while." if retryable else "Correct the bucket's settings.",
            retryable=retryable,
        ) from error
    except UNREACHABLE as error:
        raise StorageError(where, **_unreachable("Cloud Storage", error)) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise StorageError(where, **_credentials(error)) from error


def source_error(where: str, *, reason: str, message: str) -> SourceError:
    """A failed request or job of BigQuery, by its reason."""
    return SourceError(
        where,
        met=f"{reason}: {message}" if reason else message,
        expected="BigQuery to do it",
        way_out=_way_out(reason, message),
        retryable=reason in RETRYABLE_REASONS,
        reason=reason,
    )


def _way_out(reason: str, message: str) -> str:
    if "partition elimination" in message:
        return (
            "The table requires a filter on its partition column: give one with where "
            "(--where on the command line)."
        )
    if reason in WAYS_OUT:
        return WAYS_OUT[reason]
    if reason in RETRYABLE_REASONS:
        return "This passes: it is tried again with a new job."
    return "See the job in the BigQuery console."


def _reason(error: api.GoogleAPICallError) -> str:
    """BigQuery's reason, which the client keeps among the details.

    `bytesBilledLimitExceeded` shows as an InternalServerError: the client does not know it.
    """
    for detail in error.errors or ():
        if isinstance(detail, dict) and detail.get("reason"):
            return str(detail["reason"])
    if isinstance(error, api.NotFound):
        return "notFound"
    if isinstance(error, api.Forbidden):
        return "accessDenied"
    if error.code in (408, 429) or (error.code or 0) >= 500:
        return "backendError"
    return "invalid"


def _message(error: api.GoogleAPICallError) -> str:
    return " ".join(str(error.message or error).split())


def _credentials(error: Exception) -> dict[str, Any]:
    return {
        "met": f"no usable Google credentials ({type(error).__name__})",
        "expected": "Application Default Credentials",
        "way_out": "Run `gcloud auth application-default login`, set "
        "GOOGLE_APPLICATION_CREDENTIALS, or attach a service account to the VM.",
        "retryable": False,
    }


def _unreachable(service: str, error: Exception) -> dict[str, Any]:
    return {
        "met": f"{service} could not be reached ({type(error).__name__})",
        "expected": "a connection",
        "way_out": "Check the network and, with the local stack, that `bq2pg local up` ran.",
        "retryable": True,
    }
