"""Whether a cron expression can tick, and what is wrong with it otherwise.

Belongs here: the check of a `schedule`, by croniter, which Dagster's own reading of cron comes
from. Does not: time zones (table.py) and the next tick (Dagster), which the configuration may not
import; a test holds every accepted expression against Dagster's verdict.
"""

from collections.abc import Iterator

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")


def cron_problems(text: str) -> Iterator[str]:
    """What is wrong with a cron expression, as one sentence; nothing when it is right."""
    if text.lower() in ALIASES:
        return
    fields = text.split()
    if len(fields) != 5 or not text.isascii():
        yield (
            f"{text!r} has {len(fields)} fields; a cron expression has 5 (minute, hour, day of "
            f"month, month, day of week) such as '0 6 * * *', or is one of {', '.join(ALIASES)}"
        )
        return
    try:
        croniter(text).get_next()
    except CroniterBadDateError:
        yield f"{text!r} names a day that no month of it has; choose an earlier day"
    except CroniterBadCronError as error:
        yield f"{error}; write five fields such as '0 6 * * *'"
