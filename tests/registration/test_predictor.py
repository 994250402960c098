"""register(initial=model): the prediction is the first start, and a wrong one is recovered from."""

from __future__ import annotations

import pytest
import torch

import xrcore as xr
from xrcore.metrics import mtre
from xrcore.registration.search_plans import plans_about_prediction

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
TRUTH = xr.Pose([[8.0, -9.0, 4.0, 15.0, -18.0, 20.0]])


class Oracle:
    """A predictor that knows the answer, or pretends to."""

    def __init__(self, pose: xr.Pose, spread: tuple[float, ...] | None = (1.0,) * 6, ranges: tuple[float, ...] = (15, 15, 10, 30, 30, 30)):
        self.pose, self.spread, self.ranges = pose, spread, ranges
        self.asked: list[tuple[object, object]] = []

    def check(self, carm=None, volume=None):
        self.asked.append((carm, volume))

    def predict(self, xray):
        return self.pose


@pytest.fixture(scope="module")
def case() -> tuple[xr.Volume, xr.Xray, torch.Tensor]:
    volume = xr.phantom.pelvis(0, 4.0)
    return volume, xr.Xray(image=xr.render(volume, CARM, TRUTH)[0], carm=CARM), volume.surface_points()


def error(result: xr.Registration, case) -> float:
    volume, _, landmarks = case
    return float(mtre(result.pose, TRUTH, landmarks, CARM, volume.isocenter))


def test_a_prediction_is_the_first_start(case):
    volume, xray, _ = case
    near = xr.Pose(TRUTH.numbers + torch.tensor([1.0, -1, 1, 3, -3, 6]))
    model = Oracle(near, spread=(2.0, 2, 2, 4, 4, 8))
    result = xr.register(xray, volume, model)
    assert result.initial == near
    assert result.attempts == 1
    assert result.trusted
    assert error(result, case) < 1.5
    assert "predict" in result.stages
    assert model.asked == [(xray.carm, volume)]


def test_a_good_prediction_saves_evaluations(case):
    volume, xray, _ = case
    assert xr.register(xray, volume, Oracle(TRUTH)).evaluations < xr.register(xray, volume).evaluations


def test_a_wrong_prediction_is_recovered_from(case):
    volume, xray, _ = case
    far = xr.Pose(ry=-80, ty=120)
    result = xr.register(xray, volume, Oracle(far, spread=(0.5, 0.5, 0.5, 1, 1, 1), ranges=(15, 80, 10, 30, 120, 30)))
    assert result.attempts > 1
    assert result.trusted
    assert error(result, case) < 1.5


def test_the_other_methods_start_from_it_too(case):
    volume, xray, _ = case
    near = xr.Pose(TRUTH.numbers + torch.tensor([0.5, -0.5, 0.5, 1, -1, 2]))
    result = xr.register(xray, volume, Oracle(near), method="lbfgs")
    assert result.initial == near
    assert error(result, case) < 3


def test_the_last_retry_covers_what_the_model_was_trained_for():
    wide = (30.0, 45.0, 30.0, 90.0, 90.0, 90.0)
    plans = plans_about_prediction(TRUTH, Oracle(TRUTH, ranges=wide), None)
    last, box = plans[-1]
    assert last == xr.Pose.zero()
    assert (*box.rotation, *box.translation) == wide
    assert plans[0][0] == TRUTH


def test_the_first_box_grows_with_the_models_errors():
    def first(spread):
        _, box = plans_about_prediction(TRUTH, Oracle(TRUTH, spread=spread), None)[0]
        return box

    small, large = first((1.0,) * 6), first((8.0,) * 6)
    assert all(a > b for a, b in zip((*large.rotation, *large.translation), (*small.rotation, *small.translation), strict=True))
    assert large.candidates >= small.candidates
    assert first(None).rotation == xr.SearchBox().rotation


def test_a_box_given_is_kept():
    box = xr.SearchBox(rotation=(3.0, 3, 3), translation=(5.0, 5, 5), candidates=7)
    assert plans_about_prediction(TRUTH, Oracle(TRUTH), box)[0] == (TRUTH, box)


def test_no_retries_means_one_attempt(case):
    volume, xray, _ = case
    result = xr.register(xray, volume, Oracle(xr.Pose(ry=-80, ty=120), spread=(0.1,) * 6, ranges=(15, 80, 10, 30, 120, 30)), retries=0)
    assert result.attempts == 1
    assert not result.trusted


def test_a_refusal_passes_through(case):
    volume, xray, _ = case

    class Refuses(Oracle):
        def check(self, carm=None, volume=None):
            raise xr.XrcoreError("this is not the CT that the model was trained for")

    with pytest.raises(xr.XrcoreError, match="not the CT"):
        xr.register(xray, volume, Refuses(TRUTH))


def test_a_prediction_far_outside_the_ranges_is_brought_back(case):
    volume, xray, _ = case
    # as it stands it would not show the CT at all
    result = xr.register(xray, volume, Oracle(xr.Pose(tx=2000, ty=-3000, rx=400)))
    assert result.trusted
    assert error(result, case) < 1.5
