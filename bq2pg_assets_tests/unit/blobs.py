"""An object of Cloud Storage that answers as a test wants, range by range.

Belongs here: the stand-in for Google's Blob, and a shard's checksum. Does not: tests.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import google_crc32c

Answer = Callable[[int, int], bytes]


def crc32c(data: bytes) -> str:
    """The checksum as Cloud Storage tells it."""
    return b64encode(google_crc32c.Checksum(data).digest()).decode()


class Blob:
    """Answers the bytes from `start` to `end`, both included; the requests are kept."""

    name = "a blob"

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, list[tuple[int, int]]()

    def download_as_bytes(self, *, start: int, end: int, **options: Any) -> bytes:
        """As Google's."""
        self.asked.append((start, end))
        return self.answer(start, end)
