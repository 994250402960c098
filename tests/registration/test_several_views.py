"""`register` of several calibrated views of one instant: one answer, one verdict, as of one X-ray."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.testing import assert_close

import xrcore as xr
from xrcore import View
from xrcore.geometry import rigid
from xrcore.registration.joint_problem import JointProblem
from xrcore.registration.mirrored import mirror_view

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(96, 96), pixel_spacing=4.5)
OTHER = xr.CArm(source_to_detector=1100, source_to_isocenter=700, shape=(96, 80), pixel_spacing=4.5, principal_point=(45.0, 42.0))
TRUTH, SECOND = xr.Pose(rx=3, ry=-8, rz=2, tx=10, ty=-6, tz=14), xr.Pose(rx=-4, ry=64, rz=1, tx=-5, ty=3, tz=8)


@cache
def body(seed: int = 0) -> xr.Volume:
    return xr.phantom.pelvis(seed=seed, spacing=4.0)


@cache
def views(seed: int = 0) -> tuple[View, View]:
    """Two cameras at the poses above, the rig's frame at neither."""
    volume = body(seed)
    rig_from_ct = xr.Pose(rx=20, ty=50).camera_from_world(CARM, volume.isocenter)[0]
    made = []
    for number, (carm, pose) in enumerate(((CARM, TRUTH), (OTHER, SECOND))):
        camera_from_rig = pose.camera_from_world(carm, volume.isocenter)[0] @ rigid.invert(rig_from_ct)
        made.append(View(xray=xr.simulate(volume, carm, pose, seed=number), camera_from_rig=camera_from_rig))
    return made[0], made[1]


@cache
def found() -> xr.Registration:
    return xr.register(views(), body())


def error(result: xr.Registration, number: int = 0) -> float:
    return float((result.poses()[number].numbers - (TRUTH, SECOND)[number].numbers).abs().max())


def test_two_views_are_registered_as_one():
    result = found()
    assert result.trusted
    assert error(result) < 0.5
    assert error(result, 1) < 0.5
    wanted = views()[0].rig_from_ct(TRUTH, body())[0]
    assert_close(result.rig_from_ct(), wanted, atol=0.5, rtol=0)
    assert len(result.views) == 2


def test_two_views_know_the_depth_that_one_does_not():
    alone = xr.register(views()[0].xray, body())
    assert alone.standard_deviation is not None
    assert found().standard_deviation is not None
    assert found().standard_deviation[5] < 0.5 * alone.standard_deviation[5]


def test_a_list_of_one_view_is_the_xray():
    alone, listed = xr.register(views()[0].xray, body()), xr.register([views()[0]], body())
    assert_close(alone.pose.numbers, listed.pose.numbers, rtol=0, atol=1e-6)
    assert alone.confidence == pytest.approx(listed.confidence)


def test_a_view_whose_bone_is_dark_is_turned_by_itself():
    first, second = views()
    dark = replace(second, xray=replace(second.xray.negative(), bone_bright=False))
    result = xr.register([first, dark], body())
    assert error(result) < 0.5
    assert result.trusted
    assert not result.inverted
    assert any(note.startswith("view 2: ") and "bone dark" in note for note in result.notes)


@pytest.mark.parametrize("method", ["adam", "lbfgs", "powell"])
def test_other_methods_refine_several_views(method):
    start = xr.Pose(TRUTH.numbers + 0.5)
    result = xr.refine(views(), body(), start, method)
    assert error(result) < 0.5
    assert not result.trusted


def test_the_gradient_is_the_derivative_of_the_value():
    problem = JointProblem(views(), body(), xr.Beam(), "zncc", pixels=48)
    pose = xr.Pose(TRUTH.numbers + 1.0)
    _, gradient = problem.value_and_gradient(pose)
    steps = 0.02 * torch.eye(6, dtype=torch.float64)
    there, here = (problem.value(xr.Pose(pose.numbers + sign * steps)) for sign in (1, -1))
    assert_close(gradient[0], (there - here) / 0.04, rtol=0.02, atol=2e-5)


def test_views_of_another_body_are_not_trusted():
    assert not xr.register(views(), body(3)).trusted


def test_cameras_that_stand_elsewhere_are_not_trusted():
    first, second = views()
    turned = second.camera_from_rig @ xr.Pose(ry=25.0).camera_from_world(CARM, torch.zeros(3))[0]
    assert not xr.register([first, replace(second, camera_from_rig=turned)], body()).trusted


def test_mirrored_views_are_not_trusted():
    assert not xr.register([mirror_view(view) for view in views()], body()).trusted


def test_mirroring_twice_gives_the_view_again():
    view = views()[1]
    again = mirror_view(mirror_view(view))
    assert torch.equal(again.camera_from_rig, view.camera_from_rig)
    assert torch.equal(again.xray.image, view.xray.image)
    assert again.carm == view.carm


@pytest.mark.parametrize("given", [[], "xray.png", None, [1, 2]])
def test_what_is_no_view_is_refused(given):
    with pytest.raises(xr.XrcoreError, match="register: xray must be an Xray"):
        xr.register(given, body())
