"""Comparison: X-ray and DRR in one canvas."""

from __future__ import annotations

import asyncio

import numpy as np
import torch
from support.small_pelvis import CARM, OBLONG, POSE, TRUTH, drr, size, volume

from xrcore import Pose, Xray
from xrcore.widgets import Session, comparison


def test_ways_to_compare_differ():
    session = Session(volume(), drr())
    compared = comparison.Comparison(session)
    compared.draw()
    pictures = {}
    for name in comparison.MODES:
        compared.mode.value = name
        compared.draw()
        pictures[name] = compared.canvas.front
        assert size(compared.canvas.front) == (64, 64)
        assert (compared.canvas.split is not None) == (name == "split")
        assert comparison.LEGENDS[name] in compared.legend.value
    assert pictures.pop("split") == pictures["X-ray"]  # the DRR lies under it
    assert len(set(pictures.values())) == len(pictures)
    assert comparison.LEGENDS.keys() == comparison.MODES.keys()
    compared.mode.value = "split"
    compared.draw()
    assert size(compared.canvas.back) == (64, 64)
    assert compared.canvas.back != compared.canvas.front
    compared.canvas.split = 0.2
    session.pose = POSE
    compared.draw()
    assert compared.canvas.split == 0.2  # the line stays where it was put


def test_where_images_agree_there_is_no_difference():
    session = Session(volume(), drr(), pose=TRUTH)
    compared = comparison.Comparison(session)
    compared.mode.value = "difference"
    front, _ = compared.picture()
    assert front.min() > 0.999
    compared.mode.value = "overlay"
    front, _ = compared.picture()
    assert np.abs(front - front.mean(-1, keepdims=True)).max() < 1e-3  # grey
    session.pose = Pose.zero()
    assert np.abs(compared.picture()[0] - front).max() > 0.1


def test_without_an_xray_there_is_the_drr():
    session = Session(volume(), carm=OBLONG)
    compared = comparison.Comparison(session)
    for name in ("edges", "split"):
        compared.mode.value = name
        compared.draw()
        assert compared.canvas.split is None
        assert size(compared.canvas.front) == (80, 40)
        assert "no X-ray" in compared.legend.value
    assert [p.shape for p in compared.picture(draft=True)] == [(40, 80)] * 2


def test_large_images_are_shown_smaller():
    carm = CARM.resized((600, 600))
    session = Session(volume(), carm=carm)
    compared = comparison.Comparison(session)
    assert compared.picture()[0].shape == (comparison.PIXELS,) * 2
    session = Session(volume(), Xray(image=torch.rand(600, 600), carm=carm))
    rows, _, _ = comparison.Comparison(session).picture()[0].shape
    assert 200 <= rows <= 400


def test_an_inverted_xray_is_shown_the_right_way_up():
    bright = Session(volume(), drr())
    dark = Session(volume(), drr().negative())
    views = comparison.Comparison(bright), comparison.Comparison(dark)
    for compared in views:
        compared.mode.value = "X-ray"
    one, other = (compared.picture()[0] for compared in views)
    assert np.abs(one - other).max() > 0.5
    result = asyncio.run(dark.run())
    assert result.inverted
    assert np.abs(one - views[1].picture()[0]).max() < 1e-6
