"""The logger "xrcore"; only warnings are printed by default."""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger("xrcore")


@cache
def log_once(line: str) -> None:
    """Log a remark the first time it is made in this process."""
    logger.info(line)
