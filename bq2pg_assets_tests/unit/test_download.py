"""An object read while it arrives: waiting, the checksum, what is spoilt, stopping.

Belongs here: bytes. Does not: the real client (integration/test_shards.py), Parquet
(test_parquet.py).
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from google.api_core.exceptions import NotFound, ServiceUnavailable

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.download import TAIL, ArrivingFile, Download
from bq2pg_assets.engine.errors import CancelledError, StorageError
from bq2pg_assets.engine.model import Shard
from bq2pg_assets.engine.stopwatch import Stopwatch, running
from bq2pg_assets_tests.blobs import Answer, Blob, crc32c

RANGE = 1024**2
DATA = os.urandom(2 * RANGE + 12_345)


def whole(start: int, end: int) -> bytes:
    return DATA[start : end + 1]


@contextmanager
def download(
    answer: Answer = whole, *, size: int = len(DATA), cancel: CancelToken | None = None
) -> Iterator[tuple[Download, Blob]]:
    blob = Blob(answer)
    shard = Shard("gs://b/x", size, 1, crc32c(DATA[:size]))
    load = Download(blob, shard, piece=RANGE, cancel=cancel or CancelToken())
    try:
        yield load, blob
    finally:
        load.close()


def failing(at: int, error: Exception) -> Answer:
    def answer(start: int, end: int) -> bytes:
        if start >= at:
            raise error
        return whole(start, end)

    return answer


def test_the_whole_object_is_read_as_it_was_stored() -> None:
    with download() as (load, blob):
        assert ArrivingFile(load).read() == DATA
        load.verify()
    assert blob.asked == [
        (0, RANGE - 1),
        (RANGE, 2 * RANGE - 1),
        (2 * RANGE, len(DATA) - 1),
    ]


def test_an_object_of_no_bytes_is_read_too() -> None:
    with download(size=0) as (load, blob):
        assert ArrivingFile(load).read() == b""
        load.verify()
    assert blob.asked == []


def test_the_end_and_the_beginning_are_read_before_the_rest_has_come() -> None:
    rest = Event()

    def answer(start: int, end: int) -> bytes:
        if RANGE <= start < len(DATA) - TAIL:
            assert rest.wait(30)
        return whole(start, end)

    with download(answer) as (load, _), ThreadPoolExecutor(1) as pool:
        file = ArrivingFile(load)
        file.seek(-100, os.SEEK_END)
        assert file.read() == DATA[-100:]
        file.seek(10)
        assert (file.read(5), file.tell()) == (DATA[10:15], 15)
        waiting = pool.submit(load.read_at, RANGE - 2, 4)
        assert not waiting.done()
        rest.set()
        assert waiting.result(30) == DATA[RANGE - 2 : RANGE + 2]
        load.verify()


def test_a_byte_that_differs_is_found_at_the_end() -> None:
    spoilt = DATA[:77] + bytes([DATA[77] ^ 1]) + DATA[78:]
    with download(lambda start, end: spoilt[start : end + 1]) as (load, _):
        assert load.read_at(0, 10) == DATA[:10]
        with pytest.raises(StorageError, match=r"its CRC32C is .* was stored") as stopped:
            load.verify()
        assert stopped.value.retryable


def test_an_end_that_came_differently_the_first_time_is_found() -> None:
    def answer(start: int, end: int) -> bytes:
        return b"x" * TAIL if start == len(DATA) - TAIL else whole(start, end)

    with download(answer) as (load, _):
        assert load.read_at(len(DATA) - 4, 4) == b"xxxx"
        with pytest.raises(StorageError, match="its end differs"):
            load.verify()


def test_an_answer_that_is_too_short_is_refused() -> None:
    with (
        download(lambda start, end: whole(start, end)[:-1]) as (load, _),
        pytest.raises(StorageError, match=f"came as {RANGE - 1} bytes"),
    ):
        load.read_at(0, RANGE)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NotFound("no such object"), "the object is gone or was replaced"),
        (ServiceUnavailable("try later"), "HTTP 503"),
        (ConnectionResetError("reset"), "no connection, or it broke"),
    ],
)
def test_what_the_download_fails_with_reaches_every_reader(error: Exception, says: str) -> None:
    with download(failing(RANGE, error)) as (load, _):
        assert load.read_at(0, RANGE) == DATA[:RANGE]
        for read in (lambda: load.read_at(RANGE, 1), load.verify):
            with pytest.raises(StorageError, match=says) as stopped:
                read()
            assert stopped.value.retryable


def test_a_cancel_ends_the_download_and_who_waits_for_it() -> None:
    cancel, asked = CancelToken(), Event()

    def answer(start: int, end: int) -> bytes:
        asked.set()
        assert asked.wait(30)
        if start:
            cancel.cancel()
        return whole(start, end)

    with download(answer, cancel=cancel) as (load, blob), pytest.raises(CancelledError):
        load.verify()
    assert len(blob.asked) < 4


def test_close_stops_the_download_after_the_range_under_way() -> None:
    first, go = Event(), Event()

    def answer(start: int, end: int) -> bytes:
        first.set()
        assert go.wait(30)
        return whole(start, end)

    with ThreadPoolExecutor(1) as pool, download(answer) as (load, blob):
        assert first.wait(30)
        closing = pool.submit(load.close)
        assert load.stopped.wait(30)
        go.set()
        closing.result(30)
        assert blob.asked == [(0, RANGE - 1)]


def test_a_worker_that_waits_for_bytes_counts_it_as_the_download() -> None:
    """The range comes five seconds after the reader looked at the clock, which begins its wait."""
    now, looks, waits = [0.0], list[float](), Event()

    def answer(start: int, end: int) -> bytes:
        assert waits.wait(30)
        now[0] += 5.0
        return whole(start, end)

    def clock() -> float:
        looks.append(now[0])
        if len(looks) == 2:
            waits.set()
        return looks[-1]

    with download(answer, size=RANGE) as (load, _), running(Stopwatch(clock)) as watch:
        ArrivingFile(load).read()
    assert {part: took for part, took in watch.read().items() if took} == {"download": 5.0}
