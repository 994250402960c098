"""SlotScan against closed forms of its projection, and in what takes a CArm."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import xrcore as xr
from xrcore._util.errors import XrcoreError
from xrcore.geometry import camera_rays, geometry_from_dict, ray_origins
from xrcore.registration.problem import pixel_at_isocenter

SCANS = pytest.mark.parametrize("scan", ["rows", "columns"])


def scout(scan: str = "rows", **changed) -> xr.SlotScan:
    given = {"shape": (40, 60), "pixel_spacing": (1.5, 2.5), "principal_point": (17.0, 33.0), "scan": scan}
    return xr.SlotScan(source_to_detector=1000, source_to_isocenter=600, **given | changed)


def test_along_the_scan_nothing_is_magnified_and_across_it_as_by_a_pinhole():
    x, y, _ = points = torch.tensor([30.0, -21.0, 500.0], dtype=torch.float64)
    pinhole = xr.CArm(source_to_detector=1000, source_to_isocenter=600, shape=(40, 60), pixel_spacing=(1.5, 2.5), principal_point=(17, 33))
    row, col = pinhole.project(points[None])[0]
    assert_close(scout("rows").project(points[None])[0], torch.stack([17 + y / 1.5, col]))
    assert_close(scout("columns").project(points[None])[0], torch.stack([row, 33 + x / 2.5]))


@SCANS
def test_each_pixels_ray_projects_to_the_pixel(scan):
    carm = scout(scan)
    rows, cols = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    for depth in (1.0, 600.0, 1000.0):
        points = ray_origins(carm) + depth * camera_rays(carm)
        assert_close(carm.project(points), torch.stack([rows, cols], -1).double(), atol=1e-9, rtol=0)


@SCANS
def test_parts_and_other_pixels_of_an_image_are_where_they_were(scan):
    carm = scout(scan)
    where = carm.project(torch.tensor([[12.0, 9.0, 550.0]]))
    assert_close(carm.cropped(5, 8, (20, 30)).project(torch.tensor([[12.0, 9.0, 550.0]])), where - torch.tensor([5.0, 8.0]))
    halved = carm.resized((20, 30))
    assert_close(halved.project(torch.tensor([[12.0, 9.0, 550.0]])), (where + 0.5) / 2 - 0.5)
    assert_close(halved.corners(), carm.corners())
    assert_close(carm.project(carm.corners())[0], torch.tensor([-0.5, -0.5], dtype=torch.float64))


@SCANS
def test_pixels_given_at_the_isocentre(scan):
    carm = xr.SlotScan.from_isocenter_spacing((0.7, 0.9), (64, 64), source_to_isocenter=570, source_to_detector=1040, scan=scan)
    assert carm.spacing_at(570) == pytest.approx((0.7, 0.9))
    assert pixel_at_isocenter(carm) == pytest.approx(0.9)
    points = torch.tensor([[9.0, 7.0, 570.0]], dtype=torch.float64)
    assert_close(carm.project(points), torch.tensor([[31.5 + 10, 31.5 + 10]], dtype=torch.float64))
    assert xr.SlotScan.from_isocenter_spacing(1.0, (8, 8), source_to_isocenter=600, scan=scan).source_to_detector == 1200


@SCANS
def test_it_is_written_and_read_back(tmp_path, scan):
    carm = scout(scan)
    assert eval(repr(carm), {"SlotScan": xr.SlotScan}) == carm == geometry_from_dict(carm.to_dict())
    assert carm != xr.CArm(**{k: v for k, v in carm.to_dict().items() if k != "scan"})
    xr.write_carm(tmp_path / "carm.yaml", carm)
    assert xr.read_carm(tmp_path / "carm.yaml") == carm


def test_a_file_may_give_pixels_at_the_isocentre(tmp_path):
    file = tmp_path / "carm.yaml"
    file.write_text("scan: columns\nsource_to_isocenter: 600\nisocenter_spacing: 0.5\n")
    assert xr.read_carm(file, (32, 48)) == xr.SlotScan.from_isocenter_spacing(0.5, (32, 48), source_to_isocenter=600, scan="columns")


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("scan: sideways", "scan must be rows or columns"),
        ("scan: rows", "lacks pixel_spacing"),
        ("isocenter_spacing: 1.0", "isocenter_spacing is of slot scans"),
        ("scan: rows\nK: [[900, 0, 16], [0, 900, 16], [0, 0, 1]]\npixel_spacing: 1.0", "no K"),
        ("scan: rows\nisocenter_spacing: -1", "spacing must be a positive length"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path, lines, what):
    file = tmp_path / "carm.yaml"
    distance = "" if "K" in lines else "source_to_detector: 1200\n"
    file.write_text(f"source_to_isocenter: 600\n{distance}{lines}\n")
    with pytest.raises(XrcoreError, match=what) as error:
        xr.read_carm(file, (32, 32))
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: scout("diagonal"), "SlotScan: scan must be"),
        (lambda: scout(pixel_spacing=0), "SlotScan: pixel_spacing must be"),
        (lambda: xr.SlotScan.from_intrinsics([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (8, 8)), "SlotScan: a camera matrix"),
        (lambda: xr.SlotScan.from_isocenter_spacing(1.0, (8, 8), source_to_isocenter=-3), "source_to_isocenter must be"),
        (lambda: scout().K, "no camera matrix"),
        (lambda: xr.train(xr.phantom.pelvis(spacing=10.0), scout()), "train: a SlotScan is not supported"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(call, what):
    with pytest.raises(XrcoreError, match=what):
        call()


def test_dicom_has_no_place_for_it(tmp_path):
    xray = xr.Xray(image=torch.rand(40, 60), carm=scout())
    with pytest.raises(XrcoreError, match="write a slot scan as"):
        xr.write_xray(tmp_path / "scout.dcm", xray)
    assert not list(tmp_path.iterdir())


def test_errors_of_poses_are_measured_in_its_projection():
    carm, landmarks, isocenter = scout("rows"), [[0.0, 0.0, 0.0]], [0.0, 0.0, 0.0]
    # 1000 / 600 across the scan, 1 along it; depth does not show at the principal point
    assert_close(xr.metrics.mpd(xr.Pose(tx=3), xr.Pose(), landmarks, carm, isocenter), torch.tensor([5.0], dtype=torch.float64))
    assert_close(xr.metrics.mpd(xr.Pose(ty=3), xr.Pose(), landmarks, carm, isocenter), torch.tensor([3.0], dtype=torch.float64))
    assert_close(xr.metrics.mpd(xr.Pose(tz=3), xr.Pose(), landmarks, carm, isocenter), torch.tensor([0.0], dtype=torch.float64))
