"""Each reason of BigQuery: its verdict, and a way out that fits what was met."""

import re

import pytest

from bq2pg_assets.engine import google_reasons
from bq2pg_assets.engine.google_reasons import retryable, way_out

PASSING = [
    *("backendError", "badGateway", "internalError", "jobBackendError", "jobInternalError"),
    *("rateLimitExceeded", "jobRateLimitExceeded", "tableUnavailable"),
]
FINAL = [
    *("stopped", "timeout", "quotaExceeded", "resourcesExceeded", "billingTierLimitExceeded"),
    *("bytesBilledLimitExceeded", "responseTooLarge", "invalid", "invalidQuery", "notFound"),
    *("accessDenied", "duplicate", "notImplemented", "policyViolation", "billingNotEnabled"),
    *("blocked", "authError", ""),
]


@pytest.mark.parametrize("reason", PASSING)
def test_a_reason_that_passes_is_worth_a_retry(reason: str) -> None:
    assert retryable(reason, "oops")


@pytest.mark.parametrize("reason", FINAL)
def test_any_other_reason_is_final(reason: str) -> None:
    assert not retryable(reason, "oops")


@pytest.mark.parametrize("reason", [*PASSING, *FINAL])
def test_a_way_out_is_true_whoever_prints_it(reason: str) -> None:
    says = way_out(reason, "oops")
    assert says.endswith(".")
    assert "tried again" not in says


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ("Quota exceeded for quota metric 'X' and limit 'Requests per minute'", True),
        ("exceeded quota for bytes per second per project", True),
        ("Your project exceeded quota for requests per 100 seconds", True),
        ("Your table exceeded quota for ExtractBytesPerDay", False),
        ("Custom quota exceeded: Your usage exceeded the custom quota for QueryUsagePerDay", False),
    ],
)
def test_only_a_quota_of_a_short_window_passes(message: str, passes: bool) -> None:
    assert retryable("quotaExceeded", message) is passes
    assert ("a few minutes" in way_out("quotaExceeded", message)) is passes


@pytest.mark.parametrize(
    ("reason", "message", "hint"),
    [
        (
            "accessDenied",
            "Access Denied: Project p: User does not have bigquery.jobs.create permission in "
            "project p.",
            "roles/bigquery.jobUser on the project",
        ),
        (
            "accessDenied",
            "Access Denied: Table p:d.t: Permission bigquery.tables.get denied on table p:d.t (or "
            "it may not exist).",
            "roles/bigquery.dataViewer on the dataset",
        ),
        (
            "accessDenied",
            "Access Denied: BigQuery BigQuery: Permission denied while writing data.",
            "roles/storage.objectAdmin on the bucket",
        ),
        (
            "accessDenied",
            "Access Denied: File gs://b/o: Access Denied",
            "roles/storage.objectAdmin",
        ),
        (
            "accessDenied",
            "a@b does not have storage.objects.create access to the Google Cloud Storage object.",
            "roles/storage.objectAdmin",
        ),
        (
            "accessDenied",
            "Access Denied: BigQuery BigQuery: Permission denied while globbing file pattern.",
            "roles/storage.objectViewer on the bucket that the external table reads",
        ),
        (
            "accessDenied",
            "VPC Service Controls: Request is prohibited by organization's policy.",
            "service perimeter",
        ),
        ("notFound", "Not found: Bucket nope", "Create the bucket"),
        ("notFound", "Not found: URI gs://nope/x", "BQ2PG_GCS_BUCKET"),
        ("notFound", "Not found: Project nope", "name of the project"),
        ("notFound", "Not found: Dataset p:d was not found in location US", "name of the dataset"),
        ("notFound", "Not found: Dataset p:d was not found in location US", "location"),
        ("notFound", "Not found: Dataset my-bucket:d", "name of the dataset"),
        ("notFound", "The specified bucket does not exist.", "Create the bucket"),
        ("accessDenied", "Access Denied: Table my-bucket:d.t: User may not", "dataViewer"),
        ("notFound", "Not found: Table p:d.t was not found in location US", "name of the table"),
        ("notFound", "Not found: Job p:US.j", "run the table again"),
        ("notFound", "Not found: Routine p:d.r", "location"),
        ("bytesBilledLimitExceeded", "", "max_bytes_billed"),
        ("resourcesExceeded", "", "simplify the query"),
        ("responseTooLarge", "", "take that as source"),
        ("billingTierLimitExceeded", "", "simplify it"),
        ("billingNotEnabled", "", "Enable billing"),
        ("authError", "", "gcloud auth application-default login"),
        ("timeout", "", "Narrow the run"),
        ("stopped", "", "run the table again"),
        (
            "invalidQuery",
            "Cannot query over table 't' without a filter over column(s) 'day' that can be used "
            "for partition elimination",
            "--where",
        ),
        ("invalidQuery", "Syntax error", "Correct the query"),
        ("unheard of", "", "the BigQuery console"),
    ],
)
def test_a_way_out_names_what_is_at_stake(reason: str, message: str, hint: str) -> None:
    assert hint in way_out(reason, message)


def test_every_line_of_the_table_can_be_reached() -> None:
    lines = google_reasons.WAYS_OUT
    for at, (reason, words, _) in enumerate(lines):
        shadows = [line for line in lines[:at] if line[0] in ("", reason) and not line[1]]
        assert not shadows, f"{reason} {words}"
        re.compile(words)
