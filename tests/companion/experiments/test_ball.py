"""The metal ball: its mass, its place, the same at every spacing."""

from __future__ import annotations

import math

import pytest
import torch

import xrcore as xr
from companion.experiments import Phantom
from companion.experiments.ball import STEEL, WithBall, insert_ball


def test_the_ball_has_its_mass_and_its_place():
    volume = xr.phantom.pelvis(0, spacing=4.0)
    center = volume.isocenter + torch.tensor([7.3, -3.1, 11.7])
    with_ball = insert_ball(volume, center, 6.0)
    iron = with_ball.material("iron").double()
    voxel = math.prod(volume.spacing) / 1000  # [cm3]
    assert float(iron.sum()) * voxel == pytest.approx(STEEL * 4 / 3 * math.pi * 0.6**3, rel=0.02)
    index = torch.nonzero(iron).flip(-1).double()
    place = index @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    weight = iron[iron > 0][:, None]
    torch.testing.assert_close((place * weight).sum(0) / weight.sum(), center.double(), atol=0.1, rtol=0)
    # what was there gave way, and nothing else changed
    full = iron > STEEL - 1e-4
    assert full.any()
    assert float(with_ball.density[:-1, full].abs().max()) == 0
    outside = iron == 0
    torch.testing.assert_close(with_ball.density[:-1, outside], volume.density[:, outside])


def test_the_ball_stays_where_it_is_at_every_spacing():
    subject = WithBall(Phantom(0))
    carm = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
    pose = xr.Pose(ry=20)
    expected = carm.project(
        pose.camera_from_world(carm, subject.volume(4.0).isocenter)[0, :3] @ torch.cat([subject.center, torch.ones(1)]).double()
    )
    for spacing in (2.0, 4.0):
        image = xr.render(subject.volume(spacing), carm, pose)[0] - xr.render(Phantom(0).volume(spacing), carm, pose)[0]
        weight = image.double().clamp_min(0)
        grid = torch.stack(torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij"), -1).double()
        seen = (grid * weight[..., None]).sum((0, 1)) / weight.sum()
        assert float(torch.linalg.norm(seen - expected.reshape(2))) < 0.5, spacing
