"""BigQuery's reasons: which can heal by a retry, and what can be done about each. Pure.

Belongs here: verdicts and ways out, by reason and message. Does not: exceptions (google_errors.py).
Source: bigquery-facts sections 1.3 and 7, from BigQuery's pages on error messages and on roles.
"""

import re

RETRYABLE_REASONS = frozenset(
    {
        "backendError",
        "badGateway",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "rateLimitExceeded",
        "jobRateLimitExceeded",
        "tableUnavailable",
    }
)
SESSION_OVER = re.compile(r"session (has )?expired", re.IGNORECASE)
SHORT_WINDOW = re.compile(r"per (second|minute|\d+ seconds)", re.IGNORECASE)

BUCKET_MISSING = (
    "Create the bucket in the dataset's location, or name another one, without gs://, in "
    "BQ2PG_GCS_BUCKET (--gcs-bucket of bq-to-postgres)."
)
BUCKET_DENIED = "Grant the account roles/storage.objectAdmin on this bucket."
SIGN_IN = (
    "Run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or attach "
    "a service account to the VM."
)
ELSEWHERE = "what lies in another location is reported as not found as well."

# (reason, words of the message, way out): the first line that fits. Without a reason any fits,
# without words every message.
WAYS_OUT = (
    (
        "",
        r"partition elimination",
        "The table requires a filter on its partition column: give one with where "
        "(--where on the command line).",
    ),
    (
        "accessDenied",
        r"bigquery\.jobs\.create",
        "Grant the account roles/bigquery.jobUser on the project that runs the jobs, or name "
        "another project in BQ2PG_BQ_PROJECT.",
    ),
    (
        "accessDenied",
        r"bigquery\.readsessions\.",
        "Grant the account roles/bigquery.readSessionUser on the project of BQ2PG_BQ_PROJECT, or "
        "set BQ2PG_GCS_BUCKET and use export: auto.",
    ),
    (
        "accessDenied",
        r"Storage API has not been used",
        "Enable the BigQuery Storage API (bigquerystorage.googleapis.com) for the project of "
        "BQ2PG_BQ_PROJECT.",
    ),
    (
        "",
        SESSION_OVER.pattern,
        "A read session lasts six hours: run again with more parallelism, or through a bucket "
        "with export: auto.",
    ),
    (
        "accessDenied",
        r"VPC Service Controls|organization's policy",
        "Ask the administrator of the organization to admit the account to the service perimeter.",
    ),
    (
        "accessDenied",
        r"globbing file pattern",
        "Grant the account roles/storage.objectViewer on the bucket that the external table reads.",
    ),
    (
        "accessDenied",
        r"gs://|Storage (bucket|object)|storage\.(objects|buckets)\.|writing data",
        "Grant the account roles/storage.objectAdmin on the bucket of BQ2PG_GCS_BUCKET "
        "(--gcs-bucket of bq-to-postgres).",
    ),
    (
        "accessDenied",
        "",
        "Grant the account roles/bigquery.dataViewer on the dataset, and check the name: what it "
        "may not see is reported as denied also when it does not exist.",
    ),
    ("notFound", r"gs://|not found: bucket|bucket does not exist", BUCKET_MISSING),
    ("notFound", r"not found: project", "Correct the name of the project."),
    ("notFound", r"not found: job", "BigQuery no longer knows the job: run the table again."),
    (
        "notFound",
        r"not found: dataset",
        f"Correct the name of the dataset or of its project, or location: {ELSEWHERE}",
    ),
    (
        "notFound",
        r"not found: table",
        f"Correct the name of the table or of its dataset, or location: {ELSEWHERE}",
    ),
    ("notFound", "", f"Correct the name that BigQuery does not find, or location: {ELSEWHERE}"),
    (
        "bytesBilledLimitExceeded",
        "",
        "Nothing was billed. Raise max_bytes_billed in the table's YAML, or narrow the run with "
        "where.",
    ),
    (
        "quotaExceeded",
        SHORT_WINDOW.pattern,
        "Run again in a few minutes; when it happens often, load fewer tables at once.",
    ),
    (
        "quotaExceeded",
        "",
        "Wait for the quota to renew, or ask for a higher one; trying again at once does not help.",
    ),
    (
        "resourcesExceeded",
        "",
        "The query needs more than BigQuery gives: narrow the run with where, simplify the query, "
        "or store its result in a table and take that as source.",
    ),
    (
        "responseTooLarge",
        "",
        "Narrow the run with where, or store the query's result in a table and take that as "
        "source.",
    ),
    (
        "billingTierLimitExceeded",
        "",
        "The query computes too much for its bytes: simplify it, or store its result in a table "
        "and take that as source.",
    ),
    ("billingNotEnabled", "", "Enable billing for the project that runs the jobs."),
    ("timeout", "", "Narrow the run with where, or simplify the query."),
    ("authError", "", SIGN_IN),
    ("invalidQuery", "", "Correct the query, the condition or the column names."),
    ("stopped", "", "The job was cancelled in BigQuery; run the table again."),
)


def retryable(reason: str, message: str) -> bool:
    """Whether the same request or job, made anew, may succeed with nothing changed by hand.

    A new read session may be read in time. A quota heals soon only when it counts within seconds
    or minutes.
    """
    if SESSION_OVER.search(message):
        return True
    if reason == "quotaExceeded":
        return SHORT_WINDOW.search(message) is not None
    return reason in RETRYABLE_REASONS


def way_out(reason: str, message: str) -> str:
    """What the reader can do now; true whether or not somebody tries again by himself."""
    for known, words, says in WAYS_OUT:
        if known in ("", reason) and re.search(words, message, re.IGNORECASE):
            return says
    if reason in RETRYABLE_REASONS:
        return "This is BigQuery's and passes: run again in a while."
    return "See the job in the BigQuery console."
