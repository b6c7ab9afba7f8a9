"""Faults of BigQuery.

Belongs here: answers with errors, jobs that end with each reason. Does not: what faults are made of
(fault.py, orders.py).
"""

import json
from collections.abc import Callable

from bq2pg_assets.engine.google_reasons import RETRYABLE_REASONS
from bq2pg_assets_tests.chaos.faults.fault import (
    AGAIN,
    NO_WAY_OUT,
    RUN_AGAIN,
    Fault,
    at,
    everywhere,
)
from bq2pg_assets_tests.chaos.faults.orders import answer_lost, cut, status
from bq2pg_assets_tests.chaos.ground import Case
from bq2pg_assets_tests.chaos.wire import Order

EXPORT = at("bq", "^POST .* export$")
FINAL = {
    "accessDenied": "grant the role that the message names",
    "notFound": "correct the name that the message shows",
    "invalidQuery": "correct the query",
    "bytesBilledLimitExceeded": "raise `max_bytes_billed`, or narrow the run",
    "quotaExceeded": "wait for the quota, or ask for more",
    "resourcesExceeded": "narrow the run, or simplify the query",
    "responseTooLarge": "narrow the run",
    "billingNotEnabled": "enable billing",
    "billingTierLimitExceeded": "simplify the query",
    "stopped": RUN_AGAIN,
    "timeout": "narrow the run",
    "duplicate": "see the job",
    "invalid": "see the job",
    "blocked": "see the job",
}


def job_fails(reason: str) -> Callable[[Case], Order]:
    """The job ends at once with this reason."""

    def body(path: str, request: bytes) -> bytes:
        asked = json.loads(request)
        error = {"reason": reason, "message": "injected"}
        return json.dumps(
            {
                "kind": "bigquery#job",
                "jobReference": asked["jobReference"],
                "configuration": asked["configuration"],
                "status": {"state": "DONE", "errorResult": error, "errors": [error]},
            }
        ).encode()

    return lambda _: Order(status=200, body=body)


BIGQUERY = (
    *(
        Fault(
            f"HTTP {code} once",
            everywhere("bq") if code == 503 else EXPORT,
            "goes on",
            "",
            NO_WAY_OUT,
            status(code),
            group="BigQuery",
        )
        for code in (429, 500, 503)
    ),
    Fault(
        "HTTP 503 until the run ends",
        everywhere("bq"),
        "fails",
        "",
        AGAIN,
        status(503),
        retried=True,
        lasting=True,
        group="BigQuery",
    ),
    Fault(
        "connection cut",
        everywhere("bq"),
        "either",
        "BigQuery could not be reached",
        AGAIN,
        cut,
        retried=True,
        group="BigQuery",
    ),
    Fault(
        "connection cut, the answer is lost",
        everywhere("bq"),
        "either",
        "BigQuery could not be reached",
        AGAIN,
        answer_lost,
        retried=True,
        group="BigQuery",
    ),
    *(
        Fault(
            f"the export ends with {reason}",
            EXPORT,
            "fails",
            reason,
            AGAIN,
            job_fails(reason),
            retried=True,
            group="BigQuery",
        )
        for reason in sorted(RETRYABLE_REASONS)
    ),
    *(
        Fault(
            f"the export ends with {reason}",
            EXPORT,
            "fails",
            reason,
            do,
            job_fails(reason),
            group="BigQuery",
        )
        for reason, do in FINAL.items()
    ),
)
