"""Both renderers against closed forms, each other, finite differences, and themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume, read_ct
from xrcore.geometry import CArm, Pose, camera_rays
from xrcore.renderer import choose_backend, cpu, reference, render, render_with_jacobian


def detector(shape: tuple[int, int] = (16, 14), pixel_spacing: float | tuple[float, float] = (4.5, 6.0), **other) -> CArm:
    return CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=shape, pixel_spacing=pixel_spacing, **other)


CARM = detector()
MONO = Beam.monochromatic(20.0)
BOTH = pytest.mark.parametrize("backend", ["reference", "cpu"])
OBLIQUE = [
    Pose(rx=-70, rz=50),
    Pose(rx=10, ry=-20, rz=33, tx=6, ty=-5, tz=12),
]
# and one view along each axis of the volume; no ray is as steep in one axis as in another
VIEWS = [
    Pose(),
    Pose(ry=90),
    Pose(rx=80),
    *OBLIQUE,
    Pose(ry=115, rx=21, tz=-8),
]


def grid(
    shape: tuple[int, int, int], spacing: tuple[float, float, float] = (2.0, 2.0, 2.0), tilt: Pose | None = None, flip=()
) -> torch.Tensor:
    """world_from_voxel of a grid whose middle is the world's origin, optionally turned, with axes of `flip` reversed."""
    matrix = torch.eye(4, dtype=torch.float64)
    axes = torch.diag(torch.tensor([-s if i in flip else s for i, s in enumerate(spacing)], dtype=torch.float64))
    matrix[:3, :3] = (tilt or Pose()).matrix()[0, :3, :3] @ axes
    matrix[:3, 3] = -matrix[:3, :3] @ (torch.tensor(shape[::-1], dtype=torch.float64) - 1) / 2
    return matrix


def water(density: torch.Tensor, matrix: torch.Tensor, isocenter: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Volume:
    return Volume(density=density[None], materials=("water",), world_from_voxel=matrix, isocenter=torch.tensor(isocenter))


def positions(shape: tuple[int, int, int], matrix: torch.Tensor) -> torch.Tensor:
    """(D, H, W, 3) world positions of the voxel centres."""
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    return torch.stack([x, y, z], -1) @ matrix[:3, :3].T + matrix[:3, 3]


def area_density(volume: Volume, carm: CArm, pose: Pose, backend: str) -> torch.Tensor:
    """(B, H, W) [g/cm2] of water: the image of one energy is linear in it."""
    return render(volume, carm, pose, MONO, backend=backend).double() / float(MONO.attenuation(["water"]))


def world_rays(carm: CArm, pose: Pose, volume: Volume) -> tuple[torch.Tensor, torch.Tensor]:
    """Source (3,) and unit directions (H, W, 3)."""
    matrix = pose.world_from_camera(carm, volume.isocenter)[0]
    rays = camera_rays(carm) @ matrix[:3, :3].T
    return matrix[:3, 3], rays / torch.linalg.norm(rays, dim=-1, keepdim=True)


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.norm(actual.double() - expected.double()) / torch.linalg.norm(expected.double()))


@cache
def patient(materials: tuple[str, ...] = ("soft", "bone"), dtype: torch.dtype = torch.float32, finer: int = 1) -> Volume:
    """Smooth blobs in a tilted, anisotropic, flipped grid with empty borders: structure everywhere, kinks nowhere much."""
    generator = torch.Generator().manual_seed(0)
    shape = (38 * finer, 44 * finer, 50 * finer)
    matrix = grid(shape, (3.0 / finer, 3.5 / finer, 4.0 / finer), Pose(rx=8, ry=-13, rz=21), flip=(1,))
    where = positions(shape, matrix)
    density = torch.zeros(len(materials), *shape, dtype=torch.float64)
    for m in range(len(materials)):
        for _ in range(6):
            centre = (torch.rand(3, generator=generator, dtype=torch.float64) - 0.5) * 70
            width = 10 + 10 * torch.rand(1, generator=generator, dtype=torch.float64)
            density[m] += torch.exp(-((where - centre) ** 2).sum(-1) / (2 * width**2))
    density = torch.where(density > 0.02, density - 0.02, 0.0)
    return Volume(density=density.to(dtype), materials=materials, world_from_voxel=matrix, isocenter=torch.tensor([3.0, -2.0, 4.0]))


def in_double(volume: Volume) -> Volume:
    return replace(volume, density=volume.density.double())


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# closed forms


@BOTH
@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize(("axis", "pose"), [(1, Pose(rx=20, ry=-25, rz=15)), (0, Pose(ry=90, rx=-30)), (2, Pose(rx=75, ry=20))])
def test_slab_has_thickness_over_cosine(backend, margin, axis, pose):
    # 12 slices of 4 mm, with and without empty slices around: the end slices count in full
    shape = [64, 64, 64]
    shape[2 - axis] = 12 + 2 * margin
    density = torch.zeros(shape)
    density.narrow(2 - axis, margin, 12).fill_(0.7)
    volume = water(density, grid(tuple(shape), (4.0, 4.0, 4.0)))
    _, rays = world_rays(CARM, pose, volume)
    cosine = rays[..., axis].abs()
    assert float(cosine.min()) > math.cos(math.pi / 4)  # else another axis is dominant
    assert_close(area_density(volume, CARM, pose, backend)[0], 0.7 * 4.8 / cosine, rtol=2e-5, atol=0)


@BOTH
def test_sphere_has_chords(backend):
    # Voxels of 1 mm, each the share of it inside the sphere. That mean and the bilinear one blur by h^2 / 12 + h^2 / 6 in
    # variance along both axes of a slice, which shortens the central chord by h^2 / (2 radius), and outer ones by more.
    radius, shape, carm = 30.0, (70, 70, 70), detector(pixel_spacing=(8.0, 9.0))
    offset = torch.tensor([2.3, -1.4, 0.9], dtype=torch.float64)
    matrix = grid(shape, (1.0, 1.0, 1.0))
    where = (positions(shape, matrix) - offset).float()
    parts = (torch.cartesian_prod(*[torch.arange(3)] * 3) - 1) / 3
    inside = sum((torch.linalg.norm(where + part, dim=-1) < radius).float() for part in parts) / 27
    volume = water(inside, matrix)
    for pose in VIEWS:
        source, rays = world_rays(carm, pose, volume)
        to_centre = offset - source
        distance = torch.linalg.norm(torch.linalg.cross(rays, to_centre.expand_as(rays), dim=-1), dim=-1)
        chord = 2 * (radius**2 - distance**2).clamp_min(0).sqrt() / 10
        image = area_density(volume, carm, pose, backend)[0]
        inner = distance < 0.8 * radius
        assert inner.sum() > 50
        assert (image - chord)[inner].abs().max() < 0.04  # less than half a voxel
        assert -0.005 < (image - chord)[inner].mean() < 0  # [g/cm2]; h^2 / (2 radius) is 0.0017
        assert image[distance > radius + 2].abs().max() == 0


def gaussian_line_integral(volume: Volume, centre: torch.Tensor, width: float, carm: CArm, pose: Pose) -> torch.Tensor:
    source, rays = world_rays(carm, pose, volume)
    distance = torch.linalg.norm(torch.linalg.cross(rays, (centre - source).expand_as(rays), dim=-1), dim=-1)
    return math.sqrt(2 * math.pi) * width / 10 * torch.exp(-(distance**2) / (2 * width**2))


GRIDS = {
    "isotropic": ((60, 60, 60), (2.0, 2.0, 2.0), Pose(), ()),
    "anisotropic": ((34, 80, 60), (2.0, 1.5, 3.5), Pose(), ()),
    "flipped": ((60, 60, 60), (2.0, 2.0, 2.0), Pose(), (0, 2)),
    "turned": ((60, 60, 64), (2.0, 2.5, 2.2), Pose(rx=35, ry=-50, rz=120), ()),
    "turned and mirrored": ((60, 60, 64), (2.0, 2.5, 2.2), Pose(rx=-20, ry=10, rz=77), (1,)),
}


@BOTH
@pytest.mark.parametrize("name", GRIDS)
def test_gaussian_ball_is_the_same_on_every_grid(backend, name):
    """Value and all six derivatives, against the line integral's own.

    Bilinear interpolation is off by spacing^2 / 8 times the second derivative, 1 / width^2, along each of two axes. Its slope
    is constant over a voxel: off by spacing / sqrt(12) times the second derivative, which is as large as slope / width.
    """
    shape, spacing, tilt, flip = GRIDS[name]
    width, centre = 14.0, torch.tensor([9.0, -7.0, 5.0], dtype=torch.float64)
    matrix = grid(shape, spacing, tilt, flip)
    density = torch.exp(-((positions(shape, matrix) - centre) ** 2).sum(-1) / (2 * width**2)).float()
    volume = water(density, matrix)
    mu = float(MONO.attenuation(["water"]))
    for pose in VIEWS[1::2]:
        image, jacobian = render_with_jacobian(volume, CARM, pose, MONO, backend=backend)
        exact = gaussian_line_integral(volume, centre, width, CARM, pose)
        assert (image[0] / mu - exact).abs().max() < 1.1 * max(spacing) ** 2 / (4 * width**2) * exact.max()
        columns = []
        for i in range(6):
            step = 1e-3 * torch.eye(6, dtype=torch.float64)[i]
            after, before = (gaussian_line_integral(volume, centre, width, CARM, Pose(pose.numbers + s)) for s in (step, -step))
            columns.append((after - before) / 2e-3)
            assert relative_error(jacobian[0, ..., i] / mu, columns[i]) < 3 * max(spacing) / (math.sqrt(12) * width)
        assert relative_error(jacobian[0] / mu, torch.stack(columns, -1)) < 1.2 * max(spacing) / (math.sqrt(12) * width)


@BOTH
@pytest.mark.parametrize("pose", VIEWS)
def test_single_voxel_casts_its_bilinear_footprint(backend, pose):
    shape, spacing, index = (9, 11, 10), (6.0, 5.0, 7.0), (6, 5, 3)  # x, y, z
    matrix = grid(shape, spacing, Pose(rz=10), flip=(2,))
    density = torch.zeros(shape)
    density[index[::-1]] = 1.3
    where = positions(shape, matrix)[index[::-1]] + torch.tensor([1.0, -2.0, 1.5])
    volume = water(density, matrix, isocenter=tuple(where.tolist()))
    carm = detector(pixel_spacing=(2.4, 2.6))
    voxel_from_camera = (volume.voxel_from_world @ pose.world_from_camera(carm, volume.isocenter)[0]).numpy()
    expected = np.zeros(carm.shape)
    for row, col in np.ndindex(carm.shape):
        ray = np.linalg.inv(carm.K.numpy()) @ (col, row, 1)
        direction = voxel_from_camera[:3, :3] @ ray
        axis = int(np.abs(direction).argmax())
        t = (index[axis] - voxel_from_camera[axis, 3]) / direction[axis]
        away = np.abs(voxel_from_camera[:3, 3] + t * direction - index)
        step = np.linalg.norm(ray) / abs(direction[axis]) / 10
        expected[row, col] = 1.3 * step * np.prod(np.clip(1 - np.delete(away, axis), 0, None))
    assert (expected > 0).sum() > 30
    assert_close(area_density(volume, carm, pose, backend)[0], torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


@BOTH
@pytest.mark.parametrize("pose", VIEWS)
def test_single_voxel_keeps_its_mass(backend, pose):
    # its mass [mg] is the integral of area density over the sphere around the source, at its distance
    shape, spacing = (9, 9, 9), (6.0, 5.0, 7.0)
    density = torch.zeros(shape)
    density[4, 4, 4] = 1.0
    volume = water(density, grid(shape, spacing), isocenter=(3.0, -2.0, 1.0))
    carm = detector((240, 300), (0.4, 0.5))
    image = area_density(volume, carm, pose, backend)[0]
    assert image[[0, -1]].abs().max() == image[:, [0, -1]].abs().max() == 0  # all of it is in view
    source = pose.world_from_camera(carm, volume.isocenter)[0, :3, 3]
    cosine = 1 / torch.linalg.norm(camera_rays(carm), dim=-1)
    steradian = 0.4 * 0.5 * cosine**3 / carm.source_to_detector**2
    mass = (image * steradian).sum() / 100 * (source @ source) * 1000
    assert float(mass) == pytest.approx(6 * 5 * 7, rel=0.004)


@BOTH
def test_empty_volume_is_black(backend):
    volume = replace(patient(), density=torch.zeros(2, 20, 20, 20))
    image, jacobian = render_with_jacobian(volume, CARM, Pose.random(2, generator=torch.Generator().manual_seed(0)), backend=backend)
    assert image.abs().max() < 1e-6
    assert jacobian.abs().max() == 0
    assert image.shape == (2, 16, 14)
    assert jacobian.shape == (2, 16, 14, 6)


@BOTH
@pytest.mark.parametrize("pose", [Pose(tz=2000), Pose(tz=-900), Pose(tx=3000)])
def test_behind_the_source_beyond_the_detector_and_aside_is_nothing(backend, pose):
    assert render(patient(), CARM, pose, backend=backend).abs().max() < 1e-6


@BOTH
@pytest.mark.parametrize(("tz", "thickness"), [(742.5, 96.0), (742.5 + 48, 48.0), (742.5 - 1259.65, 96.0), (742.5 - 1259.65 - 48, 48.0)])
def test_part_behind_the_source_or_the_detector_is_cut_off(backend, tz, thickness):
    # a slab of 48 slices of 4 mm about the isocentre: whole slices between source and detector count
    volume = water(torch.ones(60, 48, 60), grid((60, 48, 60), (4.0, 4.0, 4.0)))
    pose = Pose(tz=tz)
    _, rays = world_rays(CARM, pose, volume)
    assert_close(area_density(volume, CARM, pose, backend)[0], thickness / 10 / rays[..., 1], rtol=2e-5, atol=0)


@BOTH
def test_flipping_and_permuting_axes_changes_nothing(backend):
    volume, pose = patient(), Pose.cat(OBLIQUE)
    matrix = volume.world_from_voxel
    flipped = matrix.clone()
    flipped[:3, 3] += matrix[:3, 0] * (volume.shape[2] - 1)
    flipped[:3, 0] *= -1
    image, jacobian = render_with_jacobian(volume, CARM, pose, backend=backend)
    for density, world_from_voxel in (
        (volume.density.flip(3), flipped),
        (volume.density.permute(0, 2, 3, 1), matrix[:, [2, 0, 1, 3]]),  # the new x, y, z are the old z, x, y
    ):
        again = replace(volume, density=density.contiguous(), world_from_voxel=world_from_voxel)
        same, same_jacobian = render_with_jacobian(again, CARM, pose, backend=backend)
        assert_close(same, image, rtol=1e-4, atol=1e-5)
        assert relative_error(same_jacobian, jacobian) < 1e-4


@BOTH
def test_turning_the_world_changes_nothing(backend):
    volume = patient()
    turn = Pose(rx=25, ry=140, rz=-60, tx=100, ty=50, tz=-20).matrix()[0]
    turned = replace(volume, world_from_voxel=turn @ volume.world_from_voxel, isocenter=turn[:3, :3] @ volume.isocenter + turn[:3, 3])
    for pose in VIEWS:
        same = Pose.from_world_from_camera(turn @ pose.world_from_camera(CARM, volume.isocenter), CARM, turned.isocenter)
        assert_close(render(turned, CARM, same, backend=backend), render(volume, CARM, pose, backend=backend), rtol=1e-4, atol=1e-5)


@BOTH
def test_coarser_keeps_the_image(backend):
    # blocks keep the sums along a ray, so a smooth patient looks the same on twice the spacing
    volume, pose = patient(finer=2), Pose.cat(VIEWS[2:4])
    coarse = volume.coarser(3.5)
    assert coarse.shape == patient().shape
    image = render(volume, CARM, pose, backend=backend)
    assert relative_error(render(coarse, CARM, pose, backend=backend), image) < 0.01


@BOTH
def test_polychromatic_image_is_the_beams_image_of_the_area_densities(backend):
    volume, pose = patient(), Pose.cat(VIEWS)
    area = torch.stack(
        [
            area_density(water(volume.density[m], volume.world_from_voxel, tuple(volume.isocenter.tolist())), CARM, pose, backend)
            for m in range(2)
        ],
        -1,
    )
    assert_close(area, reference.area_density(in_double(volume), CARM, pose), rtol=1e-4, atol=1e-4)
    for beam in (Beam(), Beam(kilovolts=120)):
        assert_close(render(volume, CARM, pose, beam, backend=backend).double(), beam.image(area, volume.materials), rtol=1e-4, atol=2e-5)


# detectors


@BOTH
@pytest.mark.parametrize(("top", "left", "shape"), [(3, 2, (7, 11)), (10, 0, (1, 14)), (0, 13, (16, 1)), (11, 9, (1, 1))])
def test_part_of_a_detector_is_part_of_the_image(backend, top, left, shape):
    volume, pose = patient(), Pose.cat(OBLIQUE)
    carm = detector(pixel_spacing=(10.0, 12.0), principal_point=(-2.0, 10.25))
    image, jacobian = render_with_jacobian(volume, carm, pose, backend=backend)
    part, part_jacobian = render_with_jacobian(volume, carm.cropped(top, left, shape), pose, backend=backend)
    rows, cols = slice(top, top + shape[0]), slice(left, left + shape[1])
    assert image[:, rows, cols].abs().max() > 0.05
    assert_close(part, image[:, rows, cols], rtol=1e-4, atol=1e-5)
    assert_close(part_jacobian, jacobian[:, rows, cols], rtol=1e-3, atol=1e-5)


# fast against slow


@pytest.mark.parametrize("materials", [("soft",), ("soft", "bone"), ("soft", "bone", "metal"), ("soft", "bone", "titanium", "iron")])
def test_cpu_agrees_with_the_reference(materials):
    volume, beam, pose = patient(materials), Beam(), Pose.cat(VIEWS[1::2])
    image, jacobian = render_with_jacobian(volume, CARM, pose, beam, backend="cpu")
    exact, exact_jacobian = render_with_jacobian(in_double(volume), CARM, pose, beam, backend="reference")
    assert exact.max() > 0.5
    assert_close(image.double(), exact, rtol=1e-4, atol=3e-5)
    assert relative_error(jacobian, exact_jacobian) < 1e-3
    for i in range(6):
        assert relative_error(jacobian[..., i], exact_jacobian[..., i]) < 2e-3
    assert_close(render(volume, CARM, pose, beam, backend="cpu"), image, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize(("rx", "ry", "depth"), [(0, 0, 20.0), (10, 40, -5.0), (-70, 20, 0.0), (30, 0, 742.5 + 500)])
def test_cpu_agrees_where_source_or_detector_is_inside(rx, ry, depth):
    # the isocentre is `depth` in front of the source; a wide cone, so that all three axes are dominant somewhere
    volume, carm = patient(), detector(pixel_spacing=(90.0, 110.0))
    toward = Pose(rx=rx, ry=ry).matrix()[0, :3, 2]
    pose = Pose(torch.cat([torch.tensor([rx, ry, 0.0]), (carm.source_to_isocenter - depth) * toward]))
    image, jacobian = render_with_jacobian(volume, carm, pose, backend="cpu")
    exact, exact_jacobian = render_with_jacobian(in_double(volume), carm, pose, backend="reference")
    assert exact.max() > 0.05
    assert_close(image.double(), exact, rtol=1e-4, atol=3e-5)
    assert relative_error(jacobian, exact_jacobian) < 2e-3


@pytest.mark.parametrize("pose", VIEWS)
def test_cpu_jacobian_is_the_references_central_difference(pose):
    volume, beam = patient(), Beam()
    _, jacobian = render_with_jacobian(volume, CARM, pose, beam, backend="cpu")
    assert relative_error(jacobian[0], central_differences(in_double(volume), pose, beam)) < 2e-3


def central_differences(volume: Volume, pose: Pose, beam: Beam, carm: CArm = CARM, step: float = 1e-5) -> torch.Tensor:
    steps = torch.cat([torch.eye(6), -torch.eye(6)]).double() * step
    images = reference.render(volume, carm, Pose(pose.numbers + steps), beam)
    return ((images[:6] - images[6:]) / (2 * step)).permute(1, 2, 0)


ANGLE, SHIFT = st.floats(-180, 180, width=32), st.floats(-8, 8, width=32)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    materials=st.sampled_from([("soft",), ("soft", "bone"), ("soft", "bone", "metal")]),
    count=st.integers(1, 12),
    pixel_spacing=st.sampled_from([0.5, 2.0, 6.0, 10.0, 40.0]),
    numbers=st.tuples(ANGLE, ANGLE, ANGLE, SHIFT, SHIFT, SHIFT),
)
def test_skipping_air_loses_nothing(seed, materials, count, pixel_spacing, numbers):
    """A few isolated voxels anywhere, corners and borders included, seen by detectors from narrow to very wide."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 45, 3).tolist())
    density = torch.zeros(len(materials), *shape)
    for _ in range(count):
        index = [rng.choice([0, n - 1, rng.integers(n)]) for n in shape]
        density[(rng.integers(len(materials)), *index)] = 1.0
    matrix = grid(shape, tuple(rng.uniform(1, 4, 3).tolist()))
    looked_at = positions(shape, matrix)[tuple(index)]
    volume = Volume(density=density, materials=materials, world_from_voxel=matrix, isocenter=looked_at)
    pose, beam = Pose(list(numbers)), Beam.monochromatic(50.0)
    carm = CArm(source_to_detector=600, source_to_isocenter=300, shape=(15, 18), pixel_spacing=pixel_spacing)
    image, jacobian = render_with_jacobian(volume, carm, pose, beam, backend="cpu")
    exact = reference.render(in_double(volume), carm, pose, beam)
    # rays at 45 degrees to the grid may take either axis, and rounding decides which
    directions = camera_rays(carm) @ (volume.voxel_from_world @ pose.world_from_camera(carm, volume.isocenter)[0])[:3, :3].T
    steepest = directions.abs().sort(-1).values
    clear = steepest[..., 2] - steepest[..., 1] > 1e-6 * steepest[..., 2]
    assert (image.double() - exact)[0, clear].abs().max() <= 5e-6 + 1e-4 * exact.max()
    assert torch.isfinite(jacobian).all()


@pytest.mark.parametrize("column", [0, 3, 7])
@pytest.mark.parametrize("rz", [0.0, 45.0])
def test_neighbouring_rays_that_spread_do_not_share_what_they_skip(column, rz):
    # eight rays from close together to 40 voxels apart, along an axis and diagonally, one voxel on one of them
    pose = Pose(rz=rz)
    rng = np.random.default_rng(0)
    for pixel_spacing in np.concatenate([np.linspace(1, 4, 40), np.linspace(4, 12, 20)]):
        carm = CArm(source_to_detector=600, source_to_isocenter=300, shape=(1, 8), pixel_spacing=float(pixel_spacing))
        isocenter = torch.from_numpy(rng.integers((32, 10, 32), (40, 11, 40)).astype(float))  # anywhere in a block of the map
        along_row = pose.world_from_camera(carm, isocenter)[0, :3, 0]
        x, y, z = torch.round(isocenter + (column - 3.5) * pixel_spacing / 2 * along_row).int().tolist()
        density = torch.zeros(1, 72, 20, 72)
        density[0, z, y, x] = 1.0
        volume = Volume(density=density, materials=("bone",), world_from_voxel=torch.eye(4), isocenter=isocenter)
        image, exact = (render(volume, carm, pose, backend=backend) for backend in ("cpu", "reference"))
        assert exact[0, 0, column] > 0
        assert_close(image, exact, rtol=1e-4, atol=1e-5)


# the oracle against numerical differentiation


@pytest.mark.parametrize("numbers", [(5.3, -7.1, 3.7, 4.1, -2.3, 6.7), (-11.3, 82.1, -3.9, 1.1, 9.3, -4.7)])
def test_reference_passes_gradcheck(numbers):
    density = torch.rand(2, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = grid((3, 4, 3), (20.0, 18.0, 22.0), Pose(rx=11, ry=7, rz=-5))
    carm = detector((2, 2), (31.0, 37.0))

    def image(numbers, density):
        volume = Volume(density=density, materials=("soft", "bone"), world_from_voxel=matrix)
        return render(volume, carm, Pose(numbers), backend="reference")

    pose = torch.tensor([numbers], dtype=torch.float64)
    assert image(pose, density).min() > 0.01
    assert torch.autograd.gradcheck(image, (pose.requires_grad_(), density), eps=1e-6, atol=1e-7)
    assert torch.autograd.gradcheck(image, (pose.detach(), density.requires_grad_()), eps=1e-6, atol=1e-7)


def test_reference_jacobian_is_its_central_difference():
    volume = patient(dtype=torch.float64)
    for pose in OBLIQUE:
        _, jacobian = render_with_jacobian(volume, CARM, pose, backend="reference")
        assert relative_error(jacobian[0], central_differences(volume, pose, Beam())) < 1e-4


def test_volume_gradient_is_the_transpose():
    # the monochromatic image is linear in density: <image(a), weights> = <a, gradient>
    volume = patient(("water",), torch.float64)
    density = torch.rand_like(volume.density).requires_grad_()
    weights = torch.rand(6, *CARM.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pose = Pose.cat(VIEWS)
    ((render(replace(volume, density=density), CARM, pose, MONO) * weights).sum()).backward()
    assert_close((density.grad * volume.density).sum(), (render(volume, CARM, pose, MONO) * weights).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cpu_backward_is_the_references(dtype):
    volume = patient()
    weights = torch.randn(6, *CARM.shape, generator=torch.Generator().manual_seed(1))
    gradients = []
    for backend in ("cpu", "reference"):
        numbers = Pose.cat(VIEWS).numbers.to(dtype).requires_grad_()
        (render(volume, CARM, Pose(numbers), backend=backend) * weights).sum().backward()
        assert numbers.grad.dtype == dtype
        gradients.append(numbers.grad)
    assert relative_error(*gradients) < 2e-3
    _, jacobian = render_with_jacobian(volume, CARM, Pose.cat(VIEWS), backend="cpu")
    assert_close(gradients[0].float(), torch.einsum("bhw,bhwi->bi", weights, jacobian), rtol=1e-3, atol=1e-3)


def test_no_graph_without_a_gradient():
    assert not render(patient(), CARM, Pose(), backend="cpu").requires_grad
    with torch.no_grad():
        assert not render(patient(), CARM, Pose(torch.zeros(1, 6, requires_grad=True)), backend="cpu").requires_grad


def test_no_jacobian_is_computed_where_gradients_are_off(monkeypatch):
    asked, of_cpu = [], cpu.render
    monkeypatch.setattr(
        cpu, "render", lambda *given, with_jacobian: asked.append(with_jacobian) or of_cpu(*given, with_jacobian=with_jacobian)
    )
    pose = Pose(torch.zeros(1, 6, requires_grad=True))
    with torch.no_grad():
        render(patient(), CARM, pose, backend="cpu")
    render(patient(), CARM, pose, backend="cpu")
    assert asked == [False, True]


# batches and threads


@BOTH
def test_a_batch_is_its_images_one_by_one(backend):
    volume, pose = patient(), Pose.cat(OBLIQUE)
    image, jacobian = render_with_jacobian(volume, CARM, pose, backend=backend)
    for i in range(len(pose)):
        one, one_jacobian = render_with_jacobian(volume, CARM, pose[i], backend=backend)
        assert_close(one[0], image[i], rtol=1e-6, atol=1e-6)
        assert_close(one_jacobian[0], jacobian[i], rtol=1e-5, atol=1e-6)
        if backend == "cpu":
            assert torch.equal(one[0], image[i])
            assert torch.equal(one_jacobian[0], jacobian[i])


@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_a_bit():
    volume, pose = patient(), Pose.cat(VIEWS)
    carm = detector((61, 50), 1.6)  # enough samples to be shared out, and rows that fill no band
    results = []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        results.append((*render_with_jacobian(volume, carm, pose, backend="cpu"), render(volume, carm, pose, backend="cpu")))
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            assert torch.equal(a, b)


def test_numbers_and_poses_are_both_accepted():
    volume, pose = patient(), VIEWS[4]
    assert torch.equal(render(volume, CARM, pose.numbers, backend="cpu"), render(volume, CARM, pose, backend="cpu"))
    assert torch.equal(render(volume, CARM, pose.numbers[0], backend="cpu"), render(volume, CARM, pose, backend="cpu"))


# choosing a backend


def test_auto_takes_the_fastest_that_can():
    volume = patient()
    assert choose_backend(volume) == "cpu"
    assert choose_backend(in_double(volume)) == "reference"
    assert choose_backend(replace(volume, density=volume.density.clone().requires_grad_())) == "reference"
    assert choose_backend(volume, "reference") == "reference"
    assert render(in_double(volume), CARM, Pose()).dtype == torch.float64
    assert render(volume, CARM, Pose()).dtype == torch.float32


@pytest.mark.parametrize("draw", [render, render_with_jacobian])
def test_errors_name_the_obstacle(draw):
    volume = patient()
    with pytest.raises(XrcoreError, match="unknown backend 'gpu'; choose from auto, reference, cpu"):
        draw(volume, CARM, Pose(), backend="gpu")
    with pytest.raises(XrcoreError, match="float64, not float32; or use backend="):
        draw(in_double(volume), CARM, Pose(), backend="cpu")
    with pytest.raises(XrcoreError, match="gradient with respect to the volume"):
        draw(replace(volume, density=volume.density.clone().requires_grad_()), CARM, Pose(), backend="cpu")
    with pytest.raises(XrcoreError, match=r"\(6,\) or \(B, 6\)"):
        draw(volume, CARM, torch.zeros(3))
    with pytest.raises(XrcoreError, match="no material"):
        draw(replace(volume, materials=("soft", "wood")), CARM, Pose())


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_cpu_rejects_densities_that_are_none(value):
    density = torch.zeros(1, 4, 4, 4)
    density[0, 1, 1, 1] = value
    with pytest.raises(XrcoreError, match="finite and not negative"):
        render(water(density[0], torch.eye(4)), CARM, Pose(), backend="cpu")


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_density_changed_in_place_is_rendered_as_it_is(backend):
    volume = patient()
    before = render(volume, CARM, Pose(), backend=backend)
    volume.density.mul_(0.5)
    after = render(volume, CARM, Pose(), backend=backend)
    assert_close(after, render(replace(volume), CARM, Pose(), backend=backend), rtol=0, atol=0)
    assert (after <= before).all()
    assert after.sum() < 0.7 * before.sum()


def test_cpu_rejects_a_volume_beyond_its_index_range():
    density = torch.zeros(1).expand(1, 1300, 1300, 1300)  # no memory behind it
    with pytest.raises(XrcoreError, match="too large"):
        render(Volume(density=density, materials=("water",), world_from_voxel=torch.eye(4)), CARM, Pose(), backend="cpu")


def test_it_stays_finite_behind_anything():
    # a metre of bone at 20 keV: no photon comes through
    volume = Volume(density=torch.full((1, 50, 50, 50), 1.9), materials=("bone",), world_from_voxel=grid((50, 50, 50), (20.0, 20.0, 20.0)))
    image, jacobian = render_with_jacobian(volume, CARM, Pose(ry=10), Beam.monochromatic(20.0), backend="cpu")
    assert torch.isfinite(image).all()
    assert torch.isfinite(jacobian).all()
    assert image.min() > 80


# real CTs

REAL = {
    "cort_abdomen_dicom": {},
    "rayemb_pelvis_bone.nii.gz": {"background": 0.0},
    "totalsegmentator_thorax.nii.gz": {},
    "sts_036.nii.gz": {},
    "sts_040.nii.gz": {},
    "totalsegmentator_pelvis_implant.nii.gz": {},
}


@pytest.mark.parametrize("name", REAL)
def test_cpu_agrees_with_the_reference_on_a_real_ct(shared_data, name):
    volume = read_ct(shared_data / "ct" / name, spacing=4.0, **REAL[name])
    carm = detector(pixel_spacing=(14.0, 16.0))
    pose = Pose.cat([Pose(), Pose(rx=-8, ry=25, rz=5, tx=10, ty=-20, tz=30), Pose(ry=88)])
    image, jacobian = render_with_jacobian(volume, carm, pose, backend="cpu")
    exact, exact_jacobian = render_with_jacobian(in_double(volume), carm, pose, backend="reference")
    assert exact.max() > 1
    assert relative_error(image, exact) < 1e-4
    assert (image - exact).abs().max() < 1e-3 * exact.max()
    assert relative_error(jacobian, exact_jacobian) < 2e-3


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_each_pose_may_have_a_beam_of_its_own(backend):
    volume, carm = patient(), detector((10, 9), (7.0, 9.0))
    poses = Pose.cat(list(VIEWS[:4]))
    beams = [Beam(), Beam(kilovolts=60), MONO, Beam()]
    image = render(volume, carm, poses, beams, backend=backend)
    same_image, jacobian = render_with_jacobian(volume, carm, poses, beams, backend=backend)
    for i, beam in enumerate(beams):
        alone, alone_jacobian = render_with_jacobian(volume, carm, poses[i], beam, backend=backend)
        assert_close(image[i], alone[0])
        assert_close(same_image[i], alone[0])
        assert_close(jacobian[i], alone_jacobian[0])
    assert relative_error(image[1], render(volume, carm, poses[1], Beam(), backend=backend)[0]) > 0.01
    numbers = poses.numbers.clone().requires_grad_()
    render(volume, carm, numbers, beams, backend=backend)[1].sum().backward()
    assert numbers.grad[1].any()
    assert not numbers.grad[[0, 2, 3]].any()
    with pytest.raises(XrcoreError, match="render: 2 beams for 4 poses"):
        render(volume, carm, poses, beams[:2], backend=backend)
    with pytest.raises(XrcoreError, match="beam must be a Beam, or one for each pose"):
        render(volume, carm, poses, [None, *beams[1:]], backend=backend)
    assert_close(render(volume, carm, poses, iter([Beam()] * 4), backend=backend), render(volume, carm, poses, backend=backend))
    assert render(volume, carm, Pose.zero(0), [], backend=backend).shape == (0, 10, 9)
    image, jacobian = render_with_jacobian(volume, carm, Pose.zero(0), backend=backend)
    assert (image.shape, jacobian.shape) == ((0, 10, 9), (0, 10, 9, 6))
