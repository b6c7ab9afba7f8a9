"""What a run says of a cleaning that failed: what is news, in one line, without a secret."""

import logging

import pytest

from bq2pg_assets.engine.errors import Bq2pgError, SourceError, StorageError
from bq2pg_assets_tests.unit.world import World

SAYS = {"met": "a", "expected": "b", "way_out": "c."}


def denied(kind: type[SourceError] | type[StorageError]) -> Bq2pgError:
    return kind("x", **SAYS, reason="accessDenied")


def notes_of(failures: dict[str, Exception], caplog: pytest.LogCaptureFixture) -> list[str]:
    """The notes of a run in which these steps fail."""
    world = World()
    for step, failure in failures.items():
        world.journal.fail_at(step, failure)
    with caplog.at_level(logging.WARNING), pytest.raises(Bq2pgError):
        world.sync()
    return [record.getMessage() for record in caplog.records]


def test_what_an_export_was_denied_is_no_news_in_the_cleaning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = {"source.export": denied(SourceError), "shards.delete": denied(StorageError)}
    assert notes_of(failures, caplog) == []


@pytest.mark.parametrize(
    ("step", "run_fails_with", "cleaning_fails_with"),
    [
        ("source.export", denied(SourceError), StorageError("x", **SAYS)),
        ("source.export", SourceError("x", **SAYS), denied(StorageError)),
        ("shards.list", denied(StorageError), denied(StorageError)),
    ],
    ids=["another failure", "another reason", "objects were written"],
)
def test_objects_that_may_stay_behind_are_told(
    step: str,
    run_fails_with: Exception,
    cleaning_fails_with: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = {step: run_fails_with, "shards.delete": cleaning_fails_with}
    (note,) = notes_of(failures, caplog)
    assert note.startswith("could not delete gs://")
    assert note.endswith(": x: a; expected b. c.")


@pytest.mark.parametrize(
    "failure",
    [
        StorageError("x", met="password=hunter2", expected="b", way_out="c."),
        OSError("secret=hunter2"),
    ],
    ids=["foreseen", "unforeseen"],
)
def test_a_note_holds_no_secret(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    failures = {"shards.list": SourceError("x", **SAYS), "shards.delete": failure}
    (note,) = notes_of(failures, caplog)
    assert "***" in note
    assert "hunter2" not in note
