"""`xrcore draw` from files to a picture, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from support.registrations import CARM, ISOCENTER, POSE, by_formula, gradient_xray, registered

import xrcore as xr
from xrcore._util.hashes import fingerprint
from xrcore.registration import write_registration
from xrcore.registration.placement import other_inputs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An X-ray, its registration, a label map that is the CT too, and landmarks."""
    folder = tmp_path_factory.mktemp("draw")
    matrix = torch.diag(torch.tensor([8.0, 8.0, 8.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.from_numpy(ISOCENTER) - 60
    volume = xr.Volume(density=torch.ones(1, 16, 16, 16), materials=("soft",), world_from_voxel=matrix)
    xr.write_xray(folder / "xray.dcm", gradient_xray())
    read = {"xray": fingerprint(folder / "xray.dcm"), "ct": {"path": "ct.nii.gz", "sha256": "0" * 64}}
    write_registration(folder / "result", registered(), volume, inputs=read)
    image = sitk.Image(16, 16, 16, sitk.sitkInt16) - 1000
    image[4:12, 4:12, 4:12] = 300
    image.SetSpacing([8.0] * 3)
    image.SetOrigin((ISOCENTER - 60).tolist())
    sitk.WriteImage(image, folder / "ct.nii.gz")
    sitk.WriteImage(image > 0, folder / "labels.nii.gz")
    (folder / "points.csv").write_text("name,x,y,z\nhip,{},{},{}\n".format(*ISOCENTER))
    (folder / "pose.json").write_text(json.dumps(POSE.to_dict()))
    return folder


def test_draw_writes_a_picture_and_says_where_landmarks_are(run, files, tmp_path):
    out = tmp_path / "drawn.png"
    given = ["--labels", files / "labels.nii.gz", "--points", files / "points.csv", "--out", out]
    done = run("draw", files / "xray.dcm", files / "result", *given)
    assert done.code == 0, done.err
    row, col = by_formula(ISOCENTER[None], POSE.numbers[0].numpy())[0]
    assert f"hip ({row:.1f}, {col:.1f})" in done.out
    assert "label 1" in done.out
    assert "row, column in pixels" in done.out
    assert not done.err
    assert Image.open(out).width >= 900


def test_a_pose_alone_needs_the_ct(run, files, tmp_path):
    given = ["--points", files / "points.csv", "--out", tmp_path / "drawn.svg"]
    refused = run("draw", files / "xray.dcm", files / "pose.json", *given)
    assert (refused.code, "give the CT too" in refused.err) == (2, True)
    done = run("draw", files / "ct.nii.gz", files / "xray.dcm", files / "pose.json", *given)
    assert done.code == 0, done.err
    assert "hip (" in done.out


def test_another_file_than_the_registered_one_is_noted(run, files, tmp_path):
    xr.write_xray(tmp_path / "other.dcm", torch.rand(*CARM.shape), CARM)
    done = run("draw", tmp_path / "other.dcm", files / "result", "--points", files / "points.csv", "--out", tmp_path / "drawn.png")
    assert done.code == 0
    assert "is not the file that was registered" in done.err
    assert "right only if nothing moved" in done.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--out", "drawn.jpg", "--points", "points.csv"], "must end in .png"),
        (["--out", "drawn.png"], "nothing to draw"),
        (["--out", "drawn.png", "--points", "absent.csv"], "no such file"),
        (["--out", "drawn.png", "--points", "points.csv", "--keep", "1"], "give it by --labels"),
        (["--out", "drawn.png", "--labels", "labels.nii.gz", "--style", "bold"], "style must be"),
        (["--out", "drawn.png", "--labels", "labels.nii.gz", "--keep", "5"], "does not occur"),
        (["--slicer", "drawn.d", "--labels", "labels.nii.gz"], "give --out"),
        (["--slicer", "drawn.d", "--out", "drawn.png", "--labels", "labels.nii.gz", "--keep", "5"], "does not occur"),
        (["--out", "xray.dcm", "--points", "points.csv"], "would replace a file that is read"),
        (["--out", "result/overlay.png", "--points", "points.csv"], "would replace a file that is read"),
        (["--slicer", "result", "--points", "points.csv"], "would replace a file that is read"),
    ],
)
def test_what_makes_no_sense_is_refused(run, files, monkeypatch, given, message):
    monkeypatch.chdir(files)
    done = run("draw", "xray.dcm", "result", *given)
    assert (done.code, message in done.err) == (2, True), done.err
    assert not list(files.glob("drawn.*"))


@pytest.mark.parametrize("swapped", [("result", "xray.dcm"), ("ct.nii.gz", "xray.dcm"), ("xray.dcm", "ct.nii.gz")])
def test_an_image_where_the_result_belongs_is_told(run, files, monkeypatch, swapped):
    monkeypatch.chdir(files)
    done = run("draw", *swapped, "--points", "points.csv", "--out", "drawn.png")
    assert (done.code, "an image, not a result" in done.err) == (2, True), done.err


def test_numpy_of_the_test_and_the_picture_agree_on_pixels(files):
    drawn = xr.draw(xr.read_xray(files / "xray.dcm"), files / "result", points=files / "points.csv")
    np.testing.assert_allclose(drawn.points["hip"], by_formula(ISOCENTER[None], POSE.numbers[0].numpy())[0], atol=1e-6)


def test_another_ct_and_another_frame_are_noted(run, files, tmp_path):
    given = ["--points", files / "points.csv", "--out", tmp_path / "drawn.png"]
    done = run("draw", files / "ct.nii.gz", files / "xray.dcm", files / "result", *given)
    assert (done.code, "is not the CT that was registered" in done.err) == (0, True), done.err
    assert other_inputs(files / "result", None, 0) == ()
    assert "not the one that was registered, 0" in other_inputs(files / "result", None, 3)[0]


def test_a_copied_record_reads_as_a_pose_with_the_ct(run, files, tmp_path):
    (tmp_path / "kept.json").write_bytes((files / "result" / "registration.json").read_bytes())
    out = tmp_path / "new" / "drawn.png"  # in a folder that is not there yet
    done = run("draw", files / "ct.nii.gz", files / "xray.dcm", tmp_path / "kept.json", "--points", files / "points.csv", "--out", out)
    assert done.code == 0, done.err
    assert out.is_file()
    absent = run("draw", files / "xray.dcm", tmp_path / "absent.json", "--points", files / "points.csv", "--out", out)
    assert (absent.code, "no such file" in absent.err) == (2, True)
