"""Google's exceptions in our words.

Belongs here: what an exception of Google's libraries says, and which of our errors it becomes.
Does not: raising in the first place (bigquery.py, shards.py), what a reason of BigQuery means
(google_reasons.py).
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import google.auth.exceptions
import requests
from google.api_core import exceptions as api

from bq2pg_assets.engine import google_reasons
from bq2pg_assets.engine.errors import SourceError, StorageError

UNREACHABLE = (
    google.auth.exceptions.TransportError,  # a GoogleAuthError too: caught before that one
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,  # the connection broke within an answer
    api.RetryError,
    ConnectionError,
    TimeoutError,
)
# What google.api_core and google.cloud.storage put around the service's own words.
REQUEST = re.compile(r"\A(?:[A-Z]+|None) (?:\w+://\S+|None): ")
STATUS = re.compile(r": \('Request failed with status code', .*\)$", re.DOTALL)
# Reasons whose messages speak of services and limits, never of a row's values.
ABOUT_NO_ROW = google_reasons.RETRYABLE_REASONS | {
    *("accessDenied", "notFound", "bytesBilledLimitExceeded", "quotaExceeded", "stopped"),
    *("resourcesExceeded", "responseTooLarge"),
}
Result = TypeVar("Result")
# (words of the exception, whether a retry can help, what was met, way out); the first that fits.
CONNECTIONS = (
    (
        r"CERTIFICATE_VERIFY_FAILED",
        False,
        "its certificate is not trusted here",
        "Name the bundle that holds your network's certificate authority in REQUESTS_CA_BUNDLE.",
    ),
    (
        r"ProxyError|Cannot connect to proxy",
        True,
        "the proxy does not let it through",
        "Correct HTTPS_PROXY or NO_PROXY, or run again when the proxy is up.",
    ),
    (
        r"NameResolutionError|getaddrinfo|Name or service not known|name resolution",
        True,
        "its host name cannot be resolved",
        "Check this machine's DNS and network; run again when they work.",
    ),
    (
        "",
        True,
        "no connection, or it broke",
        "Check the network and, with the local stack, that `bq2pg local up` ran; run again when "
        "it is reachable.",
    ),
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


def without_values(work: Callable[[], Result], *, hides: bool) -> Result:
    """What `work` returns. With `hides` BigQuery's own words are withheld where they may hold a
    value that is masked or left out ("Bad int64 value: …"), and so is the error behind them.
    """
    try:
        return work()
    except SourceError as error:
        if not hides or error.reason in ABOUT_NO_ROW:
            raise
        told = SourceError(
            error.where,
            met=f"{error.reason or 'an error'}, whose message is withheld: it may quote a value "
            "that is to stay in BigQuery; the job's page there has it",
            expected=error.expected,
            way_out=error.way_out,
            retryable=error.retryable,
            reason=error.reason,
        )
    # Raised out here so that the error does not carry the one that knows the value.
    raise told


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Translate what the Cloud Storage client raises inside into StorageError."""
    try:
        yield
    except api.NotFound as error:
        raise StorageError(
            where,
            met=f"not found: {_message(error)}",
            expected="a bucket that exists",
            way_out=google_reasons.BUCKET_MISSING,
            reason="notFound",
        ) from error
    except api.Forbidden as error:
        raise StorageError(
            where,
            met=f"permission denied: {_message(error)}",
            expected="to list, read, create and delete objects",
            way_out=google_reasons.BUCKET_DENIED,
            reason="accessDenied",
        ) from error
    except api.Unauthorized as error:
        raise StorageError(where, **_credentials(error)) from error
    except api.GoogleAPICallError as error:
        retryable = error.code in (408, 429) or (error.code or 0) >= 500
        raise StorageError(
            where,
            met=f"HTTP {error.code}: {_message(error)}",
            expected="the request to succeed",
            way_out="Run again in a while." if retryable else "Correct the bucket's settings.",
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
        way_out=google_reasons.way_out(reason, message),
        retryable=google_reasons.retryable(reason, message),
        reason=reason,
    )


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
    if isinstance(error, api.Unauthorized):
        return "authError"
    if error.code in (408, 429) or (error.code or 0) >= 500:
        return "backendError"
    return "invalid"


def _message(error: api.GoogleAPICallError) -> str:
    """The service's own words on one line, without the request that the libraries put before.

    A refused upload's words are a JSON document.
    """
    said = STATUS.sub("", REQUEST.sub("", str(error.message or ""))).strip()
    if said.startswith("{"):
        with suppress(ValueError, KeyError, TypeError):
            said = str(json.loads(said)["error"]["message"])
    return " ".join(said.split()) or f"HTTP {error.code} without a word"


def _credentials(error: Exception) -> dict[str, Any]:
    return {
        "met": f"no usable Google credentials ({type(error).__name__})",
        "expected": "Application Default Credentials",
        "way_out": google_reasons.SIGN_IN,
        # The token's server may have been the one that failed.
        "retryable": bool(getattr(error, "retryable", False)),
    }


def _unreachable(service: str, error: Exception) -> dict[str, Any]:
    told = f"{type(error).__name__}: {error}"
    retryable, met, way_out = next(
        (retryable, met, way_out)
        for words, retryable, met, way_out in CONNECTIONS
        if re.search(words, told)
    )
    return {
        "met": f"{service} could not be reached: {met} ({type(error).__name__})",
        "expected": "a connection",
        "way_out": way_out,
        "retryable": retryable,
    }
