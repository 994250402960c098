"""The study of real X-rays, on a wrist whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from companion.datasets.biplane import WristBiplane
from companion.studies.wrist import wrist_views
from companion.studies.wrist.simulated_wrist import write_wrist
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
