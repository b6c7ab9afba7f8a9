"""What the engine notes beside its result and its error, for example a cleaning that failed.

Belongs here: the engine's warnings as lines of a command. Does not: errors (output.py), progress
(progress.py).
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bq2pg_assets.cli import output
from bq2pg_assets.engine.redact import redact

ENGINE = "bq2pg_assets"


@contextmanager
def notes_to(write: Callable[[str], None]) -> Iterator[None]:
    """Inside, each of the engine's warnings is one line of `write`, with no secret in it.

    The traceback of an unexpected one follows only with `--debug`.
    """
    engine, handler = logging.getLogger(ENGINE), _Lines(write)
    engine.addHandler(handler)
    try:
        yield
    finally:
        engine.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(redact(f"note: {record.getMessage()}"))
        if record.exc_info and output.tracebacks_shown():
            self._write(redact("".join(traceback.format_exception(*record.exc_info))).rstrip())
