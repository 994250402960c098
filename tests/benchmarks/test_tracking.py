"""The tracking benchmark counts what was lost, and what of it was trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tracking
from common import scenes

import xrcore as xr


def test_lost_frames_and_false_trust_are_counted():
    volume, carm, truths = xr.phantom.pelvis(spacing=10.0), scenes.carm(32), tracking.cine(5)
    right = [xr.TrackedFrame(pose=t, covariance=None, similarity=0.5, confidence=1, trusted=True, seconds=0.05) for t in truths]
    wrong = replace(right[2], pose=xr.Pose(truths[2].numbers + 20))
    frames = (right[0], replace(right[1], trusted=False), wrong, replace(wrong, trusted=False, pose=wrong.pose), right[4])
    track = xr.Track(frames=frames, carm=carm, isocenter=volume.isocenter)
    found = tracking.figures(track, 50.0, truths, volume, carm)
    assert found["lost"].value == 2
    assert found["false"].value == 1
    assert found["refused"].value == 1
    assert found["mtre"].value == pytest.approx(0, abs=1e-9)
    assert found["median"].value == pytest.approx(20)


def test_the_second_view_sees_the_same_body():
    volume, carm, truths = xr.phantom.pelvis(spacing=10.0), scenes.carm(32), tracking.cine(1)
    ((first, second),) = tracking.simulated(volume, carm, truths, 2)
    placed = first.rig_from_ct(truths[0], volume)[0]
    apart = second.pose(placed, volume).numbers - truths[0].numbers
    assert abs(float(apart[0, 1])) > 60  # about 85 degrees aside
