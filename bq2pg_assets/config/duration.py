"""Spans of time as people write them: 90s, 30m, 6h, 7d.

Belongs here: reading one. Does not: what it is for.
"""

import re
from typing import Any

DURATION = re.compile(r"([0-9]{1,9})\s*([smhd]?)")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: Any) -> int:
    """The whole seconds of `6h`, or of a number of seconds. Raises ValueError."""
    text = "" if isinstance(value, bool | float) else str(value).strip().lower()
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{value!r} is not a span of time; write a number with its unit: 30m, 6h, 7d"
        )
    return int(match[1]) * SECONDS[match[2]]
