"""A process that runs one sync and stops where it is told to, so that test_kill.py can kill it.

Run as a module with one JSON argument: the addresses, the table, `hold`, the phase to stay in,
and `shards`, how many are to be copied before it stays in "copy".
"""

import json
import sys
import threading
from typing import Any

from bq2pg_assets.engine.results import Progress
from bq2pg_assets_tests.integration.helpers import world_of


def main(given: dict[str, Any]) -> None:
    def stay(progress: Progress) -> None:
        # Within "copy" only after rows were sent and so many shards were copied, unless it is -1.
        reached = progress.phase != "copy" or (
            progress.shards_done >= given["shards"] and (progress.rows or given["shards"] < 0)
        )
        if progress.phase == given["hold"] and reached:
            sys.stdout.write("holding\n")
            sys.stdout.flush()
            threading.Event().wait()

    world = world_of(given)
    world.sync(report=stay, **given["table"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
