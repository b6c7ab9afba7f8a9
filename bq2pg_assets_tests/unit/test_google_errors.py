"""Google's exceptions in our words: which can heal by a retry, and that none stays untranslated."""

from typing import Any

import google.auth.exceptions as auth
import pytest
import requests
from google.api_core import exceptions as api

from bq2pg_assets.engine.errors import Bq2pgError, SourceError, StorageError
from bq2pg_assets.engine.google_errors import bigquery_errors, source_error, storage_errors

RETRYABLE = [
    *("backendError", "internalError", "jobBackendError", "jobInternalError"),
    *("rateLimitExceeded", "jobRateLimitExceeded", "tableUnavailable"),
]
FINAL = [
    *("stopped", "timeout", "quotaExceeded", "resourcesExceeded", "billingTierLimitExceeded"),
    *("bytesBilledLimitExceeded", "responseTooLarge", "invalid", "invalidQuery", "notFound"),
    *("accessDenied", "duplicate", "notImplemented", "policyViolation", ""),
]
NO_NETWORK = [
    requests.exceptions.ConnectionError("refused"),
    requests.exceptions.ReadTimeout("slow"),
    requests.exceptions.ChunkedEncodingError("broke"),
    auth.TransportError("no token endpoint"),
    api.RetryError("gave up", cause=None),
    ConnectionResetError("peer"),
    TimeoutError("job"),
]


@pytest.mark.parametrize("reason", RETRYABLE)
def test_a_reason_that_passes_is_worth_a_retry(reason: str) -> None:
    error = source_error("table t", reason=reason, message="oops")
    assert error.retryable
    assert (error.reason, error.met) == (reason, f"{reason}: oops")
    assert "tried again" in error.way_out


@pytest.mark.parametrize("reason", FINAL)
def test_any_other_reason_is_final_and_has_a_way_out(reason: str) -> None:
    error = source_error("table t", reason=reason, message="oops")
    assert not error.retryable
    assert error.way_out.endswith(".")
    assert "tried again" not in error.way_out


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("accessDenied", "roles/bigquery.dataViewer"),
        ("notFound", "location"),
        ("bytesBilledLimitExceeded", "max_bytes_billed"),
        ("quotaExceeded", "quota"),
        ("stopped", "run the table again"),
    ],
)
def test_a_common_reason_has_its_own_way_out(reason: str, hint: str) -> None:
    assert hint in source_error("t", reason=reason, message="").way_out


def test_a_table_that_asks_for_a_partition_filter_says_how_to_give_one() -> None:
    message = "Cannot query over table without a filter that can be used for partition elimination"
    assert "--where" in source_error("t", reason="invalidQuery", message=message).way_out


@pytest.mark.parametrize(
    ("raised", "reason", "retryable"),
    [
        (api.NotFound("gone"), "notFound", False),
        (api.Forbidden("no"), "accessDenied", False),
        (api.Forbidden("x", errors=[{"reason": "rateLimitExceeded"}]), "rateLimitExceeded", True),
        (api.Forbidden("x", errors=[{"reason": "quotaExceeded"}]), "quotaExceeded", False),
        (
            api.InternalServerError("x", errors=[{"reason": "bytesBilledLimitExceeded"}]),
            "bytesBilledLimitExceeded",
            False,
        ),
        (api.BadRequest("x", errors=[{"reason": "invalidQuery"}]), "invalidQuery", False),
        (api.BadRequest("x"), "invalid", False),
        (api.ServiceUnavailable("x"), "backendError", True),
        (api.TooManyRequests("x"), "backendError", True),
        (api.BadRequest("x", errors=["not a dict", {}]), "invalid", False),
    ],
)
def test_a_failed_request_is_a_source_error_by_its_reason(
    raised: Exception, reason: str, retryable: bool
) -> None:
    with pytest.raises(SourceError) as caught, bigquery_errors("table t"):
        raise raised
    assert (caught.value.reason, caught.value.retryable) == (reason, retryable)
    assert caught.value.__cause__ is raised
    assert caught.value.where == "table t"


@pytest.mark.parametrize(
    ("raised", "retryable", "says"),
    [
        (api.NotFound("no bucket"), False, "not found: no bucket"),
        (api.Forbidden("no"), False, "roles/storage.objectAdmin"),
        (api.TooManyRequests("slow down"), True, "HTTP 429"),
        (api.ServiceUnavailable("busy"), True, "HTTP 503"),
        (api.BadRequest("what"), False, "HTTP 400"),
    ],
)
def test_a_failed_request_of_the_storage_is_a_storage_error(
    raised: Exception, retryable: bool, says: str
) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("bucket b"):
        raise raised
    assert caught.value.retryable is retryable
    assert says in str(caught.value)


SERVICES = [
    (bigquery_errors, SourceError, "BigQuery"),
    (storage_errors, StorageError, "Cloud Storage"),
]


@pytest.mark.parametrize("raised", NO_NETWORK, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(("translate", "kind", "service"), SERVICES)
def test_a_lost_connection_is_worth_a_retry(
    translate: Any, kind: type[Bq2pgError], service: str, raised: Exception
) -> None:
    with pytest.raises(kind, match=f"{service} could not be reached") as caught, translate("x"):
        raise raised
    assert caught.value.retryable


@pytest.mark.parametrize(
    "raised", [auth.DefaultCredentialsError("none"), auth.RefreshError("revoked: secret-token")]
)
@pytest.mark.parametrize(("translate", "kind", "service"), SERVICES)
def test_missing_credentials_are_final_and_are_not_repeated(
    translate: Any, kind: type[Bq2pgError], service: str, raised: Exception
) -> None:
    login = "gcloud auth application-default login"
    with pytest.raises(kind, match=login) as caught, translate(service):
        raise raised
    assert not caught.value.retryable
    assert "secret-token" not in str(caught.value)


def test_an_error_of_our_own_code_goes_through_as_it_is() -> None:
    with pytest.raises(KeyError), bigquery_errors("t"), storage_errors("b"):
        raise KeyError("bug")
