"""Slot scans rendered: closed forms, the fast renderers against the reference, the Jacobian against differences and autograd."""

from __future__ import annotations

import os

import pytest
import torch
from test_renderer import MONO, central_differences, grid, in_double, patient, positions, relative_error, water
from torch.testing import assert_close

import xrcore as xr
from xrcore.beam import Beam
from xrcore.geometry import CArm, Pose, SlotScan, camera_rays, ray_origins
from xrcore.renderer import reference, render, render_with_jacobian
from xrcore.simulation.integrator import area_density

FAST = ["cpu", "cuda"] if os.environ.get("TRITON_INTERPRET") == "1" else ["cpu"]
# Triton's interpreter takes seconds for each, and for each tile of 8 x 8 pixels
CASES = [pytest.param(b, p, marks=[pytest.mark.slow] if b == "cuda" and p != 7.0 else []) for b in FAST for p in (1.5, 7.0, 25.0)]
SCANS = pytest.mark.parametrize("scan", ["rows", "columns"])
# along each axis of the volume, and oblique
VIEWS = [Pose(rx=2, rz=-3, tx=5), Pose(rx=80, ry=3, tz=9), Pose(ry=93, rx=4, rz=3, ty=-7), Pose(rx=10, ry=-20, rz=33, tx=6, ty=-5, tz=12)]


def scout(scan: str = "rows", shape: tuple[int, int] = (13, 11), pixel: float = 7.0) -> SlotScan:
    return SlotScan.from_isocenter_spacing(pixel, shape, source_to_isocenter=500, principal_point=(5.0, 6.5), scan=scan)


def scout_for(backend: str, scan: str, pixel: float = 7.0) -> SlotScan:
    return scout(scan, (9, 8) if backend == "cuda" else (13, 11), pixel)


@pytest.mark.parametrize("backend", ["reference", *(pytest.param(b, marks=[pytest.mark.slow] if b == "cuda" else []) for b in FAST)])
@SCANS
def test_gaussian_ball_is_its_line_integrals(backend, scan):
    shape, width, centre = (60, 60, 60), 14.0, torch.tensor([9.0, -7.0, 5.0], dtype=torch.float64)
    matrix = grid(shape)
    volume = water(torch.exp(-((positions(shape, matrix) - centre) ** 2).sum(-1) / (2 * width**2)).float(), matrix)
    carm = scout_for(backend, scan)
    for pose in VIEWS:
        world = pose.world_from_camera(carm, volume.isocenter)[0]
        sources = ray_origins(carm) @ world[:3, :3].T + world[:3, 3]
        rays = torch.nn.functional.normalize(camera_rays(carm) @ world[:3, :3].T, dim=-1)
        distance = torch.linalg.norm(torch.linalg.cross(rays, centre - sources, dim=-1), dim=-1)
        exact = (2 * torch.pi) ** 0.5 * width / 10 * torch.exp(-(distance**2) / (2 * width**2))
        image = render(volume, carm, pose, MONO, backend=backend)[0].double() / float(MONO.attenuation(["water"]))
        assert exact.max() > 2
        assert (image - exact).abs().max() < 1.1 * 2.0**2 / (4 * width**2) * exact.max()


@pytest.mark.parametrize(("backend", "pixel"), CASES)
@SCANS
def test_value_and_jacobian_are_the_references(backend, scan, pixel):
    volume, carm, pose = patient(), scout_for(backend, scan, pixel), Pose.cat(VIEWS)
    image, jacobian = render_with_jacobian(volume, carm, pose, backend=backend)
    expected, exact = reference.render_with_jacobian(in_double(volume), carm, pose, Beam())
    assert relative_error(image, expected) < 1e-5
    for i in range(6):
        assert relative_error(jacobian[..., i], exact[..., i]) < 2e-3


@SCANS
def test_jacobian_is_the_central_difference_and_autograds(scan):
    volume, carm, pose = in_double(patient()), scout(scan), VIEWS[-1]
    _, jacobian = render_with_jacobian(patient(), carm, pose, backend="cpu")
    assert relative_error(jacobian[0], central_differences(volume, pose, Beam(), carm)) < 2e-3
    numbers = pose.numbers.clone().requires_grad_(True)
    weights = torch.linspace(-1, 1, 143, dtype=torch.float64).reshape(1, 13, 11)
    (render(volume, carm, Pose(numbers), backend="reference") * weights).sum().backward()
    assert_close(torch.einsum("bhw,bhwi->bi", weights, jacobian.double()), numbers.grad, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("backend", ["reference", *FAST])
@SCANS
def test_a_line_across_the_scan_is_a_pinholes(backend, scan):
    volume, carm, pose = patient(), scout_for(backend, scan), VIEWS[-1]
    row, col = 5, 6
    carm = xr.SlotScan(**{**carm.to_dict(), "principal_point": (row, col)})
    pinhole = CArm(**{k: v for k, v in carm.to_dict().items() if k != "scan"})
    slot, whole = (render(volume, c, pose, backend=backend)[0] for c in (carm, pinhole))
    line = (row,) if scan == "rows" else (slice(None), col)
    assert_close(slot[line], whole[line], rtol=1e-5, atol=1e-6)
    assert relative_error(slot, whole) > 0.02


@SCANS
def test_moving_along_the_scan_moves_the_image(scan):
    volume, carm = patient(), scout(scan, shape=(16, 16), pixel=6.0)
    along = Pose(ty=6.0) if scan == "rows" else Pose(tx=6.0)
    before, after = (render(volume, carm, pose)[0] for pose in (Pose(), along))
    kept, moved = (before[1:], after[:-1]) if scan == "rows" else (before[:, 1:], after[:, :-1])
    assert_close(moved, kept, rtol=1e-4, atol=1e-5)


@SCANS
def test_what_is_skipped_as_air_is_air(scan):
    # single voxels in an empty grid, seen by rays that are far apart and by close ones
    generator = torch.Generator().manual_seed(3)
    for pixel in (2.0, 30.0):
        density = torch.zeros(40, 40, 40)
        density.view(-1)[torch.randint(40**3, (60,), generator=generator)] = 1.0
        volume = water(density, grid((40, 40, 40)))
        carm = scout(scan, (24, 24), pixel)
        for pose in VIEWS:
            image = render(volume, carm, pose, MONO, backend="cpu")
            assert_close(image.double(), render(in_double(volume), carm, pose, MONO, backend="reference"), rtol=1e-4, atol=1e-4)


@SCANS
def test_the_simulators_rays_are_its(scan):
    volume, carm, pose = patient(), scout(scan), VIEWS[-1]
    area = area_density(volume, carm, pose, step=0.5)
    assert relative_error(area, reference.area_density(in_double(volume), carm, pose)[0]) < 5e-3


def test_a_rod_in_the_beam_is_where_it_is():
    carm, settings = scout("rows", (40, 40), 5.0), xr.Acquisition(tool=8.0, photons=1e9)
    plain, tool = (xr.simulate(patient(), carm, Pose(), settings=s, seed=1).image for s in (xr.Acquisition(photons=1e9), settings))
    dark = (tool - plain) > 0.1
    assert 10 < dark.sum() < 400
