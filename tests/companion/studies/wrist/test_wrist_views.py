"""The study of real X-rays, on a wrist whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import roma
import torch

from companion.datasets.biplane import WristBiplane
from companion.studies.wrist import wrist_views
from companion.studies.wrist.simulated_wrist import write_wrist
from xrcore import CArm, View, Volume, Xray
from xrcore.geometry import rigid


@pytest.mark.slow
def test_the_simulated_wrist_is_found_where_it_is(tmp_path):
    """Both cameras together know the pose; the study's own code on a wrist whose truth is known."""
    case = next(iter(wrist_views.STARTS))
    truth = write_wrist(tmp_path / "wrist")[case]
    wrist_views.run(tmp_path / "wrist.csv", tmp_path / "wrist.npz", tmp_path / "wrist", seeds=[0], cases=[case])
    with np.load(tmp_path / "wrist.npz", allow_pickle=False) as kept:
        found = torch.from_numpy(kept[f"{case[0]}_{case[1]}_biplane_rig_from_ct"]).double()
    points = WristBiplane(tmp_path / "wrist").bone(case[0]).surface_points(32)
    assert float((rigid.apply(found, points) - rigid.apply(truth, points)).norm(dim=1).max()) < 0.2  # [mm]
    table = pd.read_csv(tmp_path / "wrist.csv")
    between = table[table["method"] == "camera 1 - camera 2"].iloc[0]
    assert between["out_of_depth_mm"] < 0.5
    assert between["angle_deg"] < 2


def test_disagreement_is_split_by_what_each_camera_sees():
    def turned(*degrees: float) -> torch.Tensor:
        rotation = roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)))
        return rigid.rigid(rotation, torch.zeros(3, dtype=torch.float64))

    def moved(*shift: float) -> torch.Tensor:
        return rigid.rigid(torch.eye(3, dtype=torch.float64), torch.tensor(shift, dtype=torch.float64))

    carm = CArm(source_to_detector=1500, source_to_isocenter=1000, shape=(16, 16), pixel_spacing=1.0)
    xray = Xray(image=torch.arange(256.0).reshape(16, 16), carm=carm)
    views = [View(xray=xray, camera_from_rig=moved(0, 0, 1000) @ turned(0, angle, 0)) for angle in (0, 80)]
    volume, placed = Volume(density=torch.ones(1, 12, 8, 8), materials=("bone",), world_from_voxel=torch.eye(4)), turned(20, -10, 5)
    center = rigid.apply(placed, volume.surface_points(64)).mean(0)
    axes = []
    for view in views:
        seen = rigid.apply(view.camera_from_rig, center[None])[0]
        axes.append(view.camera_from_rig[:3, :3].T @ (seen / seen.norm()))
    square = torch.linalg.cross(*axes)
    shift = 3 * axes[0] - 2 * axes[1] + 0.5 * square / square.norm()
    split = wrist_views.disagreement(moved(*shift.tolist()) @ placed, placed, volume, *views)
    wanted = {"depth_1_mm": 3.0, "depth_2_mm": 2.0, "out_of_depth_mm": 0.5, "angle_deg": 0.0, "distance_mm": float(shift.norm())}
    assert {name: split[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)
    about = wrist_views.disagreement(placed @ turned(0, 0, 4), placed, volume, *views)  # the body's own z
    assert (about["angle_deg"], about["shaft_deg"], about["tilt_deg"]) == pytest.approx((4.0, 4.0, 0.0), abs=1e-4)
