"""The CTs of a start model."""

from __future__ import annotations

import pytest
import torch

from companion.experiments import Phantom, cohort
from companion.experiments.cohort import varied, without_air
from xrcore import CArm, Pose, Volume, render
from xrcore.phantom import pelvis

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(48, 48), pixel_spacing=9.0)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return pelvis(1, 8.0)


def test_without_its_air_it_looks_the_same(volume):
    wide = torch.nn.functional.pad(volume.density, (3, 5, 2, 1, 4, 2))
    matrix = volume.world_from_voxel.clone()
    matrix[:3, 3] -= matrix[:3, :3] @ torch.tensor([3.0, 2, 4], dtype=torch.float64)
    air = Volume(density=wide, materials=volume.materials, world_from_voxel=matrix, isocenter=volume.isocenter)
    cut = without_air(air)
    assert cut.density.numel() <= volume.density.numel()
    pose = Pose(rx=5, ry=-12, tz=20)
    assert torch.allclose(render(cut, CARM, pose), render(air, CARM, pose), atol=1e-5)


def test_a_variant_is_another_patient_about_the_same_isocentre(volume):
    changed = [varied(volume, seed) for seed in range(1, 9)]
    assert all(torch.equal(one.isocenter, volume.isocenter) for one in changed)
    assert torch.equal(varied(volume, 3).world_from_voxel, changed[2].world_from_voxel)
    mirrored = [bool(torch.linalg.det(one.world_from_voxel[:3, :3]) < 0) for one in changed]
    assert any(mirrored)
    assert not all(mirrored)
    sizes = torch.tensor([one.spacing for one in changed]) / 8.0
    assert ((sizes > 0.8) & (sizes < 1.2)).all()
    # edges stay at right angles: a body is stretched, not sheared
    for one in changed:
        axes = one.world_from_voxel[:3, :3] / torch.tensor(one.spacing)
        assert torch.allclose(axes.T @ axes, torch.eye(3, dtype=torch.float64), atol=1e-9)


def test_patients_and_phantoms_in_variants():
    volumes = cohort([Phantom(1), Phantom(2)], variants=3, phantoms=2, spacing=8.0)
    assert len(volumes) == 2 * 3 + 2
    images = torch.cat([render(one, CARM, Pose.zero()) for one in volumes])
    apart = torch.cdist(images.flatten(1), images.flatten(1)) + torch.eye(len(images)) * 1e9
    assert (apart > 1e-3).all()
