"""The study of the head phantom, on a head whose pose is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from companion.datasets.head_phantom import GANTRY
from companion.studies.head import head_views
from companion.studies.head.simulated_head import write_head
from companion.studies.megavolt_xrays import head_agreement, head_count, head_figure
from xrcore.geometry import rigid

GIVEN = GANTRY[::5]  # three views


@pytest.mark.slow
def test_the_simulated_head_is_found_where_it_is(tmp_path):
    data, room_from_ct = write_head(tmp_path, GIVEN)
    volume = data.volume()
    points = volume.surface_points(64)
    assert float(points[:, 1].max()) < 112  # the table is left out
    cases, images = head_views.run(data, GIVEN)
    views = cases[cases["kind"] == "view"]
    assert head_count(cases, plane=0.2, angle=0.2) == (3, 3, 3)
    assert (views["depth_mm"].abs() < 1).all()
    assert cases.iloc[-1]["across_mm"] < 0.2
    # agreement would also come from an error that all views share: the images at the true pose are those that were found
    view = data.view(GIVEN[1])
    assert head_views.differences(view, room_from_ct, room_from_ct, points)["across_mm"] == 0
    true = head_views.pictures(view, volume, view.pose(room_from_ct, volume))["drr"]
    found = images[f"{GIVEN[1]}_drr"]
    assert float(np.abs(true - found).max()) < 0.05 * float(true.max())
    table = head_agreement(cases)
    assert list(table.index) == ["-20 deg", "+0 deg", "+20 deg", "odd - even"]
    assert list(table["trusted"]) == ["yes", "yes", "yes", "yes"]
    assert head_figure(cases, images).axes


def test_differences_of_a_known_motion(tmp_path):
    """Along the middle view's ray nothing moves on the detector but what perspective adds; across it all does."""
    data, room_from_ct = write_head(tmp_path, [0])
    view, points = data.view(0), torch.tensor([[0.0, 0.0, 0.0]], dtype=torch.float64)
    points = rigid.apply(rigid.invert(room_from_ct), points)  # at the isocentre
    for motion, across, depth in (((3.0, 0.0, 4.0), 5.0, 0.0), ((0.0, 7.0, 0.0), 0.0, 7.0)):
        moved = rigid.rigid(torch.eye(3, dtype=torch.float64), torch.tensor(motion, dtype=torch.float64)) @ room_from_ct
        found = head_views.differences(view, moved, room_from_ct, points)
        assert found["across_mm"] == pytest.approx(across, abs=1e-9)
        assert found["depth_mm"] == pytest.approx(depth, abs=1e-9)
        assert found["angle_deg"] == pytest.approx(0, abs=1e-5)
