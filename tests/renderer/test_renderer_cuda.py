"""The GPU renderer against the reference: on a GPU where there is one, else the same kernel in Triton's interpreter."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from common import scenes as case
from hypothesis import given, settings
from hypothesis import strategies as st
from test_renderer import MONO, VIEWS, detector, grid, in_double, patient, relative_error, water, world_rays
from torch.testing import assert_close

from xrcore._util import devices
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose
from xrcore.renderer import choose_backend, packing, reference, render, render_with_jacobian

pytest.importorskip("triton", reason="Triton is not installed (the gpu extra)")

GPU = torch.cuda.is_available()
SMALL = detector((9, 8), (7.5, 10.0))  # two tiles of 8 x 8 pixels, each of which takes the interpreter seconds


def there(volume: Volume) -> Volume:
    """Where the kernel runs in these tests."""
    return volume.to("cuda") if GPU else volume


def cuda(volume: Volume, carm: CArm, pose: Pose, beam: Beam | list[Beam] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    image, jacobian = render_with_jacobian(there(volume), carm, pose, beam, backend="cuda")
    return image.cpu(), jacobian.cpu()


def as_packed(volume: Volume) -> Volume:
    """The densities that 16 bits a material keep, in double precision: what is left to differ is arithmetic."""
    density = volume.density.double()
    step = density.amax((1, 2, 3), keepdim=True).clamp_min(1e-30) / packing.LEVELS
    return replace(volume, density=torch.round(density / step) * step)


@pytest.mark.parametrize("pose", VIEWS)
def test_value_and_jacobian_are_the_references(pose):
    volume = patient()
    image, jacobian = cuda(volume, SMALL, pose)
    expected, exact = reference.render_with_jacobian(as_packed(volume), SMALL, pose, Beam())
    assert expected.max() > 1
    assert relative_error(image, expected) < 3e-6
    for i in range(6):
        # slopes jump between voxels, so coordinates' rounding shows; a GPU's fused multiply-adds round otherwise
        assert relative_error(jacobian[..., i], exact[..., i]) < (6e-5 if GPU else 3e-5)


@pytest.mark.parametrize("materials", [("water",), ("soft", "bone", "metal"), ("soft", "bone", "air", "iron")])
def test_any_number_of_materials(materials):
    volume = patient(materials)
    pose = VIEWS[-1]
    image, jacobian = cuda(volume, SMALL, pose)
    expected, exact = reference.render_with_jacobian(as_packed(volume), SMALL, pose, Beam())
    assert relative_error(image, expected) < 2e-5  # a beam with metal is compressed to 3e-5
    assert relative_error(jacobian, exact) < 3e-5


def test_each_view_may_have_a_beam_of_its_own():
    volume, poses = patient(), Pose.cat([VIEWS[0], VIEWS[-1], VIEWS[0]])
    beams = [Beam(kilovolts=60), MONO, Beam(kilovolts=120)]  # of different numbers of lines
    image, jacobian = cuda(volume, SMALL, poses, beams)
    for i, beam in enumerate(beams):
        alone, alone_jacobian = cuda(volume, SMALL, poses[i], beam)
        assert_close(image[i], alone[0], atol=1e-6, rtol=1e-6)
        assert_close(jacobian[i], alone_jacobian[0], atol=1e-6, rtol=1e-5)
    assert relative_error(image[0], image[2]) > 0.01
    assert [len(part) for part in cuda(volume, SMALL, Pose.zero(0))] == [0, 0]


def test_sixteen_bits_a_material_cost_little():
    volume = patient()
    image, jacobian = cuda(volume, SMALL, VIEWS[-2])
    expected, exact = reference.render_with_jacobian(in_double(volume), SMALL, VIEWS[-2], Beam())
    assert relative_error(image, expected) < 5e-6
    assert relative_error(jacobian, exact) < 2e-4
    halves = replace(volume, density=volume.density.half().double())
    assert relative_error(image, expected) < 0.1 * relative_error(reference.render(halves, SMALL, VIEWS[-2], Beam()), expected)


def test_a_batch_is_its_views():
    volume, poses = patient(), Pose.cat(VIEWS[3:5])
    image, jacobian = cuda(volume, SMALL, poses)
    for i in range(len(poses)):
        alone, its = cuda(volume, SMALL, poses[i])
        assert torch.equal(image[i], alone[0])
        assert torch.equal(jacobian[i], its[0])


@given(
    index=st.tuples(*[st.integers(0, 39)] * 3),
    numbers=st.tuples(*[st.floats(-180, 180)] * 3, *[st.floats(-20, 20)] * 3),
)
@settings(max_examples=15, deadline=None)
def test_no_voxel_is_skipped_as_air(index, numbers):
    # one voxel in an empty grid, seen through a detector that it fills: whatever the search for the body leaves out is lost
    density = torch.zeros(40, 40, 40)
    density[index[2], index[1], index[0]] = 1.0
    matrix = grid((40, 40, 40), (4.0, 4.0, 4.0))
    volume = water(density, matrix)
    pose = Pose(list(numbers))
    carm = detector((8, 8), (1.0, 1.0))
    centre = torch.tensor([*index, 1.0], dtype=torch.float64)
    row, col = carm.project((pose.camera_from_world(carm, volume.isocenter)[0] @ matrix @ centre)[None, :3])[0].tolist()
    carm = carm.cropped(round(row) - 4, round(col) - 4, (8, 8))
    image = render(there(volume), carm, pose, MONO, backend="cuda").cpu()
    expected = reference.render(as_packed(volume), carm, pose, MONO)
    assert expected.max() > 0
    assert_close(image.double(), expected, atol=1e-4 * float(expected.max()), rtol=1e-4)


def test_slab_has_thickness_over_cosine():
    density = torch.zeros(20, 16, 20)
    density[:, 2:14] = 0.7
    volume = water(density, grid((20, 16, 20), (16.0, 4.0, 16.0)))
    carm = detector((8, 8), (9.0, 9.0))
    pose = Pose(rx=20, ry=-25, rz=15)
    _, rays = world_rays(carm, pose, volume)
    image, _ = cuda(volume, carm, pose, MONO)
    assert_close(image[0].double() / float(MONO.attenuation(["water"])), 0.7 * 4.8 / rays[..., 1].abs(), rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    ("carm", "pose"),
    [
        (detector((9, 9), (40.0, 40.0), principal_point=(30.0, 4.0)), Pose(ty=-250)),  # most rays miss
        (CArm(source_to_detector=300.0, source_to_isocenter=20.0, shape=(9, 9), pixel_spacing=20.0), Pose(ry=30)),  # the source is inside
        (CArm(source_to_detector=60.0, source_to_isocenter=50.0, shape=(9, 9), pixel_spacing=5.0), Pose(rx=30)),  # so is the detector
        (detector((1, 9), 9.0), Pose()),
    ],
)
def test_rays_that_begin_or_end_anywhere(carm, pose):
    volume = patient()
    image, jacobian = cuda(volume, carm, pose)
    expected, exact = reference.render_with_jacobian(as_packed(volume), carm, pose, Beam())
    assert_close(image.double(), expected.double(), atol=2e-5, rtol=2e-5)
    assert_close(jacobian.double(), exact.double(), atol=1e-4 * float(exact.abs().max()), rtol=1e-3)


def test_nothing_casts_no_shadow_and_much_casts_a_finite_one():
    volume = patient(("soft", "bone", "metal"))
    none = replace(volume, density=torch.zeros_like(volume.density))
    image, jacobian = cuda(none, SMALL, Pose())
    assert image.abs().max() < 1e-6
    assert not jacobian.any()
    image, jacobian = cuda(replace(volume, density=1e4 * volume.density), SMALL, Pose())
    assert torch.isfinite(image).all()
    assert torch.isfinite(jacobian).all()
    assert 80 < image.max() < 100


def test_nothing_is_read_that_is_not_the_volumes():
    """Poison shows wherever it is read. One of these rays leaves by the grid's first plane, where rounding may lead a plane below it."""
    density = torch.ones(64, 128, 128)
    volume = there(water(density, grid((64, 128, 128))))
    carm = case.carm(256).cropped(216, 192, (8, 8))
    pose = Pose([-14.128776887818077, 4.140862560725985, -2.917522558989263, -8.382380545680464, -27.26530197997698, 28.727329129448336])
    image, jacobian = cuda(volume, carm, pose)
    whole = packing.pack(volume)
    owned = torch.tensor([], dtype=torch.int32, device=volume.device).set_(whole.words.untyped_storage())
    poison = torch.full((1 << 20,), -1, dtype=torch.int32, device=volume.device)
    first = len(poison) + whole.words.storage_offset()
    fenced = replace(volume)
    words = torch.cat([poison, owned, poison])[first : first + len(whole.words)]
    fenced.derived("packed", lambda: replace(whole, words=words))
    again, its = cuda(fenced, carm, pose)
    assert torch.equal(image, again)
    assert torch.equal(jacobian, its)


def test_backward_is_the_jacobians_contraction():
    volume, weights = patient(), torch.rand(2, *SMALL.shape, generator=torch.Generator().manual_seed(0))
    numbers = Pose.cat(VIEWS[3:5]).numbers.float().requires_grad_()
    image = render(there(volume), SMALL, numbers, backend="cuda")
    (image.cpu() * weights).sum().backward()
    _, jacobian = cuda(volume, SMALL, Pose(numbers.detach()))
    assert numbers.grad is not None
    assert numbers.grad.dtype == torch.float32
    assert_close(numbers.grad, torch.einsum("bhw,bhwi->bi", weights, jacobian), rtol=1e-4, atol=1e-4)


def test_what_the_backend_cannot_do_is_said(monkeypatch):
    volume = patient()
    with pytest.raises(XrcoreError, match='float64, not float32; or use backend="auto"'):
        choose_backend(there(in_double(volume)), "cuda")
    assert choose_backend(there(volume), "cuda") == "cuda"
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(XrcoreError, match=r"there is no GPU \(.*\); or use backend="):
        choose_backend(volume, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(XrcoreError, match=r'the volume is on cpu, not on a GPU; move it there with volume.to\("cuda"\)'):
        choose_backend(volume, "cuda")
    assert choose_backend(volume) == "cpu"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(devices, "triton_installed", lambda: False)
    with pytest.raises(XrcoreError, match="Triton is not installed"):
        choose_backend(volume, "cuda")
    monkeypatch.setattr(devices, "triton_installed", lambda: True)
    monkeypatch.setattr(devices, "_launch_fails", lambda device: "Triton cannot run a kernel there")
    with pytest.raises(XrcoreError, match="Triton cannot run a kernel there"):
        choose_backend(volume, "cuda")


def test_the_interpreter_is_never_chosen():
    # it is a thousand times slower than the processor
    assert choose_backend(patient()) == "cpu"
    if not GPU:
        assert os.environ.get("TRITON_INTERPRET") == "1"
        assert devices.named_device("auto") == torch.device("cpu")


@pytest.mark.slow
def test_it_compiles_for_gpus_that_are_not_here(tmp_path):
    root = Path(__file__).parents[2]
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, str(root / "benchmarks" / "gpu_kernels.py"), "--architecture", "80", "90", "--out", str(tmp_path / "kernel")]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=True)
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| sm_")]
    assert len(rows) == 32
    for row in rows:
        name, registers, spilled = row[2].strip(), int(row[3]), int(row[4])
        # sine and cosine keep a table of 40 bytes for huge angles; elsewhere two words at most leave the registers
        assert spilled <= (40 if "step" in name else 8), name
        assert registers <= 128, name  # sixteen warps fit a multiprocessor, and more
        assert "image" not in name or math.isfinite(float(row[5])), name
