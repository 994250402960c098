"""PoseExplorer: what it shows, where it goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from support.small_pelvis import CARM, OBLONG, PATIENTS, gesture, size, volume

from xrcore import Pose, XrcoreError
from xrcore._util.pose_text import named_view
from xrcore.widgets import PoseExplorer, PoseState
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.choices import BEAMS
from xrcore.widgets.explorer import STANDARD_VIEWS


def test_views_are_what_a_radiographer_calls_so():
    isocenter = volume().isocenter
    sources = {
        name: Pose(named_view(view)).world_from_camera(CARM, isocenter)[0, :3, 3] - isocenter for name, view in STANDARD_VIEWS.items()
    }
    left, back, head = torch.eye(3, dtype=torch.float64)
    reach = CARM.source_to_isocenter
    assert float(sources["AP"] @ back) == pytest.approx(-reach)
    assert abs(float(sources["lateral"] @ left)) == pytest.approx(reach)
    assert float(sources["inlet"] @ head) > 0.5 * reach  # from the head's side
    assert float(sources["outlet"] @ head) < -0.5 * reach
    assert abs(float(sources["oblique"] @ left)) == pytest.approx(-float(sources["oblique"] @ back))


@pytest.fixture
def explorer() -> Iterator[PoseExplorer]:
    explorer = PoseExplorer(volume(), OBLONG, patients=PATIENTS)
    yield explorer
    explorer.close()


def shown(canvas: Canvas) -> bytes:
    assert size(canvas.front)
    return canvas.front


def test_the_explorer_shows_the_pose(explorer: PoseExplorer):
    assert explorer.pose == Pose.zero()
    seen = {shown(explorer.canvas)}
    explorer.state.set(ry=30.0)
    seen.add(shown(explorer.canvas))
    explorer.look("lateral")
    seen.add(shown(explorer.canvas))
    explorer.beam.value = BEAMS["60 kV"]
    assert explorer.state.beam == BEAMS["60 kV"]
    seen.add(shown(explorer.canvas))
    explorer.patient.value = "two"
    assert explorer.state.volume is volume(5)
    seen.add(shown(explorer.canvas))
    explorer.canvas.gesture = gesture(press=1, dx=0.1)
    seen.add(shown(explorer.canvas))
    assert len(seen) == 6
    assert size(explorer.canvas.front) == (80, 40)
    assert explorer.copy.text == explorer.code.value == explorer.state.code()
    explorer.reset()
    assert explorer.pose == Pose.zero()
    explorer.canvas.gesture = gesture(press=1, dx=0.1, keys={"]": 2})
    explorer.canvas.gesture = gesture(press=1, dx=0.1, keys={"]": 2, "Home": 1})
    assert explorer.pose == Pose.zero()


def test_drafts_have_half_the_pixels(explorer: PoseExplorer):
    assert explorer.picture().shape == (40, 80)
    assert explorer.picture(draft=True).shape == (20, 40)
    explorer.state.carm = OBLONG.resized((5, 9))
    assert explorer.picture(draft=True).shape == (2, 4)


def test_the_explorer_keeps_what_it_has_when_a_patient_cannot_be_read(explorer: PoseExplorer):
    before = shown(explorer.canvas)
    explorer.patient.value = "none"
    assert "&lt;ct.nii.gz&gt;: is damaged" in explorer.note.value
    assert explorer.state.volume is volume()
    assert explorer.canvas.front == before
    explorer.state.set(rx=10.0)
    assert explorer.canvas.front != before


def test_explorers_of_one_state_move_together_until_they_close(state: PoseState):
    one, other = PoseExplorer(state=state, patients=PATIENTS), PoseExplorer(state=state, patients=PATIENTS)
    before = other.canvas.front
    one.canvas.gesture = gesture(press=1, dx=0.1)
    assert other.canvas.front == one.canvas.front != before
    one.close()
    last = one.canvas.front, one.code.value, one.sliders.sliders["ry"].value, one.patient.value, one.beam.value
    state.set(ry=40.0)
    state.choose(PATIENTS["two"])
    state.beam = BEAMS["60 kV"]
    assert (one.canvas.front, one.code.value, one.sliders.sliders["ry"].value, one.patient.value, one.beam.value) == last
    assert other.canvas.front != last[0]
    other.close()


def test_a_view_that_does_not_exist_is_refused(explorer: PoseExplorer):
    with pytest.raises(XrcoreError, match="no view 'PA'; choose one of AP, lateral"):
        explorer.look("PA")


def test_a_pose_that_a_computation_moves_is_left(explorer: PoseExplorer):
    explorer.state.pose = pose = Pose(ry=20.0)
    explorer.state.running = True
    explorer.look("lateral")
    explorer.reset()
    assert explorer.pose == pose
    explorer.state.running = False
    explorer.reset()
    assert explorer.pose == Pose.zero()
