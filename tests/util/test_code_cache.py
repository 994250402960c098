"""Machine code that numba keeps on disk is that of the sources; where it cannot be kept or read, it is compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OUTER = """
import logging
logging.basicConfig(level="INFO", format="%(message)s")
from numba import njit
from xrcore._util.code_cache import cached_njit
import inner

@njit
def scaled(x):
    return inner.FACTOR * inner.shifted(x)

@cached_njit(inner)
def function(x):
    return scaled(x) + 1

print(function(10), sum(function.stats.cache_hits.values()))
"""
INNER = "from numba import njit\nFACTOR = {}\n@njit\ndef shifted(x):\n    return x + {}\n"


def result(folder: Path, factor: int = 2, shift: int = 0, **changed: str) -> tuple[list[int], list[str]]:
    """Value and hits in the cache, and the lines logged."""
    (folder / "outer.py").write_text(OUTER)
    (folder / "inner.py").write_text(INNER.format(factor, shift))
    paths = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"} | changed
    done = subprocess.run([sys.executable, "outer.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()], done.stderr.splitlines()


def test_an_edit_of_what_is_inlined_compiles_anew(tmp_path):
    assert result(tmp_path)[0] == [21, 0]
    assert result(tmp_path)[0] == [21, 1]  # found on disk
    assert result(tmp_path, 3, 0)[0] == [31, 0]
    assert result(tmp_path, 3, 5)[0] == [46, 0]
    assert result(tmp_path)[0] == [21, 1]
    assert result(tmp_path, NUMBA_BOUNDSCHECK="1")[0] == [21, 0]  # with checks it is other code


def test_without_a_folder_to_write_to_it_works_and_says_so(tmp_path):
    for name in ("__pycache__", "home"):
        (tmp_path / name).write_text("no folder")
    nowhere = {"NUMBA_CACHE_DIR": "", "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    numbers, (line,) = result(tmp_path, **nowhere)
    assert numbers == [21, 0]
    assert "set NUMBA_CACHE_DIR" in line


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_file_that_is_cut_off_is_made_anew(tmp_path, ending, share):
    result(tmp_path)
    (path,) = (tmp_path / "cache").rglob(f"*.{ending}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    numbers, (line,) = result(tmp_path)
    assert numbers == [21, 0]
    assert "damaged" in line
    assert result(tmp_path) == ([21, 1], [])


def test_a_full_disk_is_no_reason_to_fail(tmp_path):
    """The folder can be written to when the module is loaded, and not when its code is to be kept."""
    result(tmp_path)
    for path in (tmp_path / "cache").rglob("*.nb?"):
        path.unlink()
        path.mkdir()  # what stands in the way of the file
    numbers, lines = result(tmp_path)
    assert numbers == [21, 0]
    assert any("cannot be kept" in line for line in lines)
