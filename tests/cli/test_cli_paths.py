"""Paths are checked first: whoever mistypes one is told at once, before torch is imported."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from xrcore.cli.options import import_packages

CODE = """
import sys
from xrcore.cli import main
for words in {commands}:
    sys.argv = ["xrcore", *words.split()]
    try:
        main()
    except SystemExit as end:
        assert end.code == 2
assert not {{"torch", "numba", "numpy", "SimpleITK", "matplotlib"}} & set(sys.modules)
"""
NO_POSE = (
    "pose '{}' is neither six numbers rx,ry,rz,tx,ty,tz nor a view (ap, pa, lateral, left-lateral, right-lateral, lpo, rpo, lao, rao, "
    "inlet, outlet) nor a file or folder that exists"
)
COMMANDS = {
    "register no.nii no.dcm --out new": "no.dcm: no such file or folder",
    "register no.nii here.dcm --out new": "no.nii: no such file or folder",
    "register here.nii here.dcm --out here.dcm": "here.dcm: this is a file, not a folder; choose another --out",
    "register here.nii here.dcm --carm no.yaml --out new": "no.yaml: no such file or folder",
    "register here.nii here.dcm --labels no.nii --out new": "no.nii: no such file or folder",
    "register here.nii here.dcm --initial no --out new": NO_POSE.format("no"),
    "register here.nii empty.dcm --out new": "empty.dcm: the file is empty",
    "render no.nii --out new.png": "no.nii: no such file or folder",
    "render here.nii --pose no.json --out new.png": NO_POSE.format("no.json"),
    "render here.nii --out folder.png": "folder.png: a folder of this name is in the way",
    "train no.nii --out new": "no.nii: no such file or folder",
    "train here.nii --start no --out new": "no: no such file or folder",
    "demo --out here.dcm": "here.dcm: this is a file, not a folder; choose another --out",
}


def test_paths_are_checked_before_anything_heavy_is_imported(tmp_path):
    (tmp_path / "here.nii").write_text("x")
    (tmp_path / "here.dcm").write_text("x")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "folder.png").mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    code = CODE.format(commands=list(COMMANDS))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"xrcore: error: {line}" for line in COMMANDS.values()]
    assert not list(tmp_path.glob("new*"))


def test_garbage_is_collected_again_after_the_imports():
    gc.unfreeze()
    import_packages()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000
    gc.unfreeze()
