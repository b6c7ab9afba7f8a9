"""Google's exceptions in our words: which can heal by a retry, and that none stays untranslated."""

import json
from typing import Any

import google.auth.exceptions as auth
import pytest
import requests
from google.api_core import exceptions as api
from google.cloud.storage.blob import _raise_from_invalid_response
from google.cloud.storage.exceptions import InvalidResponse

from bq2pg_assets.engine import google_reasons
from bq2pg_assets.engine.errors import Bq2pgError, SourceError, StorageError
from bq2pg_assets.engine.google_errors import bigquery_errors, source_error, storage_errors

NO_NETWORK = [
    requests.exceptions.ConnectionError("refused"),
    requests.exceptions.ReadTimeout("slow"),
    requests.exceptions.ChunkedEncodingError("broke"),
    auth.TransportError("no token endpoint"),
    api.RetryError("gave up", cause=None),
    ConnectionResetError("peer"),
    TimeoutError("job"),
]


def test_a_reason_says_whether_a_retry_can_help_and_the_way_out() -> None:
    error = source_error("table t", reason="backendError", message="oops")
    assert error.retryable
    assert (error.reason, error.met) == ("backendError", "backendError: oops")
    assert error.way_out == google_reasons.way_out("backendError", "oops")


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
        (api.BadGateway("x", errors=[{"reason": "badGateway"}]), "badGateway", True),
        (api.Unauthorized("x"), "authError", False),
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
        (api.Unauthorized("who"), False, "gcloud auth application-default login"),
    ],
)
def test_a_failed_request_of_the_storage_is_a_storage_error(
    raised: Exception, retryable: bool, says: str
) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("bucket b"):
        raise raised
    assert caught.value.retryable is retryable
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "reason"), [(api.NotFound("x"), "notFound"), (api.Forbidden("x"), "accessDenied")]
)
def test_the_storage_and_bigquery_call_one_reason_by_one_word(
    raised: Exception, reason: str
) -> None:
    with pytest.raises(StorageError) as stored, storage_errors("bucket b"):
        raise raised
    with pytest.raises(SourceError) as sourced, bigquery_errors("table t"):
        raise raised
    assert stored.value.reason == sourced.value.reason == reason


def answered(body: str, *, url: str, method: str = "GET") -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer._content = 404, body.encode()
    answer.request = requests.Request(method, url).prepare()
    return answer


SAID = "Not found: Table p:d.t was not found in location US"
DOCUMENT = json.dumps({"error": {"code": 404, "message": SAID, "errors": []}})
URL = "http://127.0.0.1:9050/bigquery/v2/projects/p/datasets/d/tables/t?prettyPrint=false"


@pytest.mark.parametrize(
    "raised",
    [
        api.from_http_response(answered(DOCUMENT, url=URL)),
        api.from_http_response(answered(DOCUMENT, url=URL + "&fields=a:b,c", method="POST")),
        api.from_http_response(answered(SAID + "\n", url="https://[::1]:443/b/x?alt=media")),
        api.format_http_response_error(
            answered("", url=URL), None, None, payload=json.loads(DOCUMENT)
        ),
        api.NotFound(SAID),
    ],
    ids=["document", "post", "text", "without a request", "plain"],
)
def test_a_message_is_the_services_without_the_request(raised: api.GoogleAPICallError) -> None:
    with pytest.raises(SourceError) as caught, bigquery_errors("table t"):
        raise raised
    assert caught.value.met == f"notFound: {SAID}"


@pytest.mark.parametrize("body", [SAID, DOCUMENT], ids=["text", "document"])
def test_a_download_or_upload_that_fails_says_the_services_words_only(body: str) -> None:
    refused = InvalidResponse(
        answered(body, url=URL), "Request failed with status code", 404, "Expected one of", 200
    )
    with pytest.raises(StorageError) as caught, storage_errors("bucket b"):
        _raise_from_invalid_response(refused)
    assert caught.value.met == f"not found: {SAID}"


def test_an_answer_without_a_word_is_told_by_its_number() -> None:
    with pytest.raises(SourceError, match="HTTP 502 without a word"), bigquery_errors("t"):
        raise api.BadGateway("")


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
    ("told", "retryable", "way_out"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", False, "REQUESTS_CA_BUNDLE"),
        ("Cannot connect to proxy.", True, "HTTPS_PROXY"),
        ("NameResolutionError: Failed to resolve 'bigquery.googleapis.com'", True, "DNS"),
        ("[Errno -3] Temporary failure in name resolution", True, "DNS"),
        ("[Errno 111] Connection refused", True, "bq2pg local up"),
    ],
)
@pytest.mark.parametrize(("translate", "kind", "service"), SERVICES)
def test_a_lost_connection_says_what_to_look_at(
    translate: Any,
    kind: type[Bq2pgError],
    service: str,
    told: str,
    retryable: bool,
    way_out: str,
) -> None:
    with pytest.raises(kind, match=service) as caught, translate("x"):
        raise requests.exceptions.ConnectionError(told)
    assert way_out in caught.value.way_out
    assert caught.value.retryable is retryable


def test_a_token_server_that_was_down_is_worth_a_retry() -> None:
    with pytest.raises(SourceError) as caught, bigquery_errors("t"):
        raise auth.RefreshError("internal_failure", retryable=True)
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
