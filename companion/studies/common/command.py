"""Run a study's command: bad input is told in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from xrcore import XrcoreError


def exit_code(work: Callable[[], None]) -> int:
    """Do the work of a command.

    Parameters
    ----------
    work : callable
        Without arguments.

    Returns
    -------
    int
        0, or 2 for bad input, after one line that tells it.
    """
    try:
        work()
    except XrcoreError as error:
        print("xrcore: error:", error, file=sys.stderr)
        return 2
    return 0
