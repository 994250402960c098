"""The logger "xrcore": the command line prints its notes; a program prints nothing unless it sets logging up."""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger("xrcore")


@cache
def log_once(line: str) -> None:
    """Log a remark the first time it is made in this process."""
    logger.info(line)
