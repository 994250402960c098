"""`read_frames`: the order of frames, what is not read, and damaged files are told, never passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_files import counts, saved, xray_dataset
from PIL import Image

import xrcore as xr

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(24, 32), pixel_spacing=4.5)


def write(path: Path, seed: int = 0, shape: tuple[int, int] = (24, 32)) -> Path:
    Image.fromarray(counts(shape, seed=seed).astype(np.uint16)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        write(tmp_path / f"f{number}.png", number)
    return tmp_path


def names(folder: Path, *order: int) -> list[Path]:
    return [folder / f"f{number}.png" for number in order]


def test_the_order_is_what_is_meant_or_told(folder):
    natural = ("f1.png", "f2.png", "f10.png")
    for order, notes in (((1, 2, 10), ()), ((1, 10, 2), ("f2.png before f10.png",))):
        frames = xr.read_frames(names(folder, *order), CARM)
        assert frames.names == natural
        assert len(frames.notes) == len(notes)
        assert all(note in told for note, told in zip(notes, frames.notes, strict=True))
    backwards = xr.read_frames(names(folder, 10, 2, 1), CARM)
    assert backwards.names == natural[::-1]
    assert "in the order given, f10.png before f1.png" in backwards.notes[0]
    for part in ("10", "9"):
        (folder / part).mkdir()
        for number in (1, 2):
            write(folder / part / f"f{number}.png")
    assert [path.relative_to(folder).as_posix() for path in xr.read_frames(str(folder / "*" / "f*.png"), CARM).files] == [
        "9/f1.png",
        "9/f2.png",
        "10/f1.png",
        "10/f2.png",
    ]


def test_frames_given_twice_or_of_several_sizes_are_told(folder):
    assert xr.read_frames(names(folder, 1, 1, 2), CARM).notes == ("given more than once: f1.png",)
    write(folder / "f3.png", shape=(12, 16))
    frames = xr.read_frames(folder, CARM)
    assert frames.notes == ("frames are of several sizes: 24 x 32 (f1.png), 12 x 16 (f3.png); the geometry must be right for all",)


def test_what_a_folder_holds_besides_is_told(folder):
    Image.new("L", (4, 4)).save(folder / "preview.jpg")
    saved(folder / "IM0001.dcm", xray_dataset(counts((24, 32)))).rename(folder / "IM0001")
    (folder / "mask.png").write_bytes((folder / "f1.png").read_bytes())
    (folder / "carm.yaml").write_text("{source_to_detector: 1260, source_to_isocenter: 742.5, pixel_spacing: 4.5, mask: mask.png}")
    (folder / "readme.txt").write_text("frames of the 3rd")
    (folder / "more").mkdir()
    frames = xr.read_frames(folder, folder / "carm.yaml")
    assert frames.names == ("f1.png", "f2.png", "f10.png")
    assert frames.notes == (f"{folder}: not read: IM0001, more{os.sep}, preview.jpg; frames are its 3 PNG files",)
    assert "note: " in repr(frames)
    (folder / "IM0001").rename(folder / "IM0001.dcm")
    with pytest.raises(xr.XrcoreError, match=r"holds DICOM and PNG files; .*\*\.dcm"):
        xr.read_frames(folder, folder / "carm.yaml")


def test_dicom_files_need_no_suffix_and_another_order_of_instances_is_told(tmp_path):
    for number in (9, 10):
        saved(tmp_path / "x.dcm", xray_dataset(counts((24, 32)), InstanceNumber=20 - number)).rename(tmp_path / f"IM{number}")
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "IM9").read_bytes())
    frames = xr.read_frames(tmp_path)
    assert frames.names == ("IM9", "IM10")
    assert len(frames.notes) == 1
    assert "InstanceNumber" in frames.notes[0]


def test_a_file_of_one_frame_is_a_frame(tmp_path):
    saved(tmp_path / "one.dcm", xray_dataset(counts((1, 24, 32)), NumberOfFrames=1))
    frames = xr.read_frames(tmp_path / "one.dcm")
    assert frames.names == ("one.dcm",)
    assert frames[0][0].xray.image.shape == (24, 32)


def test_a_damaged_frame_is_a_frame_and_named_when_it_is_read(folder):
    whole = (folder / "f2.png").read_bytes()
    for content, why in ((b"", "empty"), (whole[: len(whole) // 2], "damaged, truncated"), (b"hello" * 50, "damaged, truncated")):
        (folder / "f2.png").write_bytes(content)
        frames = xr.read_frames(folder, CARM)
        assert len(frames) == 3
        with pytest.raises(xr.XrcoreError, match=f"f2.png: .*{why}"):
            frames[1]
        with pytest.raises(xr.XrcoreError, match=r"f2\.png"):
            xr.read_frames(folder / "f2.png", CARM)[0]
    values = counts((3, 24, 32))
    values[1] = 7
    saved(folder / "cine.dcm", xray_dataset(values, NumberOfFrames=3))
    with pytest.raises(xr.XrcoreError, match=r"cine.dcm#1: the image is constant"):
        xr.read_frames(folder / "cine.dcm")[1]
    with pytest.raises(xr.XrcoreError, match=r"f9.png: no such file"):
        xr.read_frames(names(folder, 1, 9, 10), CARM)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rig": 5}, "rig must be a path, or a list of paths, got 5"),
        ({"rig": []}, "rig must be a path"),
        ({"carm": 5}, "carm must be a CArm, the path"),
        ({"detector": "left"}, "detector must be anterior or posterior"),
        ({"rig": "rig.yaml", "carm": CARM}, "not both"),
        ({"sources": (path for path in ["f1.png"])}, "sources must be a path"),
    ],
)
def test_arguments_of_another_kind_are_told(folder, change, message):
    with pytest.raises(xr.XrcoreError, match=message):
        xr.read_frames(**({"sources": folder} | change))


def test_one_image_is_of_one_camera(folder):
    distances = "pixel_spacing: 4.5, source_to_isocenter: 742, source_to_detector: 1260"
    camera = f"{{camera_from_rig: [[1,0,0,0],[0,1,0,0],[0,0,1,742],[0,0,0,1]], {distances}}}"
    (folder / "rig.yaml").write_text(f"views: [{camera}]")
    shutil.copy(folder / "f1.png", folder / "g1.png")
    frames = xr.read_frames([folder / "f1.png", folder / "g1.png"], rig=[folder / "rig.yaml"] * 2)
    assert len(frames[0]) == 2
    assert "one instant of 2 cameras" in frames.notes[0]
    with pytest.raises(xr.XrcoreError, match=r"f1.png: given for two cameras"):
        xr.read_frames([folder / "f1.png"] * 2, rig=[folder / "rig.yaml"] * 2)[0]
