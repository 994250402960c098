"""Memory that a process has freed is used again, not mapped anew."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")
def test_kept_memory_is_not_mapped_anew():
    # in a process of its own, because what malloc is told holds to the end
    script = (
        "import resource, sys, torch\n"
        "from xrcore._util.kept_memory import keep_freed_memory\n"
        "if sys.argv[1] == 'kept': keep_freed_memory()\n"
        "def work():\n"
        "    kept = [torch.ones(3_000_000) for _ in range(8)]\n"
        "for _ in range(3): work()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(5): work()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = {
        how: int(subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "kept")
    }
    pages = 5 * 8 * 12_000_000 // os.sysconf("SC_PAGESIZE")
    assert faults["kept"] < pages / 20
    assert faults["kept"] < faults["plain"]
