"""What the study of scouts measures, on a simulated scout whose place is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import xrcore as xr
from companion.studies.scouts.scout_views import compared
from xrcore.geometry import rigid


def test_a_scout_is_compared_with_where_its_file_places_it():
    volume = xr.phantom.pelvis(seed=0, spacing=4.0)
    carm = xr.SlotScan.from_isocenter_spacing(3.0, (144, 128), source_to_isocenter=600)
    truth = xr.Pose(ry=-4)
    xray = xr.simulate(volume, carm, truth, seed=1)
    # the file is wrong by 3 mm along the table and says so of nothing
    world_from_camera = truth.world_from_camera(carm, volume.isocenter)[0].clone()
    world_from_camera[2, 3] += 3.0
    xray = replace(xray, world_from_camera=world_from_camera)
    found = compared([xr.View(xray=xray, camera_from_rig=rigid.invert(world_from_camera))], volume)
    assert found["plane_mm"] == pytest.approx(3.0, abs=0.5)
    assert found["angle_deg"] < 1
    assert abs(found["depth_mm"]) < 2.5 * found["depth_sd_mm"]
    with pytest.raises(xr.XrcoreError, match="do not say where"):
        compared([xr.View(xray=replace(xray, world_from_camera=None), camera_from_rig=torch.eye(4))], volume)
