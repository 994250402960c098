"""`xrcore register` with several X-rays: one after the other, or with --rig as views of one instant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_files import counts, saved, xray_dataset
from support.ct_files import write_pelvis
from torch.testing import assert_close

import xrcore as xr
from xrcore.geometry import rigid
from xrcore.registration.registration_files import files_of, read_pose
from xrcore.registration.view_reading import read_views
from xrcore.xray import write_carm, write_xray

K = [[280.0, 0, 47.5], [0, 280.0, 46.0], [0, 0, 1]]
CARM = xr.CArm.from_intrinsics(K, (96, 96), source_to_isocenter=742.5, pixel_spacing=4.5)
POSES = (xr.Pose(rx=3, ry=-8, rz=2, tx=10, ty=-6, tz=14), xr.Pose(rx=-4, ry=64, rz=1, tx=-5, ty=3, tz=8))
FAST = ("--spacing", "4")


def calibration(matrix: torch.Tensor) -> str:
    """What XMALab writes of a camera."""
    rows = [",".join(f"{v:.12g}" for v in row) for row in matrix[:3, :3].tolist()]
    camera = [",".join(f"{v:g}" for v in row) for row in K]
    shift = [f"{v:.12g}" for v in matrix[:3, 3].tolist()]
    return "\n".join(["image size", "96,96", "", "camera matrix", *camera, "", "rotation", *rows, "", "translation", *shift, ""])


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT, two X-rays of it as PNG and as DICOM, and where the cameras stood in each format."""
    folder = tmp_path_factory.mktemp("several")
    write_pelvis(folder / "ct.nii.gz", 3, 4.0)
    volume = xr.read_ct(folder / "ct.nii.gz", 4.0)
    # the rig's origin near the body's middle, as in a capture volume
    turned = xr.Pose(rx=20).camera_from_world(CARM, torch.zeros(3))[0, :3, :3]
    rig_from_ct = rigid.rigid(turned, torch.tensor([5.0, 10, -8], dtype=torch.float64) - turned @ volume.isocenter)
    views = []
    for number, pose in enumerate(POSES, 1):
        drr = xr.render(volume, CARM, pose)
        write_xray(folder / f"x{number}.png", drr, CARM)
        write_xray(folder / f"x{number}.dcm", drr, CARM, pose)
        camera_from_rig = pose.camera_from_world(CARM, volume.isocenter)[0] @ rigid.invert(rig_from_ct)
        (folder / f"camera{number}.txt").write_text(calibration(camera_from_rig))
        views.append({"K": K, "source_to_isocenter": 742.5, "pixel_spacing": 4.5, "camera_from_rig": camera_from_rig.tolist()})
    (folder / "rig.yaml").write_text(json.dumps({"views": views}))
    mixed = [{**views[0], "carm": "carm.yaml"}, {"calibration": "camera2.txt", "source_to_isocenter": 742.5}]
    for key in ("K", "source_to_isocenter", "pixel_spacing"):
        del mixed[0][key]
    (folder / "mixed.yaml").write_text(json.dumps({"views": mixed}))
    write_carm(folder / "carm.yaml", CARM)
    return folder


def off_by(record: dict) -> float:
    matrix = torch.tensor(record["camera_from_world"], dtype=torch.float64)
    carm = xr.CArm(**{k: tuple(v) if isinstance(v, list) else v for k, v in record["carm"].items()})
    found = xr.Pose.from_camera_from_world(matrix, CARM, torch.tensor(record["isocenter"], dtype=torch.float64))
    assert carm.shape == CARM.shape
    return min(float((found.numbers - pose.numbers).abs().max()) for pose in POSES)


RIGS = {
    "rig.yaml": ("x1.png", "x2.png", "--rig", "rig.yaml"),
    "a file for the geometry, and a calibration": ("x1.png", "x2.png", "--rig", "mixed.yaml"),
    "a calibration each": ("x1.png", "x2.png", "--rig", "camera1.txt", "--rig", "camera2.txt"),
    "angles": ("x1.dcm", "x2.dcm", "--rig", "angles"),
}


@pytest.mark.parametrize("words", RIGS.values(), ids=RIGS)
def test_views_of_one_instant_have_one_answer(run, case, tmp_path, words):
    paths = [case / word if "." in word else word for word in words]
    done = run("register", case / "ct.nii.gz", *paths, *FAST, "--out", tmp_path / "out")
    assert done.code == 0, done.err + done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(files_of(2))
    record = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert record["trusted"]
    assert off_by(record) < 0.3
    assert [off_by(record | view) < 0.3 for view in record["views"]] == [True, True]
    assert len(record["inputs"]["xray"]) == 2
    # it is a pose to start from, and damage beside it is noticed
    isocenter = torch.tensor(record["isocenter"], dtype=torch.float64)
    path = tmp_path / "out" / "registration.json"
    assert (
        off_by(record | {"camera_from_world": read_pose(str(path), CARM, isocenter).camera_from_world(CARM, isocenter)[0].tolist()}) < 0.3
    )
    (tmp_path / "out" / "overlay_2.png").write_bytes(b"other")
    with pytest.raises(xr.XrcoreError, match=r"overlay_2\.png: not the file that was written"):
        read_pose(str(path), CARM, isocenter)


def test_xrays_without_a_rig_are_registered_one_after_the_other(run, case, tmp_path):
    done = run("register", case / "ct.nii.gz", case / "x1.dcm", case / "x2.dcm", *FAST, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    for name in ("x1", "x2"):
        assert off_by(json.loads((tmp_path / "out" / name / "registration.json").read_text())) < 1.5
        assert f"{name}.dcm:" in done.out


def test_all_begin_at_the_pose_in_a_file_that_the_first_result_replaces(run, case, tmp_path):
    start = {"rx": 2.0, "ry": -6.0, "rz": 1.0, "tx": 8.0, "ty": -4.0, "tz": 10.0}
    first = tmp_path / "x1" / "registration.json"
    first.parent.mkdir()
    first.write_text(json.dumps({"pose": start}))
    done = run("register", case / "ct.nii.gz", case / "x1.dcm", case / "x2.dcm", *FAST, "--initial", first, "--out", tmp_path)
    assert done.code in (0, 3), done.err
    records = [json.loads((tmp_path / name / "registration.json").read_text()) for name in ("x1", "x2")]
    assert [record["initial_pose"] for record in records] == [start, start]
    assert records[0]["pose"] != start


def test_the_file_that_cannot_be_registered_is_named_and_so_are_remarks(run, case, tmp_path):
    thin = saved(tmp_path / "thin.dcm", xray_dataset(counts((2, 2, 32)), NumberOfFrames=2))
    done = run("register", case / "ct.nii.gz", thin, case / "x1.dcm", *FAST, "--out", tmp_path / "out")
    assert done.code == 2
    *remarks, error = done.err.splitlines()
    assert any(f"{thin}: frame 0 of 2" in remark for remark in remarks)
    assert f"error: {thin}: " in error
    assert not (tmp_path / "out").exists()


def test_one_that_is_not_trusted_decides_the_exit_code(run, case, tmp_path):
    noise = np.random.default_rng(0).normal(size=CARM.shape).astype(np.float32)
    write_xray(tmp_path / "noise.dcm", torch.from_numpy(noise), CARM)
    done = run("register", case / "ct.nii.gz", case / "x1.dcm", tmp_path / "noise.dcm", *FAST, "--out", tmp_path / "out")
    assert done.code == 3
    assert (tmp_path / "out" / "noise" / "registration.json").exists()


CAMERA = "camera_from_rig: [[1,0,0,0],[0,1,0,0],[0,0,1,742],[0,0,0,1]], source_to_isocenter: 742, source_to_detector: 1260"
SKEWED = CAMERA.replace("[0,1,0,0]", "[0,2,0,0]") + ", pixel_spacing: 4"
BAD = {
    "fewer cameras": (f"views: [{{{CAMERA}}}]", "1 cameras for 2 X-rays"),
    "no views": ("cameras: []", "a rig holds `views:`"),
    "a calibration and a geometry": ("views: [{calibration: c.txt, carm: c.yaml}]", "view 1: give either calibration or carm"),
    "no matrix": ("views: [{source_to_detector: 1260}, 3]", "view 1: give either camera_from_rig or calibration"),
    "no mapping": (f"views: [{{{CAMERA}}}, 3]", "view 2: expected keys and values"),
    "a misspelt key": (f"views: [{{{CAMERA}, pixel_spacin: 1}}]", "view 1: unknown key 'pixel_spacin'"),
    "another key": (f"views: [{{{CAMERA}}}]\nunits: mm", "unknown key 'units'"),
    "three rows": ("views: [{camera_from_rig: [[1,0,0],[0,1,0],[0,0,1]]}]", "view 1: camera_from_rig must be four rows"),
    "no rotation": (f"views: [{{{SKEWED}}}, {{{SKEWED}}}]", "must be a rigid 4x4"),
    "no file": ("views: [{calibration: absent.txt}]", "absent.txt"),
    "no calibration": ("image size\n96,96\n\ncamera matrix\n1,2,3\n", "9 numbers below 'camera matrix'"),
    "an endless image": (
        "image size\ninf,96\ncamera matrix\n1,0,0\n0,1,0\n0,0,1\nrotation\n1,0,0\n0,1,0\n0,0,1\ntranslation\n0\n0\n1\n",
        "image size must be two whole numbers",
    ),
    "words": ("image size\nninety-six\n", "each above its numbers"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_bad_rig_is_refused_in_one_line(run, case, tmp_path, text, said):
    (tmp_path / "rig.yaml").write_text(text)
    done = run("register", case / "ct.nii.gz", case / "x1.png", case / "x2.png", "--rig", tmp_path / "rig.yaml", "--out", tmp_path / "out")
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_angles_of_files_without_angles_are_refused(run, case, tmp_path):
    done = run("register", case / "ct.nii.gz", case / "x1.png", case / "x2.png", "--rig", "angles", "--out", tmp_path / "out")
    assert done.code == 2
    write_xray(tmp_path / "plain.dcm", torch.rand(96, 96), CARM)
    done = run("register", case / "ct.nii.gz", case / "x1.dcm", tmp_path / "plain.dcm", "--rig", "angles", "--out", tmp_path / "out")
    assert done.code == 2
    assert "holds no angles" in done.err


def test_a_carm_says_what_the_tags_beside_the_angles_do_not(case, tmp_path):
    xrays = [case / "x1.dcm", case / "x2.dcm"]
    (tmp_path / "carm.yaml").write_text("source_to_isocenter: 700\n")
    for plain, view in zip(read_views(xrays, "angles"), read_views(xrays, "angles", carm=tmp_path / "carm.yaml"), strict=True):
        assert view.xray.carm == replace(plain.xray.carm, source_to_isocenter=700.0)
        # the camera stands nearer to the isocentre, and looks as before
        nearer = torch.tensor([0.0, 0.0, 700.0 - plain.xray.carm.source_to_isocenter], dtype=torch.float64)
        assert_close(view.camera_from_rig[:3, :3], plain.camera_from_rig[:3, :3])
        assert_close((view.camera_from_rig - plain.camera_from_rig)[:3, 3], nearer)
    (instant,) = xr.read_frames(xrays, tmp_path / "carm.yaml", rig="angles")
    assert {view.xray.carm.source_to_isocenter for view in instant} == {700.0}
    with pytest.raises(xr.XrcoreError, match="carm is for rig='angles'"):
        read_views(xrays, case / "rig.yaml", carm=CARM)


def test_a_carm_beside_angles_is_what_is_registered_with(run, case, tmp_path):
    (tmp_path / "carm.yaml").write_text("source_to_isocenter: 760\n")
    xrays = (case / "x1.dcm", case / "x2.dcm", "--rig", "angles", "--carm", tmp_path / "carm.yaml")
    assert run("register", case / "ct.nii.gz", *xrays, *FAST, "--out", tmp_path / "out").code in (0, 3)
    record = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert record["carm"]["source_to_isocenter"] == 760


def test_two_xrays_of_one_name_and_two_geometries_are_refused(run, case, tmp_path):
    done = run("register", case / "ct.nii.gz", case / "x1.dcm", case / "x1.png", "--out", tmp_path / "out")
    assert done.code == 2
    assert "two X-rays are called 'x1'" in done.err
    done = run("register", case / "ct.nii.gz", case / "x1.png", "--rig", case / "rig.yaml", "--carm", case / "carm.yaml", "--out", tmp_path)
    assert done.code == 2
    assert "not both" in done.err
    done = run("register", case / "ct.nii.gz", case / "x1.png", "--rig", "angles", "--rig", case / "rig.yaml", "--out", tmp_path)
    assert done.code == 2
    assert "--rig: give angles or files, not both" in done.err


def test_a_calibration_says_where_a_camera_stands(case, monkeypatch):
    monkeypatch.chdir(case.parent)  # as a user gives a path: from where they are
    case = Path(case.name)
    views = read_views([case / "x1.png", case / "x2.png"], [case / "camera1.txt", case / "camera2.txt"])
    same = read_views([case / "x1.png", case / "x2.png"], case / "rig.yaml")
    for one, other in zip(views, same, strict=True):
        assert_close(one.camera_from_rig, other.camera_from_rig, atol=1e-9, rtol=0)
        assert_close(one.carm.K, other.carm.K)
