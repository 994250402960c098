"""The files of a registration belong together, and what was mixed is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import xrcore as xr
from xrcore._util.hashes import file_sha256
from xrcore.registration.registration_files import read_pose, write_registration

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=3, spacing=8.0)


@pytest.fixture(scope="module")
def results(volume, tmp_path_factory) -> tuple[Path, Path]:
    """Two folders with a registration each."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    for folder, pose in zip(folders, (xr.Pose(ry=-5, tx=6), xr.Pose(rx=4)), strict=True):
        xray = xr.Xray(image=xr.render(volume, CARM, pose)[0], carm=CARM)
        write_registration(folder, xr.register(xray, volume), volume)
    return folders


@pytest.fixture
def copied(results, tmp_path) -> Path:
    return Path(shutil.copytree(results[0], tmp_path / "result"))


def test_the_record_names_the_hashes_of_the_files_beside_it(results):
    for folder in results:
        record = json.loads((folder / "registration.json").read_text())
        assert record["files"] == {name: file_sha256(folder / name) for name in ("camera_from_ct.tfm", "overlay.png")}


def test_a_record_reads_beside_its_own_files_or_alone(copied, volume):
    path = copied / "registration.json"
    pose = read_pose(str(path), CARM, volume.isocenter)
    for name in ("camera_from_ct.tfm", "overlay.png"):
        (copied / name).unlink()
        assert torch.equal(read_pose(str(path), CARM, volume.isocenter).numbers, pose.numbers)


@pytest.mark.parametrize("name", ["camera_from_ct.tfm", "overlay.png"])
def test_files_of_another_registration_are_refused(results, copied, volume, name):
    shutil.copy(results[1] / name, copied / name)
    with pytest.raises(xr.XrcoreError, match=f"{name}: not the file that was written with registration.json"):
        read_pose(str(copied / "registration.json"), CARM, volume.isocenter)


@pytest.mark.parametrize("files", [[], {"overlay.png": 1}, {"../other": "0" * 64}, {"/etc/passwd": "0" * 64}, "overlay.png"])
def test_a_damaged_list_of_files_is_refused(copied, volume, files):
    path = copied / "registration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files}))
    with pytest.raises(xr.XrcoreError, match="files must name camera_from_ct"):
        read_pose(str(path), CARM, volume.isocenter)
