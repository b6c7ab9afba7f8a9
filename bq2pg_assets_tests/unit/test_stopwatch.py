"""Promise: each moment of a worker is counted once, as what it was spent on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from bq2pg_assets.engine.stopwatch import Stopwatch, entered, running, spent_on, timed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def told(**seconds: float) -> dict[str, float]:
    parts = ("connect", "download", "decode", "encode", "server")
    return dict.fromkeys(parts, 0.0) | seconds


def test_what_lies_within_another_part_is_not_counted_there() -> None:
    """As in a copy: a write asks for bytes, they for a batch, it for what is still on its way."""
    clock = Clock()

    def batches() -> Iterator[int]:
        for number in range(3):
            clock.passes(1)
            with spent_on("download"):
                clock.passes(10)
            clock.passes(1)
            yield number

    def pieces(batches: Iterator[int]) -> Iterator[int]:
        for number in batches:
            clock.passes(100)
            yield number

    with running(Stopwatch(clock)) as watch:
        for _ in timed("encode", pieces(timed("decode", batches()))):
            clock.passes(1000)
    assert watch.read() == told(download=30, decode=6, encode=300, server=3000)
    assert sum(watch.read().values()) == clock.now


def test_only_entering_a_block_counts_as_its_part() -> None:
    clock = Clock()

    @contextmanager
    def connection() -> Iterator[str]:
        clock.passes(1)
        yield "connected"
        clock.passes(5)

    with running(Stopwatch(clock)) as watch, entered("connect", connection()) as inside:
        assert inside == "connected"
        clock.passes(20)
    assert watch.read() == told(connect=1, server=25)


def test_an_error_ends_its_part() -> None:
    clock = Clock()

    def fails() -> None:
        with spent_on("download"):
            clock.passes(1)
            raise OSError("gone")

    with running(Stopwatch(clock)) as watch:
        with pytest.raises(OSError, match="gone"):
            fails()
        clock.passes(2)
    assert watch.read() == told(download=1, server=2)


def test_a_thread_counts_for_itself_alone() -> None:
    clock = Clock()

    def other() -> list[int]:
        with spent_on("download"):
            clock.passes(7)
        return list(timed("decode", iter([1, 2])))

    with running(Stopwatch(clock)) as watch, ThreadPoolExecutor(1) as pool:
        assert pool.submit(other).result() == [1, 2]
    assert watch.read() == told(server=7)
