"""LandscapeViewer, driven as a page would drive it, but without one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.small_pelvis import CARM, size, volume
from traitlets import HasTraits, Instance, Tuple

from xrcore import Pose, Volume, Xray, XrcoreError, render
from xrcore.widgets import LandscapeViewer, PoseState, Session

TRUTH = Pose(rx=3.0, ry=-5.0, tx=6.0, tz=8.0)


def xray(pose: Pose = TRUTH) -> Xray:
    return Xray(image=render(volume(0), CARM, pose)[0], carm=CARM)


@pytest.fixture
def landscape():
    viewer = LandscapeViewer(xray(), volume(0))
    yield viewer
    viewer.close()


def test_an_x_ray_and_a_volume_make_a_landscape(landscape: LandscapeViewer):
    assert landscape.state.center == Pose.zero()
    assert landscape.snapshot() == landscape.profiles.value
    assert size(landscape.profiles.value)[0] == 1000
    assert "zncc" in landscape.table.value
    assert landscape.here.layout.display == "none"  # there is no session


def test_the_centre_is_the_pose_given_or_the_x_rays_own():
    assert LandscapeViewer(xray(), volume(0), TRUTH).state.center == TRUTH
    assert LandscapeViewer(replace(xray(), pose=TRUTH), volume(0)).state.center == TRUTH


def test_choosing_a_similarity_changes_pictures_and_nothing_is_computed_again(landscape: LandscapeViewer):
    before, plane, found = landscape.profiles.value, landscape.plane.value, landscape.state.profiles
    landscape.similarity.value = "wlmi"
    assert landscape.state.selected == "wlmi"
    assert landscape.profiles.value != before
    assert landscape.plane.value != plane
    assert landscape.state.profiles is found
    assert landscape.descend.disabled  # nothing to descend on
    landscape.state.selected = "zncc"  # and from the state to the page
    assert landscape.similarity.value == "zncc"
    assert landscape.profiles.value == before
    assert not landscape.descend.disabled


def test_the_pair_stays_a_pair(landscape: LandscapeViewer):
    found = landscape.state.profiles
    before = landscape.plane.value
    landscape.first.value = "rz"
    assert landscape.state.pair == ("rz", "tx")
    assert landscape.state.plane.axes == ("rz", "tx")
    assert landscape.plane.value != before
    landscape.second.value = "rz"  # the other gives way
    assert landscape.state.pair == (landscape.first.value, landscape.second.value) == ("tx", "rz")
    landscape.first.value = "rz"
    assert landscape.state.pair == (landscape.first.value, landscape.second.value) == ("rz", "tx")
    assert landscape.state.profiles is found
    with pytest.raises(XrcoreError, match="pair"):
        landscape.state.pair = ("rx", "rx")
    assert landscape.state.pair == ("rz", "tx")


def test_a_longer_reach_computes_again(landscape: LandscapeViewer):
    before = landscape.profiles.value
    landscape.rotation.value = 20
    landscape.translation.value = 40
    assert landscape.state.profiles.offsets[:, -1].tolist() == [20.0] * 3 + [40.0] * 3
    assert landscape.state.plane.offsets[:, -1].tolist() == [20.0, 40.0]  # ry, tx
    assert landscape.profiles.value != before


def test_descents_appear_and_go_with_what_they_belong_to():
    viewer = LandscapeViewer(xray(), volume(0), TRUTH)
    assert "↩" not in viewer.table.value
    before = viewer.profiles.value
    viewer.descend.click()
    assert viewer.profiles.value != before
    assert "↩" in viewer.table.value
    back = viewer.state.returns["zncc"]
    assert back.reached[:, back.offsets.shape[1] // 2].all()
    viewer.similarity.value = "local-zncc"
    assert list(viewer.state.returns) == ["zncc"]
    viewer.rotation.value = 15
    assert viewer.state.returns == {}
    assert "↩" not in viewer.table.value


def test_descents_look_for_the_truth_where_it_is_known():
    viewer = LandscapeViewer(xray(), volume(0), Pose(TRUTH.numbers + torch.tensor([0, 0, 0, 25.0, 0, 0])), truth=TRUTH)
    viewer.descend.click()
    back = viewer.state.returns["zncc"]
    assert back.target == TRUTH
    assert back.reached[:, back.offsets.shape[1] // 2].all()  # though they start 25 mm from it


def test_errors_of_a_landscape_show_in_the_page(landscape: LandscapeViewer):
    landscape.state.selected = "wlmi"
    landscape.guarded(landscape.try_descents)(None)
    assert 'role="alert"' in landscape.note.value
    assert "needs a similarity with a residual" in landscape.note.value
    landscape.state.xray = None
    landscape.guarded(landscape.compute)(None)
    assert "no X-ray" in landscape.note.value


def test_a_landscape_of_nothing_is_refused():
    with pytest.raises(XrcoreError, match="xray must be an Xray"):
        LandscapeViewer()
    with pytest.raises(XrcoreError, match="volume must be a Volume"):
        LandscapeViewer(xray(), "ct.nii.gz")  # type: ignore[arg-type]
    with pytest.raises(XrcoreError, match="or a session"):
        LandscapeViewer(xray(), session=Shared())
    with pytest.raises(XrcoreError, match="no trait 'xray'"):
        LandscapeViewer(session=PoseState(volume(0), CARM))


class Shared(HasTraits):
    """The least that a landscape can follow."""

    xray = Instance(Xray, allow_none=True)
    volume = Instance(Volume, allow_none=True)
    numbers = Tuple((0.0,) * 6)


def test_a_session_is_followed_and_its_pose_taken_over_on_request():
    session = Shared(volume=volume(0))
    viewer = LandscapeViewer(session=session)
    assert viewer.snapshot() is None
    assert "no X-ray yet" in viewer.note.value
    viewer.here.click()
    assert 'role="alert"' in viewer.note.value  # still none
    session.xray = xray()
    assert viewer.state.xray is session.xray
    assert viewer.state.profiles is None  # computing is slow, so nobody is made to wait unasked
    session.numbers = tuple(TRUTH.numbers[0].tolist())
    viewer.here.click()
    assert viewer.state.profiles.center == TRUTH
    assert viewer.snapshot()
    session.numbers = (0.0,) * 6
    assert viewer.state.profiles.center == TRUTH
    assert "the pose moved" in viewer.note.value
    session.xray = xray(Pose.zero())  # another X-ray: what was found is not about it
    assert viewer.state.profiles is None
    assert viewer.snapshot() is None
    viewer.close()
    session.xray = xray()
    assert viewer.state.xray is not session.xray


def test_a_session_with_an_x_ray_is_shown_at_once():
    viewer = LandscapeViewer(session=Shared(xray=xray(), volume=volume(0), numbers=tuple(TRUTH.numbers[0].tolist())))
    assert viewer.state.profiles.center == TRUTH


def test_an_inverted_xray_is_taken_as_registered():
    session = Session(volume(0), xray().negative())
    before = LandscapeViewer(session=session)
    session.register()
    assert session.result.inverted
    assert before.state.profiles is None  # what was computed of bone dark
    for viewer in (before, LandscapeViewer(session=session)):
        viewer.here.click()
        assert viewer.state.profiles.values["zncc"].max() > 0.9


def test_a_registration_of_the_same_xray_keeps_the_profiles():
    session = Session(volume(0), xray())
    viewer = LandscapeViewer(session=session)
    found = viewer.state.profiles
    session.register()
    assert session.result.xray is session.xray
    assert viewer.state.profiles is found
