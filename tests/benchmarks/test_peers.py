"""The peers project what the reference projects, so that times compare equal work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from common import scenes
from peers import nanodrr, rtk

from xrcore import CArm, Pose, Volume
from xrcore.renderer import reference

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(30, 36), pixel_spacing=(12.0, 11.0), principal_point=(12.0, 20.0))
POSES = [Pose(), Pose(ry=90), Pose(rx=8, ry=-20, rz=30, tx=10, ty=-20, tz=30)]


@pytest.fixture(scope="module")
def volume() -> Volume:
    """The phantom, turned, with one axis reversed."""
    phantom = scenes.one_material(scenes.body(8.0))
    matrix = Pose(rx=20, ry=-15, rz=40).matrix()[0] @ phantom.world_from_voxel
    flipped = matrix.clone()
    flipped[:3, 3] += matrix[:3, 1] * (phantom.shape[1] - 1)
    flipped[:3, 1] *= -1
    return replace(phantom, density=phantom.density.flip(2), world_from_voxel=flipped)


@pytest.mark.skipif(not rtk.installed(), reason="itk-rtk is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("pose", POSES)
def test_rtk_projects_what_the_reference_projects(volume, pose):
    ours = reference.area_density(volume, CARM, pose)[0, ..., 0]
    project = rtk.projector(volume, CARM, pose, pad=2)
    theirs = torch.from_numpy(project().copy())
    assert theirs.max() > 10
    assert torch.linalg.norm(theirs - ours) < 1e-5 * torch.linalg.norm(ours)
    assert torch.equal(torch.from_numpy(project().copy()), theirs)  # a second run does not add to the first


@pytest.mark.skipif(not nanodrr.installed(), reason="nanodrr is not installed")
def test_nanodrr_projects_nearly_what_the_reference_projects(volume):
    # it samples every few millimetres along the ray: another integrator, so a few parts in a thousand on 8 mm voxels
    pose = Pose.cat(POSES)
    ours = reference.area_density(volume, CARM, pose)[..., 0]
    theirs = nanodrr.projector(volume, CARM)(pose)
    assert torch.linalg.norm(theirs - ours) < 0.01 * torch.linalg.norm(ours)
