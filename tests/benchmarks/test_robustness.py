"""The independent simulator sees what xrcore sees, and each condition gives an X-ray."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from common.image_conditions import CONDITIONS, Scene
from common.independent_simulator import Scan, area_densities, intensity

import xrcore as xr
from xrcore.ct import volume_from_hu

CARM = xr.CArm(source_to_detector=1020, source_to_isocenter=650, shape=(64, 72), pixel_spacing=5.0, principal_point=(30.0, 37.0))
POSE = xr.Pose(rx=7, ry=-20, rz=9, tx=12, ty=-8, tz=30)


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A body with bones, on a grid whose x axis is flipped."""
    z, y, x = np.mgrid[-1:1:40j, -1:1:50j, -1:1:60j]
    hu = np.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    for at in ((0.3, 0.2, -0.4), (-0.4, -0.3, 0.3), (0.1, 0.5, 0.5)):
        hu[(z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < 0.06] = 1200
    direction = np.diag([-3.0, 3.0, 4.0])
    return Scan(hu.astype(np.float32), direction, np.array([90.0, -70.0, -75.0]))


@pytest.fixture(scope="module")
def scene(scan) -> Scene:
    numbers = POSE.numbers[0].double().numpy()
    changed = scan.with_changed_tissue(np.random.default_rng(0))
    return Scene(area_densities(scan, CARM, numbers), area_densities(changed, CARM, numbers), CARM)


def test_it_sees_what_xrcore_renders(scan, scene):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = scan.direction, scan.origin
    volume = volume_from_hu(scan.hu, affine, spacing=2.0)
    assert torch.allclose(volume.isocenter, torch.from_numpy(scan.center), atol=2.0)
    image = torch.from_numpy(-np.log(intensity(scene.area, 100.0))).float()
    right = xr.metrics.ncc(image, xr.render(volume, CARM, POSE)[0])
    assert right > 0.995
    for changed in ({"rx": -7}, {"ry": 20}, {"rz": -9}, {"tx": -12}, {"ty": 8}, {"tz": -30}):
        other = xr.Pose(**(POSE.to_dict() | changed))
        assert xr.metrics.ncc(image, xr.render(volume, CARM, other)[0]) < right - 1e-3


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_is_seeded_and_changes_the_image(scene, name):
    first, again = (CONDITIONS[name](scene, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first.image, again.image)
    assert first.image.shape == CARM.shape
    plain = -np.log(intensity(scene.area, 90.0))
    assert not torch.allclose(first.image, torch.from_numpy(plain).float(), atol=1e-3)
