"""The convergence basin: which descents come back."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from xrcore import phantom
from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.convergence_basin import ConvergenceBasin, measure_convergence_basin
from xrcore.registration.search import index_of_duplicate
from xrcore.registration.view import View
from xrcore.renderer import render
from xrcore.xray import Xray

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
TRUTH = Pose(rx=3.0, ry=-5.0, rz=2.0, tx=6.0, ty=-4.0, tz=8.0)
REACH = (30.0, 30.0, 30.0, 60.0, 60.0, 60.0)


@functools.cache
def patient() -> Volume:
    return phantom.pelvis(0, spacing=8.0)


@functools.cache
def xray() -> Xray:
    return Xray(image=render(patient(), CARM, TRUTH)[0], carm=CARM)


@functools.cache
def back_to_truth() -> ConvergenceBasin:
    return measure_convergence_basin(xray(), patient(), TRUTH, "zncc", reach=REACH, samples=7)


def test_descents_come_back_from_near_and_not_from_everywhere():
    found = back_to_truth()
    assert found.reached[:, 3].all()
    assert found.reached[:, 2:5].all()  # 10 deg, 20 mm
    far = measure_convergence_basin(xray(), patient(), TRUTH, "zncc", reach=(170.0,) * 3 + (400.0,) * 3, samples=3)
    assert not far.reached[:5, [0, 2]].any()
    assert (far.extent()[:5] == 0).all()
    assert found.evaluations > 0


def test_joined_descents_end_where_single_ones_do():
    """Against the same start alone."""
    found = back_to_truth()
    for axis, sample in ((0, 0), (3, 6), (4, 1)):
        start = TRUTH.numbers.clone()
        start[0, axis] += found.offsets[axis, sample]
        alone = measure_convergence_basin(xray(), patient(), Pose(start), "zncc", target=TRUTH, reach=(1e-9,) * 6, samples=3)
        assert alone.distance[0, 1] == pytest.approx(found.distance[axis, sample], abs=2.0)


def test_the_target_may_be_elsewhere_than_the_lines():
    beside = Pose(TRUTH.numbers + torch.tensor([[0, 0, 0, 25.0, 0, 0]]))
    lost = measure_convergence_basin(xray(), patient(), beside, "zncc", reach=REACH, samples=3)
    found = measure_convergence_basin(xray(), patient(), beside, "zncc", reach=REACH, samples=3, target=TRUTH)
    assert not lost.reached[:, 1].any()  # they all go to the truth
    assert found.reached[:, 1].all()
    assert (lost.extent() == 0).all()


def test_the_measured_range_ends_at_the_first_loss_on_each_side():
    distance = np.full((6, 7), 50.0)
    distance[:, 1:5] = 1.0
    distance[:, 6] = 1.0  # luck, beyond a loss
    found = ConvergenceBasin(TRUTH, TRUTH, "zncc", np.tile(np.arange(-3.0, 4.0), (6, 1)), distance, 10.0, 0)
    assert found.extent().tolist() == [[2.0, 1.0]] * 6


def test_what_lies_close_follows_the_first():
    places = torch.tensor([0.0, 3, 10, 5.5, 9, 1])[:, None, None].expand(-1, 8, 3) / 3**0.5
    assert index_of_duplicate(places, 4.0).tolist() == [0, 0, 2, 3, 2, 0]


def test_only_least_squares_can_be_descended():
    with pytest.raises(XrcoreError, match="gauss-newton needs a similarity with a residual, which wlmi has not"):
        measure_convergence_basin(xray(), patient(), TRUTH, "wlmi")
    for wrong, word in (({"target": "x"}, "target must be one Pose"), ({"settings": "x"}, "a GaussNewton")):
        with pytest.raises(XrcoreError, match=word):
            measure_convergence_basin(xray(), patient(), TRUTH, "zncc", **wrong)
    views = [View(xray=xray(), camera_from_rig=TRUTH.camera_from_world(CARM, patient().isocenter)[0])] * 2
    with pytest.raises(XrcoreError, match="one X-ray, not several views"):
        measure_convergence_basin(views, patient(), TRUTH, "zncc")
