"""Memory that a process has freed stays with it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

# says how many bytes of the heap are free after blocks of 96 MB were freed, by glibc's own count: page faults, the aim of it all, are
# counted by some kernels only. In a process of its own, because what malloc is told holds to the end
_SCRIPT = """
import ctypes, sys, torch
from xrcore._util.kept_memory import keep_freed_memory

fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in fields]

if sys.argv[1] == "kept":
    keep_freed_memory()
blocks = [torch.ones(3_000_000) for _ in range(8)]
del blocks
count = ctypes.CDLL(None).mallinfo2
count.restype = Info
print(count().fordblks)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc from 2.33 on counts what it keeps")
def test_freed_memory_stays_in_the_heap():
    free = {
        how: int(subprocess.run([sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "kept")
    }
    assert free["kept"] >= 8 * 12_000_000
    assert free["plain"] < 8 * 12_000_000 / 2
