"""Machine code that numba keeps on disk is that of the sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OUTER = """
from numba import njit
from xrcore.renderer.cpu.code_cache import named_by
import inner

@njit
def scaled(x):
    return inner.FACTOR * inner.shifted(x)

@njit(cache=True)
@named_by(inner)
def function(x):
    return scaled(x) + 1

print(function(10), sum(function.stats.cache_hits.values()))
"""
INNER = "from numba import njit\nFACTOR = {}\n@njit\ndef shifted(x):\n    return x + {}\n"


def test_an_edit_of_what_is_inlined_compiles_anew(tmp_path):
    def result(factor: int, shift: int) -> list[int]:
        (tmp_path / "inner.py").write_text(INNER.format(factor, shift))
        paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
        environment = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "outer.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    (tmp_path / "outer.py").write_text(OUTER)
    assert result(2, 0) == [21, 0]
    assert result(2, 0) == [21, 1]  # found on disk
    assert result(3, 0) == [31, 0]
    assert result(3, 5) == [46, 0]
    assert result(2, 0) == [21, 1]
