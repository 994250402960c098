"""Where the CPU's memory ends: one line with what to reduce, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from xrcore._util.errors import XrcoreError
from xrcore._util.out_of_memory import memory_advice, ran_out_of_memory

resource = pytest.importorskip("resource", reason="this system has no limits of memory")

# what is imported first lies in the address space already; the rest is what a run may use
PREPARE = """
import re, resource, sys
from dataclasses import replace
import torch, xrcore as xr
from xrcore.cli import main
torch.set_num_threads(1)
volume = xr.Volume(density=torch.ones(2, 9, 8, 7), materials=("soft", "bone"), world_from_voxel=torch.diag(torch.tensor([9.0, 9, 9, 1])))
large = replace(volume, density=torch.zeros(1, 1, 1, 1).expand(2, 600, 600, 600))
carm = xr.CArm(source_to_detector=1000, source_to_isocenter=700, shape=(16384, 16384), pixel_spacing=0.01)
xr.render_with_jacobian, xr.read_ct, xr.simulate, xr.train, xr.read_mesh, xr.place_mesh, xr.project_labels, xr.phantom.pelvis
import trimesh, numpy
from xrcore.ct import volume_from_hu
trimesh.creation.icosphere(3, 20.0).export("ball.stl")
hu = numpy.pad(numpy.full((50, 50, 50), 40, numpy.float32), 20, constant_values=-1000)
used = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000,) * 2)
def call(function):
    try:
        function()
    except xr.XrcoreError as error:
        print(error, flush=True)
def command(*words):
    sys.argv = ["xrcore", *words]
    try:
        main()
    except SystemExit as end:
        print(end.code, flush=True)
"""
CALLS = {
    "read_ct": "xr.read_ct('ct.nii', spacing=0.3)",
    "render": "xr.render(volume, carm, xr.Pose())",
    "render_with_jacobian": "xr.render_with_jacobian(volume, carm, xr.Pose())",
    "volume_from_hu": "volume_from_hu(hu, numpy.diag([5.0, 5, 5, 1]), spacing=1.0)",
    "read_mesh": "xr.read_mesh('ball.stl', spacing=0.06)",
    "place_mesh": "xr.place_mesh(large, 'ball.stl')",
    "phantom.pelvis": "xr.phantom.pelvis(spacing=0.5)",
    "simulate": "xr.simulate(volume, carm.resized((8192, 8192)), xr.Pose())",
}
COMMANDS = ("register ct.nii xray.png --carm carm.yaml --spacing 0.3 --out result", "render ct.nii --spacing 0.3 --out out.png")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell how much is in use")
def test_what_is_too_large_for_the_memory_is_told_in_one_line_and_nothing_is_written(tmp_path):
    image = sitk.GetImageFromArray(np.pad(np.full((20, 20, 20), 40, np.int16), 10, constant_values=-1000))
    image.SetSpacing((5.0, 5.0, 5.0))
    sitk.WriteImage(image, str(tmp_path / "ct.nii"))
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32)).save(tmp_path / "xray.png")
    (tmp_path / "carm.yaml").write_text("source_to_detector: 1200\nsource_to_isocenter: 800\npixel_spacing: 6\n")
    calls = [f"call(lambda: {call})" for call in CALLS.values()] + [f"command(*{command.split()})" for command in COMMANDS]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    code = PREPARE + "\n".join(calls)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shortages, codes = done.stdout.splitlines()[: len(CALLS)], done.stdout.splitlines()[len(CALLS) :]
    assert [line.partition(";")[0] for line in shortages] == [f"{name}: not enough memory" for name in CALLS]
    assert codes == ["2"] * len(COMMANDS)
    complaints = [line for line in done.stderr.splitlines() if "note: " not in line]
    assert [line.partition(";")[0] for line in complaints] == ["xrcore: error: read_ct: not enough memory"] * len(COMMANDS)
    assert {path.name for path in tmp_path.iterdir()} == {"ball.stl", "ct.nii", "xray.png", "carm.yaml"}


def test_of_functions_that_call_each_other_the_users_own_is_named():
    with (
        pytest.raises(XrcoreError, match=r"^outer: not enough memory; crop$"),
        memory_advice("outer", "crop"),
        memory_advice("inner", "less"),
    ):
        raise MemoryError


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((3,), np.dtype(float)),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9."),
        RuntimeError("Exception thrown in SimpleITK ImageFileReader_Execute: Failed to allocate memory for image."),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_libraries_shortages_are_recognised(error):
    assert ran_out_of_memory(error)
    with pytest.raises(XrcoreError, match=r"^work: not enough memory; less$"), memory_advice("work", "less"):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("sizes differ"), OSError(28, "No space left on device"), XrcoreError("out of memory")])
def test_other_errors_are_not(error):
    assert not ran_out_of_memory(error)
    with pytest.raises(type(error)) as caught, memory_advice("work", "less"):
        raise error
    assert caught.value is error
