"""Promise: advice names the step that took the most time, and says no more than the figures do."""

import pytest

from bq2pg_assets.engine.model import ExportWay, Mode
from bq2pg_assets.engine.profile import (
    BOTTLENECK,
    PARTS,
    SHORT_SECONDS,
    WAYS_OUT,
    Profile,
    advice,
    shares,
    summary,
)

QUERY, EXTRACT, STREAMS = ExportWay.EXPORT_DATA, ExportWay.EXTRACT, ExportWay.READ_API


def a_profile(workers: int = 2, parallelism: int = 2, **seconds: float) -> Profile:
    return Profile(workers, parallelism, dict.fromkeys(PARTS, 0.0) | seconds)


def advised(
    profile: Profile,
    phases: dict[str, float],
    *,
    publish: Mode = Mode.APPEND,
    way: ExportWay = QUERY,
) -> str:
    told = advice(profile, phases, publish=publish, way=way)
    assert told is not None
    return told


def test_the_copy_is_divided_as_the_time_of_its_workers_is() -> None:
    profile = a_profile(download=2, decode=4, encode=6, server=8)
    found = shares(profile, {"export": 5.0, "copy": 10.0, "publish": 5.0})
    assert found == pytest.approx(
        {
            "export": 0.25,
            "publish": 0.25,
            "server": 0.2,
            "encode": 0.15,
            "decode": 0.1,
            "download": 0.05,
            "connect": 0.0,
        }
    )
    assert list(found)[-5:] == ["server", "encode", "decode", "download", "connect"]


def test_a_copy_without_workers_stays_a_step_of_its_own() -> None:
    assert shares(a_profile(0), {"plan": 1.0, "copy": 1.0}) == {"plan": 0.5, "copy": 0.5}
    assert shares(None, {"plan": 1.0}) == {"plan": 1.0}
    assert shares(None, {}) == {}


def test_the_summary_tells_the_greater_shares_first() -> None:
    phases = {"plan": 0.1, "export": 6.0, "copy": 3.0, "publish": 0.9}
    told = summary(a_profile(decode=1, server=5), phases)
    assert told == "export 60%, server 25%, publish 9%, decode 5%"


def test_of_a_short_run_nothing_is_told() -> None:
    phases = {"export": SHORT_SECONDS - 0.1}
    assert summary(a_profile(), phases) is None
    assert advice(a_profile(), phases, publish=Mode.APPEND, way=QUERY) is None


def test_without_a_bottleneck_nothing_is_advised() -> None:
    even = {"plan": 10.0, "export": 10.0, "verify": 10.0}
    assert max(shares(a_profile(), even).values()) < BOTTLENECK
    assert advice(a_profile(), even, publish=Mode.APPEND, way=QUERY) is None


def test_what_nobody_can_change_is_not_advised() -> None:
    assert advice(a_profile(), {"plan": 10.0}, publish=Mode.APPEND, way=QUERY) is None


def test_nothing_new_is_not_advised() -> None:
    assert advice(None, {"export": 10.0}, publish=Mode.APPEND, way=None) is None


@pytest.mark.parametrize(
    ("part", "way", "begins"),
    [
        ("connect", QUERY, "Getting connections to PostgreSQL took 70% of the time: load fewer"),
        ("download", EXTRACT, "Waiting for Cloud Storage took 70% of the time: run bq2pg in the b"),
        ("download", STREAMS, "Waiting for BigQuery's streams took 70% of the time: run bq2pg"),
        ("decode", QUERY, "Decoding and encoding took 70% of the time: give bq2pg faster or more"),
        ("encode", QUERY, "Decoding and encoding took 70% of the time: give bq2pg faster or more"),
        ("server", QUERY, "PostgreSQL, or the network to it, took 70% of the time: give it a"),
    ],
)
def test_the_greatest_part_of_a_copy_is_named(part: str, way: ExportWay, begins: str) -> None:
    told = advised(a_profile(**{part: 20.0}), {"export": 3.0, "copy": 7.0}, way=way)
    assert told.startswith(begins)
    assert told.endswith(".")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("step", "publish", "way", "more", "words"),
    [
        ("export", Mode.REPLACE, EXTRACT, {}, "BigQuery's extract job took 80%"),
        ("export", Mode.APPEND, QUERY, {}, "BigQuery's query took 80%"),
        ("export", Mode.APPEND, STREAMS, {}, "BigQuery's query took 80%"),
        ("index", Mode.REPLACE, QUERY, {}, "Building keys and indexes took 80%"),
        ("publish", Mode.REPLACE, QUERY, {"index": 0.1}, "transactions that hold the table"),
        ("publish", Mode.REPLACE, QUERY, {}, "swap builds each of them once"),
        ("publish", Mode.MERGE, QUERY, {}, "indexes and triggers of the target"),
    ],
)
def test_the_greatest_phase_is_named(
    step: str, publish: Mode, way: ExportWay, more: dict[str, float], words: str
) -> None:
    phases = {step: 8.0, "copy": 2.0 - sum(more.values()), **more}
    told = advised(a_profile(server=9.0), phases, publish=publish, way=way)
    assert words in told


def test_decoding_and_encoding_are_one_bottleneck_together() -> None:
    told = advised(a_profile(decode=3.0, encode=3.0, server=4.0), {"copy": 10.0})
    assert told.startswith("Decoding and encoding took 60%")


@pytest.mark.parametrize("part", ["download", "encode", "server"])
def test_more_workers_are_advised_only_where_they_would_have_work(part: str) -> None:
    busy, idle = a_profile(4, 4, **{part: 9.0}), a_profile(1, 4, **{part: 9.0})
    assert "raise parallelism (4)" in advised(busy, {"copy": 9.0})
    assert "parallelism" not in advised(idle, {"copy": 9.0})


def test_no_word_of_advice_is_left_unfilled() -> None:
    for known in WAYS_OUT.values():
        assert known.more.count("{}") == bool(known.more)
        assert "{" not in known.what + known.way_out


def test_the_record_holds_milliseconds() -> None:
    profile = Profile(parallelism=3).with_worker(a_profile(decode=1.23456).seconds)
    assert profile.with_worker(profile.seconds).record == {
        "workers": 2,
        "parallelism": 3,
        "connect": 0.0,
        "download": 0.0,
        "decode": 2.469,
        "encode": 0.0,
        "server": 0.0,
    }
