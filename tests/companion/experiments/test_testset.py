"""Test sets: the same cases for the same seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.experiments import ACQUIRED, CARM, PAPER, PATIENT

import xrcore as xr
from companion.experiments import (
    Phantom,
)


def test_cases_hang_on_seed_and_patient_alone():
    longer = replace(PAPER, poses=9, name="other", protocol="acquired")
    for case in range(3):
        assert longer.truth(PATIENT, case) == PAPER.truth(PATIENT, case)
    assert replace(PAPER, seed=1).truth(PATIENT, 0) != PAPER.truth(PATIENT, 0)
    assert PAPER.truth(Phantom(seed=4), 0) != PAPER.truth(PATIENT, 0)
    assert PAPER.truth(PATIENT, 1) != PAPER.truth(PATIENT, 0)


def test_truths_fill_their_box_and_nothing_else():
    limits = torch.tensor([1.0, 2.0, 0.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    boxed = replace(PAPER, rotation=(1, 2, 0), translation=(4, 5, 6))
    truths = xr.Pose.cat([boxed.truth(PATIENT, i) for i in range(60)]).numbers
    assert (truths.abs() <= limits).all()
    assert (truths.abs().amax(0)[limits > 0] > 0.8 * limits[limits > 0]).all()
    assert (truths.amin(0)[limits > 0] < 0).all()


def test_paper_protocol_is_the_registered_volume_without_noise():
    xray = PAPER.xray(PATIENT, 1)
    assert torch.equal(xray.image, xr.render(PATIENT.volume(10.0), CARM, PAPER.truth(PATIENT, 1))[0])
    assert xray.mask.all()
    assert xray.pose is None


def test_acquired_xrays_repeat_and_differ_from_drrs():
    xray = ACQUIRED.xray(PATIENT, 0)
    assert torch.equal(xray.image, ACQUIRED.xray(PATIENT, 0).image)
    assert not xray.mask.all()
    assert xray.pose is None
    drr = xr.render(PATIENT.volume(10.0), CARM, ACQUIRED.truth(PATIENT, 0))[0]
    assert 0.8 < float(xr.metrics.ncc(xray.image, drr, xray.mask)) < 0.9999


def test_random_acquisition_is_drawn_for_each_case():
    drawn = replace(ACQUIRED, acquisition="random", poses=4)
    voltages = {drawn.xray(PATIENT, i).notes[0].split("kV")[0] for i in range(4)}
    assert len(voltages) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "real"}, "protocol must be one of acquired, paper, got 'real'"),
        ({"poses": 0}, "poses must be at least 1"),
        ({"rotation": (1, 2)}, "rotation must be three"),
        ({"translation": (1, 2, -3)}, "translation must be three"),
        ({"fine_spacing": 0.0}, "fine_spacing must be positive"),
        ({"acquisition": "any"}, "acquisition must be an Acquisition"),
        ({"protocol": "paper", "acquisition": "random"}, "acquisition must be None for the paper"),
        ({"name": ""}, "name must be given"),
    ],
)
def test_senseless_sets_are_refused(change, message):
    with pytest.raises(xr.XrcoreError, match=message):
        replace(replace(ACQUIRED, acquisition=None), **change)
