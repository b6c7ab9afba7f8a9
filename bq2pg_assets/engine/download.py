"""One object on its way from Cloud Storage into an unnamed temporary file, readable as it arrives.

Belongs here: the thread that fetches range after range, the checksum over them, reading what has
arrived, what can go wrong with it. Does not: which objects (shards.py), what is in them.

The footer, which says where a Parquet file's columns are, is the object's end: it is fetched by
itself, so that decoding begins with the first bytes and not after the last. What is read before
the checksum is known may be spoilt: whoever keeps anything of it calls `verify` first.
"""

import io
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable
from os import pread
from typing import Any

import google_crc32c
from google.api_core.exceptions import NotFound
from google.cloud.storage import Blob

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.errors import StorageError
from bq2pg_assets.engine.google_errors import storage_errors
from bq2pg_assets.engine.model import Shard
from bq2pg_assets.engine.stopwatch import spent_on

REQUEST_SECONDS = 60.0
TAIL = 64 * 1024  # as much of a Parquet file as Arrow reads first
WAKE_SECONDS = 0.5  # how late a waiting reader hears of a cancel


class Download:
    """Begins at once, in a thread of its own. `close` stops it and frees the file.

    One request asks for `piece` bytes, which are held in memory once.

    The whole object's CRC32C is compared here, for Google's client verifies neither ranges nor a
    download that it resumed after a broken connection (google-cloud-storage 3,
    _media/requests/download.py: "Don't validate the checksum for partial responses").
    """

    def __init__(self, blob: Blob, shard: Shard, *, piece: int, cancel: CancelToken) -> None:
        self.size, self._piece = shard.size, piece
        self._blob, self._shard, self._cancel = blob, shard, cancel
        self._file = tempfile.TemporaryFile(prefix="bq2pg-", buffering=0)  # noqa: SIM115, close()
        self._checksum = google_crc32c.Checksum()
        self._change, self._tail_lock = threading.Condition(), threading.Lock()
        self._arrived, self._ended, self.stopped = 0, False, threading.Event()
        self._error: BaseException | None = None
        self._tail: bytes | None = None
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)
        self._thread.start()

    def read_at(self, position: int, count: int) -> bytes:
        """The bytes from `position`, once they are here; fewer only at the end.

        Raises StorageError, CancelledError.
        """
        end = min(position + count, self.size)
        if position >= end:
            return b""
        if self.size > self._piece and position >= self.size - TAIL:
            start = position - (self.size - TAIL)
            return self._fetched_tail()[start : start + end - position]
        self._wait_for(end)
        return pread(self._file.fileno(), end - position, position)

    def verify(self) -> None:
        """Return when everything is here and is what was stored. Raises as `read_at`."""
        self._wait_for(self.size)
        stored, found = self._shard.crc32c, b64encode(self._checksum.digest()).decode()
        if stored is not None and found != stored:
            raise self._spoilt(f"its CRC32C is {found}, and {stored} was stored")
        if self._tail is not None and self._tail != self._last_bytes():
            raise self._spoilt("its end differs from the end that was read first")

    def close(self) -> None:
        """Stop after the range that is under way; the file is gone then."""
        self.stopped.set()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        try:
            for start in range(0, self.size, self._piece):
                if self.stopped.is_set():
                    return
                self._cancel.check(self._blob.name)
                self._fetch(start, min(start + self._piece, self.size) - 1, into=_Sink(self._add))
        except BaseException as error:  # raised to whoever reads
            self._error = error
        finally:
            with self._change:
                self._ended = True
                self._change.notify_all()

    def _add(self, data: bytes) -> None:
        self._checksum.update(data)
        left = memoryview(data)
        while left:  # an unbuffered file may take a part
            try:
                left = left[self._file.write(left) :]
            except OSError as error:
                raise _no_room(self._shard, error) from error
        with self._change:
            self._arrived += len(data)
            self._change.notify_all()

    def _fetch(self, first: int, last: int, *, into: "_Sink") -> None:
        with storage_errors(self._shard.uri):
            try:
                self._blob.download_to_file(
                    into,
                    start=first,
                    end=last,
                    checksum=None,
                    single_shot_download=True,
                    timeout=REQUEST_SECONDS,
                )
            except NotFound as error:
                raise _gone(self._shard) from error
        if into.count != last - first + 1:
            raise self._spoilt(f"bytes {first} to {last} came as {into.count} bytes")

    def _wait_for(self, end: int) -> None:
        with self._change, spent_on("download"):
            while self._arrived < end and not self._ended:
                self._change.wait(WAKE_SECONDS)
                self._cancel.check(self._blob.name)
            if self._arrived < end:
                raise self._error or self._spoilt("the download was stopped")

    def _fetched_tail(self) -> bytes:
        with self._tail_lock, spent_on("download"):
            if self._tail is None:
                tail = bytearray()
                self._fetch(self.size - TAIL, self.size - 1, into=_Sink(tail.extend))
                self._tail = bytes(tail)
            return self._tail

    def _last_bytes(self) -> bytes:
        return pread(self._file.fileno(), TAIL, self.size - TAIL)

    def _spoilt(self, met: str) -> StorageError:
        return StorageError(
            self._shard.uri,
            met=met,
            expected="the object as BigQuery wrote it",
            way_out="Run again: nothing was published.",
            retryable=True,
        )


class _Sink:
    """A file to write to, for Google's client: it hands a range over whole, and once."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take, self.count = take, 0

    def write(self, data: bytes) -> int:
        """Pass it on."""
        self._take(data)
        self.count += len(data)
        return len(data)


class ArrivingFile(io.RawIOBase):
    """What a Download holds, as a file to read from. Each has a place of its own in it."""

    def __init__(self, download: Download) -> None:
        self._download, self._position = download, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read at any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which need not have arrived."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._download.size}
        self._position = start[whence] + offset
        return self._position

    def tell(self) -> int:
        """The place."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, waited for."""
        count = self._download.size if size is None or size < 0 else size
        data = self._download.read_at(self._position, count)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """The same, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _gone(shard: Shard) -> StorageError:
    return StorageError(
        shard.uri,
        met="the object is gone or was replaced since it was listed",
        expected="the object as BigQuery wrote it",
        way_out="Run again; nothing else may touch the bucket's bq2pg/ folder, and its objects "
        "must not expire within a run.",
        retryable=True,
    )


def _no_room(shard: Shard, error: OSError) -> StorageError:
    return StorageError(
        shard.uri,
        met=f"the temporary folder {tempfile.gettempdir()} cannot take it: {error.strerror}",
        expected=f"room for some shards of {shard.size / 1e6:,.0f} MB",
        way_out="Make room, or name another folder in TMPDIR.",
        retryable=False,
    )
