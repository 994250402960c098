"""Keep freed memory in the process, instead of returning it to the system and asking for it again."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

# numbers of glibc's malloc.h, and values: blocks up to the largest size it allows are cut from the heap; the heap is not trimmed and
# grows by larger steps; small neighbours of a freed block are joined with it at once
_OPTIONS = {"M_MMAP_THRESHOLD": (-3, 1 << 25), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 1 << 26), "M_MXFAST": (1, 0)}


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the rest of the process; nothing happens where that is not glibc.

    A training frees and asks for the same gigabyte in each step. Given back in between, every page of it has to be mapped and cleared
    anew: a tenth of the time and more. Blocks above 32 MB, the largest that glibc lets one keep, are given back nevertheless.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        for number, value in _OPTIONS.values():
            set_option(number, value)
