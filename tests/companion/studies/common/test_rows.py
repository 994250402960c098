"""Columns that studies share."""

from __future__ import annotations

import math

import torch

from companion.studies.common.rows import depth_deviation
from xrcore import CArm, Pose

CARM = CArm(source_to_detector=1200, source_to_isocenter=800, shape=(64, 64), pixel_spacing=6)


def test_depth_s_deviation_is_that_of_the_isocentre_s_depth():
    isocentre = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
    root = torch.rand(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    covariance = root @ root.T
    for angles in ((0.0, 0.0, 0.0), (10.0, 70.0, -20.0), (-35.0, -150.0, 80.0)):
        numbers = torch.tensor([*angles, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
        there = Pose(numbers).camera_from_world(CARM, isocentre)[0]
        depth = (there[:3, :3] @ isocentre + there[:3, 3])[2]
        (slope,) = torch.autograd.grad(depth, numbers)
        assert math.isclose(depth_deviation(covariance, there.detach()), float((slope @ covariance @ slope).sqrt()), rel_tol=1e-9)


def test_depth_s_deviation_is_unknown_without_a_covariance():
    assert math.isnan(depth_deviation(None, torch.eye(4, dtype=torch.float64)))
