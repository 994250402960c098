"""Threads that wait for work, kept from one call to the next."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def worker_pool(purpose: str, threads: int) -> ThreadPoolExecutor:
    """Return this process's threads for a purpose, the same at each call.

    Parameters
    ----------
    purpose : str
        What they do, in their names; those of one purpose do not wait for those of another.
    threads : int
        How many.

    Returns
    -------
    ThreadPoolExecutor
        Not to be shut down.
    """
    return _pool(purpose, threads, os.getpid())


@cache
def _pool(purpose: str, threads: int, process: int) -> ThreadPoolExecutor:
    # keyed by process: threads do not survive a fork
    return ThreadPoolExecutor(threads, thread_name_prefix=f"xrcore-{purpose}")
