"""PoseSliders: a pose shown and changed."""

from __future__ import annotations

from typing import Any

import pytest
from support.small_pelvis import POSE

from xrcore import Pose
from xrcore.geometry import POSE_NAMES as NAMES
from xrcore.widgets import PoseState
from xrcore.widgets.sliders import PoseSliders


def test_sliders_go_both_ways(state: PoseState):
    sliders = PoseSliders(state)
    state.pose = POSE
    assert [slider.value for slider in sliders.sliders.values()] == POSE.numbers[0].tolist()
    sliders.sliders["ry"].value = 17.3
    assert state.pose == Pose([12.0, 17.3, 8.0, 6.0, -7.0, 8.0])
    assert {f"xr-{name}" for name in NAMES} == {slider._dom_classes[0] for slider in sliders.sliders.values()}


def test_sliders_do_not_answer_themselves(state: PoseState):
    """One change of the state is one change; and what a browser sends back, rounded, is none."""
    sliders = PoseSliders(state)
    seen: list[Any] = []
    state.observe(lambda change: seen.append(change["new"]), names="numbers")
    fine = (1.23456, -2.34567, 3.45678, -4.56789, 5.67891, -6.78912)
    state.numbers = fine
    assert seen == [fine]
    for slider in sliders.sliders.values():
        slider.value = round(slider.value, 1)
    assert seen == [fine]
    assert state.numbers == fine
    sliders.sliders["tx"].value += 0.1  # an arrow key
    assert len(seen) == 2


def test_a_number_beyond_its_slider_widens_it(state: PoseState):
    sliders = PoseSliders(state)
    tx = sliders.sliders["tx"]
    before = tx.max
    for number in (before + 100.05, -before - 250.0):
        state.set(tx=number)
        assert state.numbers[3] == number
        assert tx.value == pytest.approx(number)
        assert tx.min <= number <= tx.max
        assert tx.min == -tx.max
    state.set(tx=0.0)
    tx.value = tx.max
    assert state.numbers[3] == tx.max
    assert sliders.sliders["ty"].max == before


def test_closed_sliders_let_go(state: PoseState):
    sliders = PoseSliders(state)
    sliders.close()
    state.set(rx=5.0)
    assert sliders.sliders["rx"].value == 0.0
    sliders.close()  # again does no harm
