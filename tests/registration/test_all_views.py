"""Searches that know nothing of the view."""

from __future__ import annotations

import pytest
import torch

import xrcore as xr
from xrcore.geometry import rigid
from xrcore.registration.all_views import AllViews
from xrcore.registration.box_corners import corners
from xrcore.registration.view import views_of

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=0, spacing=4.0)


def view(primary: float, secondary: float, roll: float, shift: tuple[float, float, float] = (12.0, -9.0, 15.0)) -> xr.Pose:
    """Of a camera that goes around the body, is inclined, and rolls [deg]."""
    matrix = xr.Pose(ry=primary).matrix() @ xr.Pose(rx=secondary).matrix() @ xr.Pose(rz=roll).matrix()
    matrix[0, :3, 3] = torch.tensor(shift, dtype=torch.float64)
    return xr.Pose.from_matrix(matrix)


def apart(found: xr.Pose, truth: xr.Pose, carm: xr.CArm, volume: xr.Volume) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation [deg] and mean displacement of the body across the rays [mm]."""
    a, b = (pose.camera_from_world(carm, volume.isocenter) for pose in (found, truth))
    points = corners(volume)
    across = (rigid.apply(a, points) - rigid.apply(b, points))[..., :2].norm(dim=-1).mean(-1)
    return torch.rad2deg(rigid.angle_between(a, b)), across


def test_candidates_begin_near_the_truth_for_any_camera_and_where_bone_is_dark(volume):
    carm = xr.CArm(
        source_to_detector=1100, source_to_isocenter=700, shape=(96, 128), pixel_spacing=(4.0, 3.0), principal_point=(38.0, 80.0)
    )
    truth = view(20, 10, 30)
    xray = xr.simulate(volume, carm, truth, seed=2)
    starts = AllViews(views=views_of("test", xray.negative()), volume=volume, beam=xr.Beam(), candidates=16)
    rotation, across = apart(starts.poses(xr.Pose.zero()), truth, carm, volume)
    assert len(rotation) == 16
    assert ((rotation < 15) & (across < 30)).any()


@pytest.mark.parametrize(
    "truth",
    [
        pytest.param(view(180, 5, 170), id="from behind, upside down", marks=pytest.mark.slow),
        pytest.param(view(90, 0, 90), id="lateral, a quarter turned"),
    ],
)
def test_a_view_of_which_nothing_is_known_is_found(volume, truth):
    xray = xr.simulate(volume, CARM, truth, seed=1)
    result = xr.register(xray, volume, search="anywhere")
    assert result.trusted, result.reasons
    rotation, across = apart(result.pose, truth, CARM, volume)
    assert rotation < 0.5
    assert across < 1.0


def test_anywhere_takes_no_start(volume):
    xray = xr.simulate(volume, CARM, xr.Pose.zero(), seed=1)
    with pytest.raises(xr.XrcoreError, match="initial"):
        xr.register(xray, volume, xr.Pose.zero(), search="anywhere")
    with pytest.raises(xr.XrcoreError, match="anywhere"):
        xr.register(xray, volume, search="everywhere")
