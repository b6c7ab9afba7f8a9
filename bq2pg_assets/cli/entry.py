"""How a console script ends, whichever it is.

Belongs here: what becomes of its answer and of its error. Does not: what the codes mean
(exit_codes.py), how an error reads (output.py).
"""

import sys
from collections.abc import Callable
from typing import NoReturn

from bq2pg_assets.cli import exit_codes, output
from bq2pg_assets.cli.exit_codes import ExitCode


def leave_with(command: Callable[[], ExitCode | None]) -> NoReturn:
    """Run the command and end the process with its exit code, or its error's, in words."""
    try:
        sys.exit(command())
    except Exception as error:  # what is not a Bq2pgError is said to be unexpected
        output.print_error(error)
        sys.exit(exit_codes.code_of(error))
    except KeyboardInterrupt:
        output.note("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
