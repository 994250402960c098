"""Paths of any bytes, as Linux allows them: names that are not UTF-8, too long, or of pipes and devices, in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import trainings
from support.volume_headers import VOXELS, write_metaimage, write_nifti, write_nrrd

import xrcore as xr
from xrcore import XrcoreError
from xrcore.ct import read_hu, volume_from_hu
from xrcore.registration.registration_files import FILES, read_pose

CARM = xr.CArm(source_to_detector=1200, source_to_isocenter=700, shape=(32, 32), pixel_spacing=12.0)
LATIN = os.fsdecode(b"H\xfcfte")  # as systems before UTF-8 named it


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A folder whose name is not UTF-8."""
    folder = tmp_path / LATIN
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system holds names in UTF-8 alone")
    return folder


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha", "ct.mhd", "ct.nhdr"])
def test_volumes_in_a_folder_whose_name_is_not_utf8(latin, name):
    path = latin / f"{LATIN}{name}"
    if ".nii" in name:
        write_nifti(path)
    else:
        metaimage = name[-3:] in ("mha", "mhd")
        beside = f"{LATIN}.raw" if name[-3:] in ("mhd", "hdr") else None
        write = write_metaimage if metaimage else write_nrrd
        write(path, {"ElementDataFile" if metaimage else "data file": None if beside is None else "x.raw"})
        if beside is not None:
            (latin / "x.raw").rename(latin / beside)
            path.write_bytes(path.read_bytes().replace(b"x.raw", os.fsencode(beside)))
    assert np.array_equal(read_hu(path).hu, VOXELS)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dcm"])
def test_xrays_in_such_a_folder(latin, suffix):
    image = np.random.default_rng(0).random(CARM.shape).astype(np.float32)
    path = latin / f"{LATIN}{suffix}"
    xr.write_xray(path, image, CARM)
    xr.write_carm(latin / "carm.yaml", CARM)
    found = xr.read_xray(path, latin / "carm.yaml").image.numpy()
    assert np.corrcoef(found.ravel(), image.ravel())[0, 1] > 0.999


def test_models_in_such_a_folder(latin):
    out = latin / "model"
    settings = trainings.TINY.changed(images=8, validation=2, validate_every=8, checkpoint_every=8)
    xr.train(trainings.patient(), trainings.CARM, settings, out=out)
    assert xr.PoseRegressor.load(out).settings == settings


def test_commands_in_such_a_folder(run: Callable, latin: Path):
    hu = np.full((30, 30, 30), -1000, np.int16)
    hu[8:22, 5:25, 10:20] = 40
    hu[10:14, 8:20, 12:17] = 1200
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((5.0, 5.0, 5.0))
    sitk.WriteImage(image, str(latin.parent / "ct.nii.gz"))
    os.rename(latin.parent / "ct.nii.gz", latin / "ct.nii.gz")
    xr.write_carm(latin / "carm.yaml", CARM)
    for suffix in (".png", ".tif", ".dcm"):
        done = run("render", latin / "ct.nii.gz", "--spacing", "5", "--carm", latin / "carm.yaml", "--out", latin / f"xray{suffix}")
        assert done.code == 0, done.err
    arguments = ("register", latin / "ct.nii.gz", latin / "xray.dcm", "--spacing", "5", "--out", latin / "result")
    done = run(*arguments)
    assert done.code in (0, 3), done.err
    assert {p.name for p in (latin / "result").iterdir()} == set(FILES)
    record = json.loads((latin / "result" / "registration.json").read_text(encoding="utf-8"))
    assert record["inputs"]["ct"]["path"] == str(latin / "ct.nii.gz")
    os.rename(latin / "result" / "camera_from_ct.tfm", latin.parent / "found.tfm")
    matrix = np.reshape(sitk.ReadTransform(str(latin.parent / "found.tfm")).GetParameters()[:9], (3, 3))
    assert np.allclose(matrix, np.array(record["camera_from_world"])[:3, :3], atol=1e-12)
    done = run(*arguments, "--initial", latin / "result" / "registration.json")
    assert done.code in (0, 3), done.err
    assert run("register", latin / "absent.nii", latin / "xray.dcm", "--out", latin / "no").code == 2
    assert not (latin / "no").exists()


# what is no file


def _readers() -> dict[str, Callable[[Path], object]]:
    return {
        "read_ct": xr.read_ct,
        "read_xray": xr.read_xray,
        "read_carm": xr.read_carm,
        "labels": lambda path: volume_from_hu(VOXELS, np.diag([2.0, 2, 2, 1]), labels=path),
        "model": xr.PoseRegressor.load,
        "pose": lambda path: read_pose(str(path), CARM, [0.0, 0, 0]),
    }


@pytest.mark.parametrize("suffix", ["", ".nii", ".nii.gz", ".nrrd", ".mhd", ".dcm", ".png", ".tif", ".yaml", ".json"])
@pytest.mark.parametrize("reader", _readers())
def test_nothing_is_waited_for_and_one_line_says_so(tmp_path, reader, suffix):
    read = _readers()[reader]
    pipe, endless, empty = (tmp_path / f"{name}{suffix}" for name in ("pipe", "endless", "empty"))
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    empty.touch()
    long, loop = tmp_path / ("x" * 300 + suffix), tmp_path / f"loop{suffix}"
    loop.symlink_to(loop)
    for path in (
        pipe,
        endless,
        empty,
        long,
        loop,
        tmp_path / f"a\0b{suffix}",
        tmp_path / "absent" / f"a{suffix}",
        empty / f"below{suffix}",
    ):
        with pytest.raises(XrcoreError) as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_pipe_among_the_slices_of_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "slice.dcm")
    with pytest.raises(XrcoreError):
        xr.read_ct(tmp_path)
