"""The parts of all shards, one after another, for workers that ask; fetched ahead of them.

Belongs here: which shard is begun when, into how many parts it is cut, when what was fetched is
let go. Does not: fetching and reading (shards.py, parquet.py, read_api.py), copying (copy.py).

At most one shard more than there are workers is on disk at a time. The last shards, fewer than
the workers, are cut by row group, so that every worker has something to do.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.model import RunId, Shard


class OpenShard(Protocol):
    """A part that is being read. Of a stream, `rows` and `size` (bytes) are known at its end."""

    shard: Shard

    @property
    def schema(self) -> pa.Schema:
        """The shard's columns."""

    @property
    def rows(self) -> int:
        """How many it holds; less while it is read."""

    @property
    def size(self) -> int:
        """How many bytes of the shard it stands for, or were read."""

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The named columns in small batches."""


class Part(Protocol):
    """What one worker copies in one transaction: a shard, or some of its row groups."""

    @property
    def shard(self) -> Shard:
        """The shard it is of."""

    @property
    def row_groups(self) -> tuple[int, ...]:
        """Which of the shard's; () is all of it."""

    def open(self) -> AbstractContextManager[OpenShard]:
        """Read it; any number of times."""


class Fetched(Protocol):
    """A shard that is on its way."""

    def parts(self, wanted: int, *, staged: Sequence[int] = ()) -> Sequence[Part]:
        """At most `wanted` of them, without the row groups that are staged already."""

    def close(self) -> None:
        """Let it go."""


class Store(Protocol):
    """Where the rows wait between BigQuery and PostgreSQL: a bucket, or streams to be read."""

    @property
    def ahead(self) -> int:
        """How many shards are fetched before a worker asks for them."""

    def prefix(self, table: str, run: RunId) -> str:
        """Where an export writes to."""

    def list(self, place: str, /) -> tuple[Shard, ...]:
        """What can be read there."""

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> Fetched:
        """Begin with one of them, in pieces of about so many bytes."""

    def delete(self, prefix: str, /) -> int:
        """Leave nothing behind."""


class Feed:
    """Hands every part to one worker. `staged` tells, by URI, the row groups to leave out."""

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        store: Store,
        workers: int,
        piece: int,
        cancel: CancelToken,
        staged: Mapping[str, Sequence[int]],
    ) -> None:
        self._store, self._workers, self._piece = store, workers, piece
        self._cancel, self._staged = cancel, staged
        self._lock = Lock()
        self._waiting = deque(shards)
        self._begun = deque[tuple[Shard, Fetched]]()
        self._parts = deque[Part]()
        self._open: dict[str, Fetched] = {}
        self._left = Counter[str]()  # parts of a shard that are not done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _, fetched in self._begun:
            fetched.close()
        for fetched in self._open.values():
            fetched.close()

    def take(self) -> Part | None:
        """The next part; None when there is none left. Raises StorageError, CancelledError."""
        with self._lock:
            while not self._parts and (self._begun or self._waiting):
                self._cut()
            return self._parts.popleft() if self._parts else None

    def done(self, part: Part) -> bool:
        """The part is copied. Returns whether it was the last of its shard."""
        uri = part.shard.uri
        with self._lock:
            self._left[uri] -= 1
            if self._left[uri]:
                return False
            fetched = self._open.pop(uri)
        fetched.close()
        return True

    def _cut(self) -> None:
        """Cut the next shard into parts, and begin the one after it."""
        self._begin(max(1, self._store.ahead))
        shard, fetched = self._begun.popleft()
        self._open[shard.uri] = fetched
        self._begin(self._store.ahead)
        last = len(self._begun) + len(self._waiting) + 1 < self._workers
        parts = fetched.parts(self._workers if last else 1, staged=self._staged.get(shard.uri, ()))
        self._left[shard.uri] = len(parts)
        self._parts.extend(parts)
        if not parts:
            self._open.pop(shard.uri).close()

    def _begin(self, ahead: int) -> None:
        while self._waiting and len(self._begun) < ahead:
            self._cancel.check(self._waiting[0].uri)
            shard = self._waiting.popleft()
            fetched = self._store.fetch(shard, piece=self._piece, cancel=self._cancel)
            self._begun.append((shard, fetched))
