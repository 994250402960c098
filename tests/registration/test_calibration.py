"""Unknown intrinsics estimated with the pose: exact derivatives, honest covariance, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.testing import assert_close

import xrcore as xr
from xrcore import View
from xrcore.geometry import camera_rays, rigid
from xrcore.registration.calibration import INTRINSICS, free_from_text, unknowns_of
from xrcore.registration.linearisation import drawn_by_intrinsics, intrinsic_columns
from xrcore.registration.verify import failed_checks
from xrcore.renderer import reference
from xrcore.renderer.reference import area_density
from xrcore.utilities import read_json

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
SMALL = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(14, 16), pixel_spacing=26.0, principal_point=(6.0, 9.0))
SLOT = xr.SlotScan(source_to_detector=1040, source_to_isocenter=570, shape=(16, 14), pixel_spacing=(16.0, 26.0))
COLUMNS = xr.SlotScan(source_to_detector=1040, source_to_isocenter=570, shape=(14, 16), pixel_spacing=(26.0, 16.0), scan="columns")
POSE = xr.Pose(rx=5, ry=-8, rz=3, tx=6, ty=-10, tz=15)
QUICK = xr.GaussNewton(levels=(xr.Level(pixels=128, spacing=4.0, iterations=4, similarity="robust-local-zncc"),))
TRUE = (1260.0, 63.5, 63.5)


@cache
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=0, spacing=4.0)


@cache
def coarse() -> xr.Volume:
    body = xr.phantom.pelvis(0, 10.0)
    return replace(body, density=body.density.double())


def camera(carm: xr.CArm, distance: float = 0.0, row: float = 0.0, col: float = 0.0) -> xr.CArm:
    point = (carm.center[0] + row, carm.center[1] + col)
    return replace(carm, source_to_detector=carm.source_to_detector + distance, principal_point=point)


@cache
def seen(distance: float = 0.0, row: float = 0.0, col: float = 0.0) -> xr.Xray:
    """A simulated X-ray whose geometry is said to be another."""
    return replace(xr.simulate(volume(), CARM, POSE, seed=1), carm=camera(CARM, distance, row, col))


@cache
def calibrated() -> xr.Registration:
    """With 2 % too large a distance, and a centre 2 pixels off."""
    return xr.register(seen(25.2, 2.0, -2.0), volume(), free=INTRINSICS)


def within(calibration: xr.Calibration, true: tuple[float, ...]) -> bool:
    """Whether all 95 % intervals hold the truth."""
    rows = zip(calibration.found, true, calibration.standard_deviation, strict=True)
    return all(abs(found - value) < 1.96 * sd for found, value, sd in rows)


@pytest.mark.parametrize("carm", [SMALL, SLOT, COLUMNS], ids=["pinhole", "rows", "columns"])
@pytest.mark.parametrize(("number", "step"), [(0, 1e-3), (1, 1e-5), (2, 1e-5)])
def test_derivatives_are_those_of_finite_differences(carm, number, step):
    _, jacobian = xr.render_with_jacobian(coarse(), carm, POSE, backend="reference")
    change = [0.0, 0.0, 0.0]
    change[number] = step
    ahead, behind = (xr.render(coarse(), camera(carm, *(s * c for c in change)), POSE, backend="reference") for s in (1, -1))
    expected = (ahead - behind) / (2 * step)
    assert expected.abs().max() > 1e-3
    off = (intrinsic_columns(jacobian, carm, POSE)[..., number] - expected).abs()
    assert off.median() < 1e-9  # but for rays that cross a kink of the interpolation within the step
    assert (off < 1e-6).float().mean() > 0.97


def test_the_distance_is_as_autograd_has_it_along_the_rays():
    carm, body, beam = SMALL, coarse(), xr.Beam()
    _, jacobian = xr.render_with_jacobian(body, carm, POSE, backend="reference")
    view = body.voxel_from_world @ POSE.world_from_camera(carm, body.isocenter)[0]
    scale = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64) / carm.source_to_detector

    def image(distance: torch.Tensor) -> torch.Tensor:
        rays = (camera_rays(carm) * (1 - scale * distance)).reshape(-1, 3)  # to first order in the distance
        directions, origins = rays @ view[:3, :3].T, view[:3, 3].expand(len(rays), 3)
        sums = reference._project(body.density, origins, directions, rays.norm(dim=-1), 2000.0, torch.float64)
        return beam.image(sums.reshape(1, *carm.shape, -1), body.materials)

    zero = torch.zeros((), dtype=torch.float64)
    assert_close(image(zero), beam.image(area_density(body, carm, POSE), body.materials))
    _, expected = torch.func.jvp(image, (zero,), (zero + 1,))
    assert_close(intrinsic_columns(jacobian, carm, POSE)[..., 0], expected, rtol=1e-9, atol=1e-12)


def test_points_are_drawn_where_the_camera_projects_them():
    points, matrix = volume().surface_points()[:50], POSE.camera_from_world(CARM, volume().isocenter)
    places = rigid.apply(matrix, points)[0]
    at = torch.tensor(CARM.focal_lengths, dtype=torch.float64)
    for number, step in ((0, 1e-2), (1, 1e-3), (2, 1e-3)):
        change = [0.0, 0.0, 0.0]
        change[number] = step
        moved = (camera(CARM, *change).project(places) - CARM.project(places)) / step
        across = (moved * places[:, 2:] / at).flip(1)  # (x, y) at the points' depth
        assert_close(drawn_by_intrinsics(POSE, CARM, volume(), points)[..., number], across, rtol=1e-3, atol=1e-6)


def test_a_wrong_distance_is_found_and_the_centre_said_to_be_open():
    result = calibrated()
    calibration = result.calibration
    assert calibration is not None
    assert within(calibration, TRUE)
    assert not any(calibration.observable[1:])
    assert abs(calibration.found[0] - TRUE[0]) < 12.6  # half of the error
    assert "principal_row" in repr(result)
    assert "not observable" in repr(result)
    assert result.trusted
    assert result.xray.carm.source_to_detector == pytest.approx(calibration.found[0])  # the result's camera is the calibrated one


def test_depth_and_distance_trade_off_in_the_covariance():
    covariance = calibrated().calibration.covariance
    correlation = covariance[5, 6] / (covariance[5, 5] * covariance[6, 6]).sqrt()
    assert abs(correlation) > 0.9
    fixed = xr.register(seen(), volume())
    assert calibrated().standard_deviation[5] > 3 * fixed.standard_deviation[5]
    assert_close(calibrated().covariance, covariance[:6, :6])


def test_a_narrow_prior_holds_what_is_given():
    free = {"source_to_detector": 0.1}
    result = xr.refine(seen(25.2, 2.0, -2.0), volume(), POSE, QUICK, free=free)
    assert result.calibration.found[0] == pytest.approx(1285.2, abs=0.3)
    assert result.calibration.standard_deviation[0] == pytest.approx(0.1, rel=0.05)
    assert result.calibration.names == ("source_to_detector",)


@cache
def pair(other: xr.CArm = CARM) -> tuple[View, View]:
    """A frontal and an oblique view; the geometry of both is said to have 2 % too large a distance."""
    made = []
    for number, (carm, pose) in enumerate(((CARM, POSE), (other, xr.Pose(rx=-4, ry=64, tz=8)))):
        xray = replace(xr.simulate(volume(), carm, pose, seed=number), carm=camera(carm, 0.02 * carm.source_to_detector))
        made.append(View(xray=xray, camera_from_rig=pose.camera_from_world(carm, volume().isocenter)[0]))
    return made[0], made[1]


def test_views_of_one_geometry_share_its_distance():
    result = xr.refine(pair(), volume(), POSE, QUICK, free=INTRINSICS[:1])
    (found,) = result.calibration.found
    assert within(result.calibration, TRUE[:1])
    assert [view.carm.source_to_detector for view in result.views] == pytest.approx([found, found])
    # what the other view sees of the depth tells the distance
    assert result.calibration.observable == (True,)
    assert result.calibration.standard_deviation[0] < 0.5 * calibrated().calibration.standard_deviation[0]


def test_views_of_several_geometries_have_their_own():
    views = pair(xr.CArm(source_to_detector=1100, source_to_isocenter=700, shape=(96, 80), pixel_spacing=4.5))
    result = xr.refine(views, volume(), POSE, QUICK, free=INTRINSICS[:1])
    assert result.calibration.names == ("source_to_detector (view 1)", "source_to_detector (view 2)")
    assert within(result.calibration, (1260.0, 1100.0))
    assert [view.carm.source_to_detector for view in result.views] == pytest.approx(list(result.calibration.found))


def test_the_distance_of_a_slot_scan_can_be_free():
    carm = xr.SlotScan(source_to_detector=1200, source_to_isocenter=600, shape=(96, 96), pixel_spacing=(4.0, 8.0))
    xray = replace(xr.simulate(volume(), carm, POSE, seed=1), carm=replace(carm, source_to_detector=1224.0))
    result = xr.refine(xray, volume(), POSE, QUICK, free=INTRINSICS[:1])
    assert within(result.calibration, (1200.0,))
    assert isinstance(result.xray.carm, xr.SlotScan)


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (("focal_length",), "register: free must name source_to_detector or principal_point, got 'focal_length'"),
        (("source_to_detector", "source_to_detector"), "register: free names source_to_detector twice"),
        ((), "free must be a list of source_to_detector and principal_point"),
        ("source_to_detector", "free must be a list of"),
        ({"source_to_detector": 0}, "a positive standard deviation"),
        ({"source_to_detector": float("nan")}, "a positive standard deviation"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(free, said):
    with pytest.raises(xr.XrcoreError, match=r"^[^\n]*$") as error:
        xr.register(seen(), volume(), free=free)
    assert said in str(error.value)


def test_a_slot_scan_has_no_principal_point_to_free():
    view = View(xray=xr.Xray(image=torch.rand(16, 14), carm=SLOT), camera_from_rig=torch.eye(4))
    with pytest.raises(xr.XrcoreError, match="principal_point cannot be free in a SlotScan"):
        unknowns_of("register", INTRINSICS, [view])


def test_the_command_takes_names_and_widths():
    assert free_from_text("source-to-detector,principal-point=3") == {"source_to_detector": None, "principal_point": 3.0}
    for text in ("sdd", "source-to-detector,source-to-detector", "principal-point=wide", ""):
        with pytest.raises(xr.XrcoreError, match=r"^--free: [^\n]*$"):
            free_from_text(text)


def test_what_was_found_is_written_and_read(tmp_path):
    calibrated().save(tmp_path / "out")
    record = read_json(tmp_path / "out" / "registration.json")
    assert record["carm"]["source_to_detector"] == record["calibration"]["found"][0]
    assert record["calibration"]["standard_deviation"] == list(calibrated().calibration.standard_deviation)
    again = xr.Registration.load(tmp_path / "out")
    assert str(again.calibration) == str(calibrated().calibration)
    assert_close(again.calibration.covariance, calibrated().calibration.covariance)


def test_two_views_tell_a_wrong_distance():
    once = {"initial": POSE, "search": xr.SearchBox(candidates=1), "retries": 0}
    result = xr.register(pair(), volume(), **once)
    assert not result.trusted
    assert "the calibration seems wrong: source_to_detector would be -" in result.reasons[0]  # before what it does to the match
    off, deviation = result.evidence.distance_off, result.evidence.distance_deviation
    assert off == pytest.approx(1 / 1.02 - 1, abs=3 * deviation)
    again = xr.register(pair(), volume(), **once, free=INTRINSICS[:1])
    assert again.trusted


@pytest.mark.parametrize(
    ("off", "deviation", "doubted"), [(-0.02, 0.003, True), (0.02, 0.003, True), (-0.02, 0.01, False), (0.008, 0.001, False)]
)
def test_only_a_large_and_certain_error_of_the_distance_is_doubted(off, deviation, doubted):
    right = xr.Evidence(agreement=0.98, displacement=0.1, likeness=0.99, blocks=90.0, deviation=0.3)
    assert failed_checks(right) == ()
    reasons = failed_checks(replace(right, distance_off=off, distance_deviation=deviation))
    assert bool(reasons) == doubted
    assert not doubted or f"{100 * off:+.1f}" in reasons[0]
