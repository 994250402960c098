"""The box of starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import xrcore as xr
from xrcore.registration import search
from xrcore.registration.grey_values import GreyCurve, grey_curve
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import GRADIENT_PYRAMID


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"rotation": (1, 2)}, "rotation"),
        ({"translation": (1, -2, 3)}, "translation"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 2.5}, "candidates"),
        ({"rotation": 5}, "rotation"),
    ],
)
def test_search_box_rejects_nonsense(bad, words):
    with pytest.raises(xr.XrcoreError, match=words):
        SearchBox(**bad)


def test_search_box_holds_its_poses_and_begins_with_the_start():
    start = xr.Pose(rx=5.0, tz=100.0)
    box = SearchBox(rotation=(1, 2, 3), translation=(4, 5, 6), candidates=33)
    away = (box.poses(start).numbers - start.numbers).abs()
    assert len(away) == 33
    assert (away[0] == 0).all()
    assert (away <= torch.tensor([1.0, 2, 3, 4, 5, 6])).all()
    assert (away.amax(0) > 0.8 * torch.tensor([1.0, 2, 3, 4, 5, 6])).all()
    assert box.widened(2.0, 33).poses(start).numbers[1:].ne(box.poses(start).numbers[1:]).any()


# bone bright or dark


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=0, spacing=4.0)


CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
TRUTH = xr.Pose(rx=3, ry=-8, tx=10)


@pytest.mark.parametrize("dark", [False, True])
def test_gradients_correct_a_wrong_answer_about_bone(volume, dark, monkeypatch):
    """The first levels may end at a wrong pose, and a DRR of that says nothing."""

    def wrong(xray: xr.Xray, drr: torch.Tensor) -> GreyCurve:
        curve = grey_curve(xray, drr)
        return replace(curve, inverted=not curve.inverted, curved=False)

    monkeypatch.setattr(search, "grey_curve", wrong)
    xray = xr.simulate(volume, CARM, TRUTH)
    given = xray.negative() if dark else xray
    found = xr.register(given, volume, method=xr.registration.GaussNewton(levels=GRADIENT_PYRAMID), retries=0)
    assert found.inverted == dark
    assert float(xr.metrics.mtre(found.pose, TRUTH, volume.surface_points(32), CARM, volume.isocenter)) < 1
