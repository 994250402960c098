"""Volume: positions, coarser copies, landmarks."""

from __future__ import annotations

import gc
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore._util.device_memory import OUT_OF_MEMORY, NoRoomError
from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.geometry import Pose
from xrcore.phantom import pelvis


def tilted(spacing: tuple[float, float, float], origin: tuple[float, float, float] = (10.0, -20.0, 30.0)) -> torch.Tensor:
    """A grid whose axes are not the world's, one of them flipped."""
    matrix = Pose(rx=20, ry=-30, rz=100).matrix()[0]
    matrix[:3, :3] = matrix[:3, :3] @ torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64) * torch.tensor(spacing))
    matrix[:3, 3] = torch.tensor(origin)
    return matrix


def filled(shape: tuple[int, int, int], spacing=(1.0, 1.5, 2.0), materials=("soft", "bone"), seed: int = 0) -> Volume:
    density = torch.rand(len(materials), *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Volume(density=density, materials=materials, world_from_voxel=tilted(spacing))


def world_positions(volume: Volume) -> torch.Tensor:
    """(D, H, W, 3) of the voxel centres."""
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in volume.shape), indexing="ij")
    return torch.stack([x, y, z], -1) @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]


def test_sizes_are_in_axis_order():
    volume = filled((8, 6, 4))
    assert volume.shape == (8, 6, 4)
    assert volume.spacing == pytest.approx((1.0, 1.5, 2.0))
    assert volume.extent == pytest.approx((4.0, 9.0, 16.0))


def test_isocentre_is_the_centre_of_the_extent():
    volume = filled((8, 6, 5))
    assert_close(volume.isocenter, world_positions(volume).mean((0, 1, 2)))


def test_a_transposed_matrix_is_refused():
    with pytest.raises(XrcoreError, match="Volume: world_from_voxel must be a finite, invertible 4x4 matrix whose last row is 0, 0, 0, 1"):
        Volume(density=torch.ones(1, 4, 4, 4), materials=("soft",), world_from_voxel=tilted((2.0, 2.0, 2.0)).mT)


def test_voxel_from_world_is_the_inverse():
    volume = filled((3, 3, 3))
    assert_close(volume.voxel_from_world @ volume.world_from_voxel, torch.eye(4, dtype=torch.float64))


def test_material_by_name():
    volume = filled((3, 4, 5))
    assert_close(volume.material("bone"), volume.density[1])
    with pytest.raises(XrcoreError, match="no material 'metal'; it has soft, bone"):
        volume.material("metal")


@pytest.mark.parametrize("shape", [(12, 12, 12), (13, 11, 10), (7, 5, 1)])
def test_coarser_keeps_the_mass_along_every_axis(shape):
    volume = filled(shape)
    coarse = volume.coarser(4.0)
    assert coarse.spacing == pytest.approx([min(wanted, most) for wanted, most in zip((4.0, 4.5, 4.0), volume.extent, strict=True)])
    for axis in range(3):
        spacing, coarse_spacing = volume.spacing[axis], coarse.spacing[axis]
        columns = volume.density.sum(3 - axis).sum((1, 2)) * spacing
        # a coarse column stands for the mean of the fine columns in it
        ratio = torch.tensor([round(c / s) for s, c in zip(volume.spacing, coarse.spacing, strict=True)])
        blocks = ratio.prod() / ratio[axis]
        assert_close(coarse.density.sum(3 - axis).sum((1, 2)) * coarse_spacing * blocks, columns)


def test_coarser_keeps_world_positions():
    # a density linear in world coordinates is unchanged by averaging blocks
    gradient, level = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64), 100.0
    fine = filled((12, 12, 12), materials=("soft",))
    fine = Volume(density=(world_positions(fine) @ gradient + level)[None], materials=("soft",), world_from_voxel=fine.world_from_voxel)
    coarse = fine.coarser(6.0)
    assert coarse.shape == (4, 3, 2)
    assert_close(coarse.density[0], world_positions(coarse) @ gradient + level)


def test_coarser_keeps_the_isocentre_and_pads_with_nothing():
    volume = filled((7, 7, 7))
    coarse = volume.coarser(4.0)
    assert coarse.shape == (4, 3, 2)
    assert_close(coarse.isocenter, volume.isocenter)
    assert_close(coarse.density[:, -1].mean((1, 2)) * 2 * 4 * 2 * 3 * 3 / (7 * 7), volume.density[:, -1].mean((1, 2)))
    assert coarse.materials == volume.materials
    assert coarse.density.dtype == volume.density.dtype


def test_coarser_than_its_extent_is_one_voxel():
    volume = filled((8, 6, 4))
    coarse = volume.coarser(20_000.0)
    assert coarse.shape == (1, 1, 1)
    assert coarse.extent == pytest.approx(volume.extent)
    assert_close(coarse.density[:, 0, 0, 0], volume.density.mean((1, 2, 3)))


def test_coarser_than_it_is_already_is_itself():
    volume = filled((4, 4, 4))
    assert volume.coarser(1.2) is volume


def ball_in_a_box(dtype: torch.dtype = torch.float32) -> Volume:
    """A bone ball of 12 voxels in a soft box."""
    density = torch.zeros(2, 30, 32, 34, dtype=dtype)
    density[0, 3:-3, 3:-3, 3:-3] = 1.0
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in (30, 32, 34)), indexing="ij")
    density[1][(z - 14) ** 2 + (y - 15) ** 2 + (x - 16) ** 2 < 144] = 1.8
    return Volume(density=density, materials=("soft", "bone"), world_from_voxel=tilted((2.0, 2.0, 2.0)))


def test_surface_points_are_spread_over_the_bone():
    volume = ball_in_a_box()
    points = volume.surface_points(32)
    assert points.shape == (32, 3)
    centre = volume.world_from_voxel @ torch.tensor([16.0, 15.0, 14.0, 1.0], dtype=torch.float64)
    assert (torch.linalg.norm(points - centre[:3], dim=1) < 24).all()
    apart = torch.cdist(points, points) + 1e9 * torch.eye(32, dtype=torch.float64)
    # 32 points packed in a ball of radius 24 cannot keep 24 mm; random ones come within 3 mm
    assert apart.min() > 8


def test_surface_points_are_the_same_for_the_same_volume():
    a, b = ball_in_a_box().surface_points(20), ball_in_a_box().surface_points(20)
    assert torch.equal(a, b)
    assert torch.equal(ball_in_a_box().surface_points(8), a[:8])
    assert torch.equal(ball_in_a_box(torch.float64).surface_points(20), a)


def test_surface_points_without_bone_are_on_what_there_is():
    soft = Volume(density=ball_in_a_box().density[:1], materials=("soft",), world_from_voxel=torch.eye(4))
    points = soft.surface_points(10)
    assert ((points >= 3) & (points <= 30)).all()
    boneless = Volume(
        density=ball_in_a_box().density * torch.tensor([1.0, 0.0])[:, None, None, None],
        materials=("soft", "bone"),
        world_from_voxel=torch.eye(4),
    )
    assert torch.equal(boneless.surface_points(10), points)


def test_surface_points_are_never_more_than_the_voxels():
    density = torch.zeros(1, 4, 4, 4)
    density[0, 1, 2, 3] = density[0, 2, 2, 2] = 1
    points = Volume(density=density, materials=("bone",), world_from_voxel=torch.eye(4)).surface_points(64)
    assert {tuple(p) for p in points.tolist()} == {(3.0, 2.0, 1.0), (2.0, 2.0, 2.0)}


def test_an_empty_volume_has_no_landmarks():
    with pytest.raises(XrcoreError, match="empty"):
        Volume(density=torch.zeros(1, 4, 4, 4), materials=("bone",), world_from_voxel=torch.eye(4)).surface_points()


def test_it_prints_what_it_is():
    assert repr(filled((8, 6, 4))) == "Volume(4 x 6 x 8 voxels of 1 x 1.5 x 2 mm, soft + bone)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density": torch.zeros(4, 4, 4)}, r"\(M, D, H, W\)"),
        ({"density": torch.zeros(1, 4, 4, 4, dtype=torch.int16)}, "float"),
        ({"materials": ("soft", "bone")}, "1 densities but 2 materials"),
        ({"world_from_voxel": torch.eye(3)}, "4x4"),
        ({"world_from_voxel": torch.zeros(4, 4)}, "invertible"),
        ({"world_from_voxel": torch.full((4, 4), float("nan"))}, "finite"),
    ],
)
def test_volume_rejects_nonsense(change, message):
    with pytest.raises(XrcoreError, match=message):
        Volume(**({"density": torch.zeros(1, 4, 4, 4), "materials": ("soft",), "world_from_voxel": torch.eye(4)} | change))


def test_a_volume_without_room_says_so(monkeypatch):
    volume = pelvis(spacing=10.0)

    def full(*_):
        raise OUT_OF_MEMORY("out of memory")

    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.raises(NoRoomError, match="does not fit into the memory of meta; read it at a coarser spacing"):
        volume.to(torch.device("meta"))


def test_a_volume_goes_to_a_device_once():
    volume = pelvis(spacing=10.0)
    assert volume.to("cpu") is volume
    there = volume.to(torch.device("meta"))
    assert there.device == torch.device("meta")
    assert volume.to(torch.device("meta")) is there
    assert there.materials == volume.materials
    assert torch.equal(there.world_from_voxel, volume.world_from_voxel)
    assert there.world_from_voxel.device == torch.device("cpu")
    assert torch.equal(there.isocenter, volume.isocenter)
    assert isinstance(there.coarser(20.0), Volume)
    assert there.coarser(20.0).device == torch.device("meta")


def test_what_is_derived_follows_changes_in_place():
    volume = filled((8, 8, 8))
    coarse, points = volume.coarser(4.0), volume.surface_points(4)
    assert volume.coarser(4.0) is coarse
    there = volume.to(torch.device("meta"))
    volume.density[:, :4] = 0
    assert_close(volume.coarser(4.0).density, coarse.density * (volume.coarser(4.0).density > 0))
    assert (volume.coarser(4.0).density[:, 0] == 0).all()
    assert not torch.equal(volume.surface_points(4), points)
    assert volume.to(torch.device("meta")) is not there
    before = volume.voxel_from_world
    volume.world_from_voxel[0, 3] += 5
    assert not torch.equal(volume.voxel_from_world, before)
    assert_close(volume.voxel_from_world @ volume.world_from_voxel, torch.eye(4, dtype=torch.float64))


def test_what_a_caller_writes_into_its_arrays_later_changes_nothing():
    matrix, isocenter, numbers = np.eye(4), np.zeros(3), np.zeros(6)
    volume = Volume(density=torch.ones(1, 4, 4, 4), materials=("soft",), world_from_voxel=matrix, isocenter=isocenter)
    pose = Pose(numbers)
    matrix[0, 0], isocenter[0], numbers[0] = 2.0, 5.0, 7.0
    assert volume.spacing == (1.0, 1.0, 1.0)
    assert volume.isocenter.tolist() == [0.0, 0.0, 0.0]
    assert pose == Pose.zero()


def test_volumes_of_inference_mode_serve_too():
    with torch.inference_mode():
        volume = filled((8, 8, 8))
        assert volume.coarser(4.0) is volume.coarser(4.0)


def test_a_pickle_holds_the_volume_alone():
    volume = filled((8, 8, 8))
    before = pickle.dumps(volume)
    volume.coarser(4.0)
    volume.surface_points(4)
    volume.to(torch.device("meta"))
    assert len(pickle.dumps(volume)) == len(before)
    again = pickle.loads(before)
    assert torch.equal(again.density, volume.density)
    assert torch.equal(again.isocenter, volume.isocenter)
    assert again.materials == volume.materials


@pytest.mark.parametrize("spacing", [0.5, 4.0])
def test_a_volume_goes_when_nobody_holds_it(spacing):
    volume = filled((8, 8, 8))
    volume.coarser(spacing)
    volume.voxel_from_world  # noqa: B018
    gone = weakref.ref(volume)
    gc.disable()  # which would find cycles, at some time
    try:
        del volume
        assert gone() is None
    finally:
        gc.enable()
