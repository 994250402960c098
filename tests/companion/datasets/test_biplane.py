"""Biplane data: calibrations, frames and bones, on files written here and on the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from companion.datasets.biplane import VOXEL, WristBiplane, read_bone, read_calibration, read_frame
from xrcore import XrcoreError
from xrcore.geometry import rigid

TEXT = """image size
64,48

camera matrix
6000.5,0,30
0,6001.5,20
0,0,1

rotation
0,-1,0
1,0,0
0,0,1

translation
1
2
900
"""
# beads taped to the skin, read by eye in frame 99: camera 1 (u, v), camera 2 (u, v)
BEADS = """778 1318 895 1381  805 1340 877 1401  764 1350 892 1412  765 1374 888 1437  797 1372 879 1434  788 1397 880 1460
938 1413 602 1424  947 1417 622 1432  943 1454 600 1465  949 1455 617 1470  945 1479 594 1490  952 1480 620 1497"""


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "cam.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def wrist(shared_data):
    folder = Path(shared_data) / "xray" / "wrist_biplane"
    if not folder.is_dir():
        pytest.skip("the wrist radiographs are not in this mirror")
    return WristBiplane(folder)


def write_stack(path: Path, values: np.ndarray) -> Path:
    pages = [Image.fromarray(page) for page in values]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def test_calibration_projects_as_its_file_says(calibration):
    camera = read_calibration(calibration)
    assert camera.carm.shape == (48, 64)
    # x_camera = (-20 + 1, 10 + 2, 900 + 60)
    seen = camera.carm.project(rigid.apply(camera.camera_from_rig, torch.tensor([[10.0, 20.0, 60.0]], dtype=torch.float64)))
    assert_close(seen, torch.tensor([[6001.5 * 12 / 960 + 20, 6000.5 * -19 / 960 + 30]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rotation", "rotations", "no block 'rotation'"),
        ("0,-1,0", "0,-1", "block 'rotation' must be 3 lines of 3"),
        ("0,-1,0", "0,1,0", "rotation is not one"),
        ("900", "-900", "behind the camera"),
        ("900", "nan", "block 'translation'"),
        ("6000.5,0", "6000.5,3", "skew"),
    ],
)
def test_bad_calibrations_are_refused(calibration, old, new, said):
    calibration.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(XrcoreError, match=said) as error:
        read_calibration(calibration)
    assert str(calibration) in str(error.value)
    assert "\n" not in str(error.value)


def test_frame_is_attenuation_with_bone_bright(calibration, tmp_path):
    carm = read_calibration(calibration).carm
    carm = carm.resized((480, 640))
    values = np.zeros((480, 640), np.uint8)
    values[20:460, 20:620] = 200
    values[300:, 300:320] = 10  # a bone that leaves the field
    Image.fromarray(values).save(tmp_path / "frame.tif")
    xray = read_frame(tmp_path / "frame.tif", carm)
    assert_close(float(xray.image[100, 100]), float(np.log(255 / 200)), atol=1e-6, rtol=0)
    assert xray.image[350, 310] > xray.image[350, 100]
    assert xray.mask[420, 310]  # the notch that it makes in the field's rim is still inside
    assert not xray.mask[30, 300]
    with pytest.raises(XrcoreError, match="the calibration says"):
        read_frame(tmp_path / "frame.tif", carm.resized((48, 64)))


def test_bone_has_its_voxels_orientation_and_contrast(tmp_path):
    values = np.zeros((3, 4, 5), np.uint16)
    values[0, 0, 0], values[2, 0, 0], values[0, 3, 0], values[0, 0, 4], values[1, 1, 1] = 2024, 2024, 2024, 2024, 900
    path = write_stack(tmp_path / "bone.tif", values)
    bone = read_bone(path)
    assert_close(torch.tensor(bone.spacing), torch.tensor(VOXEL))
    corner, proximal, row, column = rigid.apply(
        bone.world_from_voxel, torch.tensor([[0.0, 0, 0], [0, 0, 2], [0, 3, 0], [4, 0, 0]], dtype=torch.float64)
    )
    assert proximal[2] < corner[2]  # the first page is distal, and up
    # columns, rows and pages are a right-handed frame, unless mirrored
    assert float(torch.linalg.cross(column - corner, row - corner) @ (proximal - corner)) > 0
    assert torch.linalg.det(read_bone(path, mirrored=True).world_from_voxel[:3, :3]) < 0 < torch.linalg.det(bone.world_from_voxel[:3, :3])
    assert bone.density[0, 0, 0, 0] == pytest.approx(0.5886)
    assert bone.density[0, 1, 1, 1] == 0  # fat displaces water, it adds nothing


def test_damaged_bones_are_refused(tmp_path):
    (tmp_path / "text.tif").write_text("no image")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "flat.tif")
    write_stack(tmp_path / "empty.tif", np.zeros((3, 4, 4), np.uint16))
    for name, said in {"text": "cannot be read", "flat": "16 bit", "empty": "denser than water"}.items():
        with pytest.raises(XrcoreError, match=said):
            read_bone(tmp_path / f"{name}.tif")


def test_beads_lie_on_each_others_epipolar_lines(wrist):
    u1, v1, u2, v2 = torch.tensor([float(n) for n in BEADS.split()], dtype=torch.float64).reshape(-1, 4).T
    one, two = wrist.camera(1), wrist.camera(2)
    two_from_one = two.camera_from_rig @ rigid.invert(one.camera_from_rig)
    essential = rigid.skew(two_from_one[:3, 3]) @ two_from_one[:3, :3]
    fundamental = torch.linalg.inv(two.carm.K).T @ essential @ torch.linalg.inv(one.carm.K)
    lines = torch.stack([u1, v1, torch.ones_like(u1)], 1) @ fundamental.T  # in camera 2
    distance = (lines * torch.stack([u2, v2, torch.ones_like(u2)], 1)).sum(1).abs() / lines[:, :2].norm(dim=1)
    assert len(distance) == 12
    assert distance.max() < 1.5  # pixels; the beads were read to one


def test_real_frames_and_bones_read(wrist):
    assert wrist.frames == (2, 99)
    xray = wrist.xray(2, 99)
    assert xray.carm.shape == (1760, 1760)
    assert 0.6 < float(xray.mask.float().mean()) < 0.8
    assert wrist.bone("ulna").shape == (112, 45, 65)
    with pytest.raises(XrcoreError, match="no bone"):
        wrist.bone("femur")
