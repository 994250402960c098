"""Slot scans registered: simulated ones, and two of them jointly."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import xrcore as xr
from xrcore.geometry import rigid
from xrcore.registration import confidence, gather_evidence
from xrcore.registration.coverage import covered_part
from xrcore.registration.search_plans import another_way
from xrcore.registration.settings import EDGE_PYRAMID


def scout(scan: str = "rows", shape: tuple[int, int] = (144, 128)) -> xr.SlotScan:
    return xr.SlotScan.from_isocenter_spacing(3.0, shape, source_to_isocenter=600, scan=scan)


@pytest.mark.parametrize("scan", ["rows", "columns"])
def test_a_simulated_slot_scan_is_found_and_trusted(scan):
    volume = xr.phantom.pelvis(seed=0, spacing=4.0)
    truth = xr.Pose(rx=2, ry=-8, rz=1, tx=10, ty=-6, tz=9)
    carm = scout(scan, (144, 128) if scan == "rows" else (128, 144))
    result = xr.register(xr.simulate(volume, carm, truth, seed=1), volume)
    assert result.trusted
    landmarks = volume.surface_points()
    assert float(xr.metrics.mpd(result.pose, truth, landmarks, carm, volume.isocenter)) < 1.0
    # what one view leaves open is depth, and it says so
    assert max(result.standard_deviation[3:]) == result.standard_deviation[5]
    assert abs(float(result.pose.numbers[0, 5] - truth.numbers[0, 5])) < 2.5 * result.standard_deviation[5]


def test_a_pinhole_would_not_do():
    volume, carm = xr.phantom.pelvis(seed=0, spacing=4.0), scout()
    xray = xr.simulate(volume, carm, xr.Pose(ry=-8, tx=10), seed=1)
    wrong = xr.CArm(**{k: v for k, v in carm.to_dict().items() if k != "scan"} | {"pixel_spacing": carm.spacing[1]})
    result = xr.refine(replace(xray, carm=wrong), volume, xr.Pose(ry=-8, tx=10))
    right = xr.refine(xray, volume, xr.Pose(ry=-8, tx=10))
    assert right.similarity > result.similarity + 0.02


def test_a_frontal_and_a_lateral_scan_fix_the_depth_of_each_other():
    volume = xr.phantom.pelvis(seed=0, spacing=4.0)
    carm, poses = scout(), [xr.Pose(), xr.Pose(ry=-90)]
    views = [
        xr.View(
            xray=xr.simulate(volume, carm, pose, seed=i, settings=xr.Acquisition(mask=None)),
            camera_from_rig=pose.camera_from_world(carm, volume.isocenter)[0],
        )
        for i, pose in enumerate(poses)
    ]
    result = xr.register(views, volume, xr.Pose(rx=3, ry=-4, tx=6, ty=-5, tz=8))
    assert result.trusted
    landmarks = volume.surface_points()
    assert float(xr.metrics.mtre(result.pose, poses[0], landmarks, carm, volume.isocenter)) < 1.0


def test_a_placed_scan_is_compared_where_the_ct_is():
    whole = xr.phantom.pelvis(seed=0, spacing=4.0)
    truth = xr.Pose(rx=1, ry=1, tz=3)
    carm = scout()
    xray = xr.simulate(whole, carm, truth, seed=2)
    cut = 10
    matrix = whole.world_from_voxel.clone()
    matrix[:3, 3] += matrix[:3, :3] @ torch.tensor([0.0, 0.0, cut], dtype=torch.float64)
    part = xr.Volume(density=whole.density[:, cut:-cut].contiguous(), materials=whole.materials, world_from_voxel=matrix)
    placed = replace(xray, world_from_camera=xr.Pose().world_from_camera(carm, whole.isocenter)[0])
    covered = covered_part(placed, part)
    rows = torch.nonzero(covered.mask.any(1))[:, 0]
    height = (rows[-1] - rows[0] + 1) * 3.0
    assert part.extent[2] - 25 < height < part.extent[2] - 5
    assert covered_part(xray, part) is xray
    inside = replace(carm.cropped(carm.shape[0] // 2 - 10, carm.shape[1] // 2 - 10, (20, 20)))
    within = xr.simulate(whole, inside, truth, seed=2)
    within = replace(within, world_from_camera=xr.Pose().world_from_camera(inside, whole.isocenter)[0])
    assert covered_part(within, whole) is within
    result = xr.register(placed, part)
    assert any("the CT covers no more" in note for note in result.notes)
    shown = rigid.angle_between(result.pose.world_from_camera(carm, part.isocenter), truth.world_from_camera(carm, whole.isocenter))
    assert float(torch.rad2deg(shown)) < 0.7
    landmarks = part.surface_points()
    ended, there = (
        rigid.apply(pose.camera_from_world(carm, volume.isocenter), landmarks[None])[0]
        for pose, volume in ((result.pose, part), (truth, whole))
    )
    assert float((carm.project(ended) - carm.project(there)).norm(dim=-1).mean()) < 0.7


def test_ending_where_the_files_place_it_speaks_for_a_pose_and_ending_elsewhere_says_nothing():
    volume, carm, truth = xr.phantom.pelvis(seed=0, spacing=4.0), scout(), xr.Pose(rx=1, tz=3)
    xray = xr.simulate(volume, carm, truth, seed=2)
    placed = replace(xray, world_from_camera=xr.Pose().world_from_camera(carm, volume.isocenter)[0])

    def evidence(xray: xr.Xray, pose: xr.Pose):
        return gather_evidence(xray, volume, pose, xr.Beam())[0]

    alone, near, far = evidence(xray, truth), evidence(placed, truth), evidence(placed, xr.Pose(rx=9, ty=20))
    assert (alone.placement, far.placement) == (0.0, 0.0)
    assert 1 < near.placement <= math.log(20)
    doubtful = replace(alone, displacement=0.25, likeness=0.75)
    assert confidence(replace(doubtful, placement=near.placement)) > confidence(doubtful)


def test_a_joint_start_at_the_placement_is_not_led_away():
    """Pixels as large as the box of starts would, where a narrow part of the body is all there is."""
    levels = another_way(xr.GaussNewton(), 0, bone_only=True, near=True).levels
    assert levels == EDGE_PYRAMID[2:]
    assert another_way(xr.GaussNewton(), 0, bone_only=True).levels == EDGE_PYRAMID
