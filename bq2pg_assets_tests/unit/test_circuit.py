"""When a table's circuit opens, wants a trial and closes: from its last runs alone."""

from datetime import UTC, datetime, timedelta

import pytest

from bq2pg_assets.engine.circuit import Circuit, CircuitState, PastRun, judge
from bq2pg_assets.engine.model import Outcome

HOUR = timedelta(hours=1)
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
LETTERS = {
    "F": Outcome.FAILED,
    "K": Outcome.KILLED,
    "C": Outcome.CANCELLED,
    "B": Outcome.LOCKED,
    "L": Outcome.LOADED,
    "N": Outcome.NOTHING_NEW,
    "R": Outcome.RESUMED,
    "…": Outcome.RUNNING,
}


def past(runs: str) -> list[PastRun]:
    """Runs from letters, the newest first: it ended at noon, each other one a minute earlier."""
    found = []
    for minutes, letter in enumerate(runs):
        at, outcome = NOON - timedelta(minutes=minutes), LETTERS[letter]
        ended = None if outcome is Outcome.RUNNING else at
        found.append(PastRun(outcome, at, ended, f"error {minutes}"))
    return found


def circuit(runs: str, *, after: int | None = 3, later: timedelta = timedelta(0)) -> Circuit:
    return judge(past(runs), after=after, cool_down=HOUR, now=NOON + later)


@pytest.mark.parametrize(
    ("runs", "state", "failed"),
    [
        ("", "closed", 0),
        ("FF", "closed", 2),
        ("FFF", "open", 3),
        ("FFFFF", "open", 5),
        ("FFLF", "closed", 2),
        ("FFNF", "closed", 2),
        ("FFRF", "closed", 2),
        ("LFFF", "closed", 0),
        ("NFFF", "closed", 0),
        ("RFFF", "closed", 0),
        # A process that dies again and again is what a circuit is for.
        ("KFK", "open", 3),
        # A person who cancels, and a lock that another run holds, say nothing of the table.
        ("FCFBF", "open", 3),
        ("CFBF", "closed", 2),
        ("CFFF", "open", 3),
        ("BFFF", "open", 3),
        ("…FF", "closed", 2),
        ("…FFF", "open", 3),
    ],
)
def test_so_many_failed_runs_in_a_row_open_it(runs: str, state: str, failed: int) -> None:
    found = circuit(runs)
    assert (found.state, found.failed_runs) == (state, failed)
    assert found.opened is (state != "closed")


def test_it_is_open_until_the_cool_down_has_passed_and_then_wants_a_trial() -> None:
    just_before = circuit("FFF", later=HOUR - timedelta(seconds=1))
    assert (just_before.state, just_before.until) == (CircuitState.OPEN, NOON + HOUR)
    assert circuit("FFF", later=HOUR) == Circuit(CircuitState.TRIAL, 3, None, "error 0")


def test_a_failed_trial_opens_it_for_another_cool_down() -> None:
    # The trial ended at noon; the runs before it a day earlier.
    old = [PastRun(Outcome.FAILED, NOON - 24 * HOUR, NOON - 24 * HOUR)] * 3
    assert judge(old, after=3, cool_down=HOUR, now=NOON).state is CircuitState.TRIAL
    after_trial = judge([*past("F"), *old], after=3, cool_down=HOUR, now=NOON)
    assert (after_trial.state, after_trial.failed_runs) == (CircuitState.OPEN, 4)


def test_a_trial_under_way_gets_no_company_until_it_must_be_dead() -> None:
    old = [PastRun(Outcome.FAILED, NOON - 24 * HOUR, NOON - 24 * HOUR)] * 3
    runs = [*past("…"), *old]
    assert judge(runs, after=3, cool_down=HOUR, now=NOON + HOUR / 2).state is CircuitState.OPEN
    assert judge(runs, after=3, cool_down=HOUR, now=NOON + HOUR).state is CircuitState.TRIAL


def test_it_never_opens_where_it_is_switched_off() -> None:
    assert circuit("F" * 50, after=None).state is CircuitState.CLOSED


def test_without_a_cool_down_every_run_is_a_trial() -> None:
    assert judge(past("FFF"), after=3, cool_down=timedelta(0), now=NOON).state == "trial"


def test_it_says_how_many_failed_and_until_when() -> None:
    assert circuit("FFF").sentence == (
        "circuit open: the last 3 runs failed; it is left out until 2024-05-06 13:00:00+00:00"
    )
    assert circuit("FFF", later=HOUR).sentence.endswith("the next run is its trial")
