"""The knee study's geometry: poses as .jts files state them, starts, and errors across and along a camera's ray."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import xrcore as xr
from companion.datasets.implant_knee import ImplantKnee, camera_from_model
from companion.studies.knee import knee_frames
from xrcore.geometry import rigid
from xrcore.utilities import read_yaml

CARM = xr.CArm(source_to_detector=2000, source_to_isocenter=1300, shape=(64, 64), pixel_spacing=4.0)
CENTER = torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)
POINTS = CENTER + 20 * torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_folders_name_may_be_anything_in_the_rig(tmp_path):
    folder = tmp_path / "knee: #1 'left' \"a\""
    folder.mkdir()
    ImplantKnee(folder).write_rig(tmp_path / "rig.yaml")
    views = read_yaml(tmp_path / "rig.yaml")["views"]
    assert [view["calibration"] for view in views] == [f"{folder.resolve()}/camcal{i}.txt" for i in (1, 2)]


def test_a_line_of_a_jts_file_is_a_transform_into_the_camera():
    # a quarter turn about the axis of sight, counter-clockwise with y up
    matrix = camera_from_model((10.0, 20.0, -1300.0, -math.pi / 2, 0.0, 0.0))
    assert_close(matrix[:3, 3], torch.tensor([10.0, -20.0, 1300.0], dtype=torch.float64))
    seen = matrix[:3, :3] @ torch.tensor([1.0, 0, 0], dtype=torch.float64)  # to the right in the model
    assert_close(seen, torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64), atol=1e-9, rtol=0)  # up in the image, whose y points down
    tilted = camera_from_model((0.0, 0.0, -1300.0, 0.0, 30.0, 0.0))
    assert np.isclose(float(torch.rad2deg(rigid.angle_between(tilted, torch.eye(4, dtype=torch.float64)))), 30)


def test_errors_are_split_across_and_along_the_ray():
    pose = xr.Pose(ry=10, tx=5)
    there = pose.camera_from_world(CARM, CENTER)[0]
    middle = rigid.apply(there, POINTS).mean(0)
    ray = middle / middle.norm()
    across = torch.linalg.cross(ray, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    moved = there.clone()
    moved[:3, 3] += 3 * ray + 0.5 * across / across.norm()
    found = xr.TrackedFrame(
        pose=xr.Pose.from_camera_from_world(moved, CARM, CENTER), covariance=None, similarity=0.5, confidence=0.9, trusted=True
    )
    track = xr.Track(frames=(found,), carm=CARM, isocenter=CENTER)
    (row,) = knee_frames.errors(track, [there], torch.eye(4, dtype=torch.float64), POINTS)
    assert row["depth_mm"] == pytest.approx(3, abs=1e-6)
    assert row["across_mm"] == pytest.approx(0.5, abs=1e-6)
    assert row["distance_mm"] == pytest.approx(math.hypot(3, 0.5), abs=1e-6)
    assert row["angle_deg"] == pytest.approx(0, abs=1e-4)
