"""Evidence and verdict."""

from __future__ import annotations

import math

import pytest
import torch

import xrcore as xr
from xrcore.registration.verify import Evidence, failed_checks, gather_evidence

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
TRUTH = xr.Pose(rx=6.0, ry=-9.0, rz=4.0, tx=12.0, ty=-15.0, tz=20.0)


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=3, spacing=4.0)


@pytest.fixture(scope="module")
def xray(volume) -> xr.Xray:
    return xr.simulate(volume, CARM, TRUTH, settings=xr.Acquisition(oversample=1, step=2.0), seed=1)


def test_evidence_falls_away_from_the_truth(xray, volume):
    beam = xr.Beam()
    right, drr = gather_evidence(xray, volume, TRUTH, beam)
    wrong, _ = gather_evidence(xray, volume, xr.Pose(TRUTH.numbers + torch.tensor([3.0, 3, 0, 8, 8, 0])), beam)
    assert drr.shape == CARM.shape
    assert not failed_checks(right)
    assert failed_checks(wrong)
    for name in ("zncc", "gradient", "local"):
        assert getattr(right, name) > getattr(wrong, name)
    assert right.disagreement < wrong.disagreement


def test_a_half_without_contrast_cannot_agree(volume):
    image = torch.zeros(CARM.shape)
    n = CARM.shape[0] // 8
    image[:n, :n] = torch.rand(n, n, generator=torch.Generator().manual_seed(0))  # within one block of one half
    evidence, _ = gather_evidence(xr.Xray(image=image, carm=CARM), volume, TRUTH, xr.Beam())
    assert evidence.disagreement == math.inf
    assert any("disagree" in line for line in failed_checks(evidence))


def test_each_check_is_its_own():
    good = {"zncc": 0.99, "gradient": 0.9, "local": 0.95, "attainable": 0.97, "disagreement": 0.5}
    assert failed_checks(Evidence(**good)) == ()
    for change in ({"zncc": 0.2}, {"local": 0.2}, {"attainable": 1.2}, {"disagreement": 50.0}, {"zncc": float("nan")}):
        assert len(failed_checks(Evidence(**(good | change)))) == 1
