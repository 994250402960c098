"""PoseState: what it takes, refuses, and writes as code."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from support.small_pelvis import POSE, volume

import xrcore as xr
from xrcore import Pose, XrcoreError
from xrcore.widgets import PoseState


def test_numbers_that_are_no_pose_are_refused_and_those_before_kept(state: PoseState):
    state.pose = POSE
    before = state.numbers
    seen: list[Any] = []
    state.observe(seen.append)
    for bad in [(1.0, 2.0), (0.0,) * 7, (float("nan"), 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, float("inf")), (1, 2, 3, 4, 5, "x"), ()]:
        with pytest.raises(XrcoreError, match="six finite numbers"):
            state.numbers = bad
        assert state.numbers == before
    with pytest.raises(XrcoreError, match="six finite numbers"):
        state.set(tx=float("nan"))
    with pytest.raises(XrcoreError, match="must be one Pose"):
        state.pose = Pose.zero(2)
    with pytest.raises(XrcoreError, match="'ttx'"):
        state.set(ttx=1.0)
    assert state.numbers == before
    assert seen == []


@pytest.mark.parametrize("bad", [None, "abc", 5, np.zeros(6), torch.zeros(6)], ids=lambda bad: type(bad).__name__)
def test_what_is_no_sequence_is_refused_in_the_same_words_or_taken(state: PoseState, bad: Any):
    with contextlib.suppress(XrcoreError):
        state.numbers = bad
    assert len(state.numbers) == 6


def test_no_pose_is_kept_out_while_notifications_are_held(state: PoseState):
    with pytest.raises(XrcoreError), state.hold_trait_notifications():
        state.numbers = (float("nan"),) * 6
    assert state.numbers == (0.0,) * 6


def test_a_state_needs_a_volume_and_a_carm():
    for arguments in ((None,), ("ct.nii.gz",), (volume(), "carm.yaml"), (volume(), None)):
        with pytest.raises(XrcoreError, match=r"must be a CArm|must be a Volume"):
            PoseState(*arguments)
    with pytest.raises(XrcoreError):
        PoseState(volume(), pose=Pose.zero(3))


def test_numbers_change_by_name_and_by_pose(state: PoseState):
    state.set(ry=30, tz=-4.5)
    assert state.numbers == (0, 30, 0, 0, 0, -4.5)
    state.pose = Pose(torch.tensor([[1.0, 2, 3, 4, 5, 6]], requires_grad=True))
    assert state.numbers == (1, 2, 3, 4, 5, 6)
    assert state.pose.numbers.dtype == torch.float64
    assert not state.pose.numbers.requires_grad
    state.numbers = [0, 0, 0, 0, 0, 1]  # a list will do
    assert state.pose == Pose(tz=1.0)


@pytest.mark.parametrize(
    "pose",
    [
        Pose.zero(),
        POSE,
        Pose(rx=-0.0004, tz=0.0006),
        Pose(rx=89.99951, ry=-179.99951, tx=-149.99949, tz=999.99949),
        Pose(Pose.random(1, generator=torch.Generator().manual_seed(0)).numbers),
        Pose(tz=-1234.567),
    ],
    ids=str,
)
def test_code_gives_the_pose_back(state: PoseState, pose: Pose):
    state.pose = pose
    again = eval(state.code(), {"xr": xr})
    assert float((again.numbers - pose.numbers).abs().max()) <= 0.5001e-3
    assert "-0" not in state.code().replace("-0.", "")
