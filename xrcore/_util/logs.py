"""The logger "xrcore": the command line prints its notes; a program prints nothing unless it sets logging up."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache

logger = logging.getLogger("xrcore")


def warn_of(notes: Iterable[str]) -> None:
    """Log the remarks on what was read."""
    for note in notes:
        logger.warning(note)


@cache
def log_once(line: str) -> None:
    """Log a remark the first time it is made in this process."""
    logger.info(line)
