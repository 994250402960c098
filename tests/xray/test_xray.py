"""Reading and writing X-rays: geometry, meaning of pixels, masks, and one-line errors."""

from __future__ import annotations

import math
import stat
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose, rigid
from xrcore.xray import Xray, read_carm, read_xray, write_carm, write_xray

SHAPE = (24, 32)
CARM = CArm(source_to_detector=1200.0, source_to_isocenter=700.0, shape=SHAPE, pixel_spacing=(1.5, 1.25), principal_point=(10.1, 17.3))


def picture(shape=SHAPE, seed=0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 4.0, shape).astype(np.float32))


def carm_yaml(path: Path, text: str = "", shape: bool = True) -> Path:
    path.write_text(
        "source_to_detector: 1200\nsource_to_isocenter: 700\npixel_spacing: [1.5, 1.25]\nprincipal_point: [10.1, 17.3]\n"
        + ("shape: [24, 32]\n" if shape else "")
        + text
    )
    return path


def dicom(path: Path, image=None, pose=None, without=(), private=False, **tags) -> Path:
    """A DICOM X-ray; without xrcore's private block unless asked."""
    write_xray(path, picture() if image is None else image, CARM, pose)
    data = pydicom.dcmread(path)
    if not private:
        data.remove_private_tags()
    for keyword in without:
        delattr(data, keyword)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.save_as(path)
    return path


def only_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# round trips


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    numbers=st.lists(st.floats(-80, 80), min_size=6, max_size=6),
    point=st.tuples(st.floats(-5, 40), st.floats(-5, 40)),
    spacing=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
    lengths=st.tuples(st.floats(900, 2000), st.floats(300, 800)),
    gain=st.floats(1e-3, 1e3),
    offset=st.floats(-100, 100),
)
def test_dicom_round_trip_keeps_the_view(tmp_path_factory, numbers, point, spacing, lengths, gain, offset):
    carm = CArm(source_to_detector=lengths[0], source_to_isocenter=lengths[1], shape=SHAPE, pixel_spacing=spacing, principal_point=point)
    image, pose = picture() * gain + offset, Pose(numbers)
    path = tmp_path_factory.getbasetemp() / "round.dcm"
    write_xray(path, image, carm, pose)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = read_xray(path)
    assert back.carm == carm
    assert back.pose == pose
    assert torch.allclose(back.image, image, rtol=1e-6, atol=float(image.max() - image.min()) / 65535 * 0.51)
    assert back.notes == ()


def test_dicom_round_trip_keeps_an_xray_with_its_mask(tmp_path):
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) > 0.3
    image = picture()
    image[~mask] = float("nan")
    xray = Xray(image=image, carm=CARM, mask=mask, pose=Pose(ry=12.5, tz=-3))
    write_xray(tmp_path / "x.dcm", xray)
    back = read_xray(tmp_path / "x.dcm")
    assert torch.equal(back.mask, mask)
    assert torch.allclose(back.image[mask], image[mask], atol=1e-4)
    assert (back.carm, back.pose) == (CARM, xray.pose)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_dicom_rewritten_by_another_tool(tmp_path, syntax):
    path = dicom(tmp_path / "x.dcm", pose=Pose(ry=30.0), private=True)
    data = pydicom.dcmread(path)
    if syntax is RLELossless:
        data.compress(RLELossless)
        data.save_as(path)
    else:
        data.file_meta.TransferSyntaxUID = syntax
        data.save_as(path)
    back = read_xray(path)
    assert (back.carm, back.pose) == (CARM, Pose(ry=30.0))
    assert torch.allclose(back.image, picture(), atol=1e-4)


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"]
)
def test_compressions_give_the_same_pixels(name):
    path, plain = (Path(get_testdata_file(n, download=False)) for n in (name, "MR_small.dcm"))
    carm = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(64, 64), pixel_spacing=1)
    assert torch.equal(read_xray(path, carm).image, read_xray(plain, carm).image)


def test_dicom_object_is_what_viewers_expect(tmp_path):
    write_xray(tmp_path / "x.dcm", picture(), CARM, Pose(rx=-10.0, ry=20.0))
    data = pydicom.dcmread(tmp_path / "x.dcm")
    assert data.file_meta.MediaStorageSOPClassUID.name == "X-Ray Angiographic Image Storage"
    assert (data.Modality, data.PhotometricInterpretation, data.PixelIntensityRelationship) == ("XA", "MONOCHROME2", "LOG")
    assert (data.DistanceSourceToDetector, data.DistanceSourceToPatient) == (1200, 700)
    assert list(data.ImagerPixelSpacing) == [1.5, 1.25]
    # the beam of ry = 20, rx = -10, as the standard counts: from the patient's front to the left, and to the head
    beam = Pose(rx=-10.0, ry=20.0).world_from_camera(CARM, torch.zeros(3))[0, :3, 2].numpy()
    p, s = np.deg2rad([float(data.PositionerPrimaryAngle), float(data.PositionerSecondaryAngle)])
    assert np.allclose([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)], beam)
    assert list(data.PatientOrientation) == ["L", "F"]
    assert np.allclose(data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept), picture(), atol=1e-4)
    assert all(len(str(data[tag].value)) <= 16 for tag in ("RescaleSlope", "RescaleIntercept", "WindowCenter"))
    write_xray(tmp_path / "again.dcm", picture(), CARM, Pose(rx=-10.0, ry=20.0))
    assert (tmp_path / "again.dcm").read_bytes() == (tmp_path / "x.dcm").read_bytes()


@pytest.mark.parametrize("suffix", [".tif", ".tiff"])
def test_tiff_is_exact(tmp_path, suffix):
    write_xray(tmp_path / f"x{suffix}", picture()[None])
    assert torch.equal(read_xray(tmp_path / f"x{suffix}", CARM).image, picture())


def test_png_keeps_the_order_of_16_bits(tmp_path):
    write_xray(tmp_path / "x.png", picture())
    image = read_xray(tmp_path / "x.png", CARM).image
    low, high = picture().min(), picture().max()
    assert torch.allclose(image / 65535, (picture() - low) / (high - low), atol=1e-5)


def test_written_files_are_whole_and_readable_by_others(tmp_path):
    write_xray(tmp_path / "x.png", picture())
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert stat.S_IMODE((tmp_path / "x.png").stat().st_mode) & 0o400
    write_xray(tmp_path / "new" / "x.png", picture())
    assert (tmp_path / "new" / "x.png").read_bytes() == (tmp_path / "x.png").read_bytes()
    with pytest.raises(XrcoreError, match=r"x\.png"):
        write_xray(tmp_path / "x.png" / "y.png", picture())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(XrcoreError, match="cannot be written"):
        write_xray(tmp_path / "folder.png", picture())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "new", "x.png"]


@pytest.mark.parametrize(
    ("name", "image", "carm", "pose", "words"),
    [
        ("x.jpg", picture(), CARM, None, ".dcm, .tif or .png"),
        ("x.dcm", picture(), None, None, "carm="),
        ("x.dcm", picture((8, 8)), CARM, None, "has shape"),
        ("x.dcm", picture(), CARM, Pose.zero(2), "must be one Pose"),
        ("x.png", torch.zeros(2, 8, 8), None, None, "one image"),
        ("x.png", torch.full((8, 8), math.nan), None, None, "NaN"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, image, carm, pose, words):
    with pytest.raises(XrcoreError, match=words):
        write_xray(tmp_path / name, image, carm, pose)
    assert not list(tmp_path.iterdir())


# carm.yaml


def test_carm_yaml_round_trip(tmp_path):
    carm = CArm(
        source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 200), pixel_spacing=(1 / 3, 0.1), principal_point=(1e-7, 99.5)
    )
    write_carm(tmp_path / "carm.yaml", carm)
    assert read_carm(tmp_path / "carm.yaml") == carm


def test_carm_yaml_by_camera_matrix(tmp_path):
    k = "K: [[6167.4, 0, 803.7], [0, 6165.6, 865.7], [0, 0, 1]]\nsource_to_isocenter: 900\n"
    (tmp_path / "a.yaml").write_text(k + "pixel_spacing: 0.2\nshape: [1760, 1760]")
    carm = read_carm(tmp_path / "a.yaml")
    assert torch.allclose(carm.K, torch.tensor([[6167.4, 0, 803.7], [0, 6165.6, 865.7], [0, 0, 1]], dtype=torch.float64))
    assert carm.source_to_detector == pytest.approx(6167.4 * 0.2)
    (tmp_path / "a.yaml").write_text(k + "pixel_spacing: [0.2, 0.2]\nshape: [1760, 1760]")
    assert read_carm(tmp_path / "a.yaml") == carm
    (tmp_path / "b.yaml").write_text(k + "source_to_detector: 1e3")  # YAML reads 1e3 as text
    assert read_carm(tmp_path / "b.yaml", shape=(10, 20)).spacing == pytest.approx((1000 / 6165.6, 1000 / 6167.4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source_to_detecter: 1200", "unknown key 'source_to_detecter'; did you mean 'source_to_detector'"),
        ("voltage: 90", "unknown key 'voltage'; (did you mean|known:)"),
        ("pixel_values: counts", "pixel_values must be attenuation or intensity"),
        ("invert: 1", "invert must be true or false"),
        ("mask: [1, 2]", "mask must be"),
        ("source_to_detector: far", "source_to_detector must be a number"),
        ("source_to_detector: .nan", "source_to_detector must be a number"),
        ("source_to_detector: true", "source_to_detector must be a number"),
        ("shape: 24", r"shape must be \[row, col\]"),
        ("shape: [24.5, 32]", "whole numbers"),
        ("principal_point: 3", r"principal_point must be \[row, col\]"),
        ("K: [[1, 2], [3, 4]]", "K must be three rows"),
        ("source_to_detector: 1.2", "if that was metres, give 1200"),
        ("source_to_isocenter: 1300", "must be smaller than"),
        ("pixel_spacing: -1", "positive"),
        ("- a\n- b", "not valid YAML|key: value"),
        ("{", r"not valid YAML \(.*line 5\)"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_bad_carm_yaml_is_named(tmp_path, text, words):
    key = text.partition(":")[0]
    lines = ["source_to_detector: 1200", "source_to_isocenter: 700", "pixel_spacing: 1.5", "shape: [24, 32]"]
    (tmp_path / "carm.yaml").write_text("\n".join([*(line for line in lines if not line.startswith(key)), text]))
    with pytest.raises(XrcoreError, match=words) as error:
        read_carm(tmp_path / "carm.yaml")
    assert "carm.yaml: " in only_line(error)


def test_a_pixel_spacing_that_contradicts_k_is_refused(tmp_path):
    matrix = "K: [[1000, 0, 15], [0, 500, 11], [0, 0, 1]]\nsource_to_isocenter: 700\nshape: [24, 32]\n"
    (tmp_path / "c.yaml").write_text(matrix + "pixel_spacing: [2.0, 1.0]")
    assert read_carm(tmp_path / "c.yaml").spacing == (2.0, 1.0)
    (tmp_path / "c.yaml").write_text(matrix + "pixel_spacing: [1.0, 1.0]")
    with pytest.raises(XrcoreError, match=r"c.yaml: pixel_spacing \(1, 1\) contradicts K"):
        read_carm(tmp_path / "c.yaml")


def test_carm_yaml_that_explodes_prints_little(tmp_path):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    merged = [f"- &x{i + 1}\n  <<: [*x{i}, *x{i}, *x{i}]" for i in range(39)]
    for text, words in {
        "\n".join(["shape: &a0 [1, 1]", *levels, "K: *a19"]): "aliases are not read",
        "\n".join(["- &x0", "  a: 1", *merged]): "aliases are not read",
        "mask: " + "[" * 8000: "nested too deeply",
        "mask:\n  " + "- " * 4000: "nested too deeply",
        "mask: " + "x" * 8000: "no such file|cannot be|must be|lacks",
        "# long\n" * 20_000: "too large",
    }.items():
        (tmp_path / "carm.yaml").write_text(text)
        with pytest.raises(XrcoreError, match=words) as error:
            read_carm(tmp_path / "carm.yaml")
        assert len(only_line(error)) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source_to_detector: 1300\nsource_to_detector: 1200", "'source_to_detector' stands there twice, line 2"),
        ("source_to_detector: 20:30", "source_to_detector must be a number, got '20:30'"),
        ("shape: !!int _", "tags are not read"),
        ("source_to_detector: 2024-12-01", "source_to_detector must be a number"),
        ("source_to_detector: " + "9" * 400, "not valid YAML|must be a number"),
        ("principal_point: [1e308, 0]", "principal_point must be a number"),
        ("<<: {source_to_detector: 1200}", "unknown key '<<'"),
    ],
)
def test_carm_yaml_that_would_be_misread_is_refused(tmp_path, text, words):
    (tmp_path / "carm.yaml").write_text(text)
    with pytest.raises(XrcoreError, match=words) as error:
        read_carm(tmp_path / "carm.yaml")
    assert "carm.yaml: " in only_line(error)


def test_missing_geometry_is_named(tmp_path):
    (tmp_path / "carm.yaml").write_text("source_to_detector: 1200")
    with pytest.raises(XrcoreError, match="lacks source_to_isocenter, pixel_spacing, shape"):
        read_carm(tmp_path / "carm.yaml")


# geometry of images


def test_carm_comes_as_object_as_yaml_or_not_at_all(tmp_path):
    write_xray(tmp_path / "x.tif", picture())
    assert read_xray(tmp_path / "x.tif", CARM).carm == CARM
    assert read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "a.yaml")).carm == CARM
    assert read_xray(tmp_path / "x.tif", str(carm_yaml(tmp_path / "b.yaml", shape=False))).carm == CARM
    with pytest.raises(XrcoreError, match="carry no geometry"):
        read_xray(tmp_path / "x.tif")


def test_a_different_shape_is_an_error_that_names_both(tmp_path):
    write_xray(tmp_path / "x.tif", picture((48, 64)))
    for carm in (CARM, carm_yaml(tmp_path / "c.yaml")):
        with pytest.raises(XrcoreError, match=r"48 x 64 pixels but its C-arm says shape 24 x 32 .*resized"):
            read_xray(tmp_path / "x.tif", carm)
    write_xray(tmp_path / "x.tif", picture((40, 40)))
    with pytest.raises(XrcoreError, match="40 x 40") as error:
        read_xray(tmp_path / "x.tif", CARM)
    assert "resized" not in only_line(error)


def test_dicom_tags_give_carm_and_pose(tmp_path):
    path = dicom(tmp_path / "x.dcm", PositionerPrimaryAngle="25", PositionerSecondaryAngle="-10")
    xray = read_xray(path, detector="posterior")
    assert xray.carm == CArm(source_to_detector=1200, source_to_isocenter=700, shape=SHAPE, pixel_spacing=(1.5, 1.25))
    assert xray.pose == Pose(rx=-10.0, ry=25.0)
    assert any("25 and -10 deg are counted from one behind" in note for note in xray.notes)
    standard = read_xray(path)
    assert standard.pose == read_xray(path, detector="anterior").pose
    assert any("25 and -10 deg are counted from a detector in front" in note for note in standard.notes)
    none = read_xray(dicom(tmp_path / "x.dcm"))
    assert none.pose is None
    assert none.notes == ()
    one = read_xray(dicom(tmp_path / "x.dcm", PositionerPrimaryAngle="30"), detector="posterior")
    assert one.pose == Pose(ry=30.0)


@pytest.mark.parametrize(
    ("keyword", "named", "line"),
    [
        ("DistanceSourceToDetector", r"source_to_detector \(DICOM DistanceSourceToDetector \(0018,1110\)\)", "source_to_detector: 1000"),
        ("DistanceSourceToPatient", r"source_to_isocenter \(DICOM DistanceSourceToPatient \(0018,1111\)\)", "source_to_isocenter: 800"),
        ("ImagerPixelSpacing", r"pixel_spacing \(DICOM ImagerPixelSpacing \(0018,1164\)\)", "pixel_spacing: 0.5"),
    ],
)
def test_a_missing_tag_is_named_and_carm_yaml_supplies_it(tmp_path, keyword, named, line):
    path = dicom(tmp_path / "x.dcm", without=[keyword])
    with pytest.raises(XrcoreError, match=named + ".*carm.yaml") as error:
        read_xray(path)
    assert "x.dcm" in only_line(error)
    (tmp_path / "carm.yaml").write_text(line)
    key, value = line.split(": ")
    carm = read_xray(path, tmp_path / "carm.yaml").carm
    assert np.allclose(getattr(carm, key), float(value))
    assert (
        sum(
            getattr(carm, k) != getattr(read_xray(dicom(tmp_path / "y.dcm")).carm, k)
            for k in ("source_to_detector", "source_to_isocenter", "pixel_spacing")
        )
        == 1
    )


def test_explicit_geometry_overrides_tags(tmp_path):
    path = dicom(tmp_path / "x.dcm", pose=Pose(ry=10.0), private=True)
    (tmp_path / "all.yaml").write_text(
        "source_to_detector: 1000\nsource_to_isocenter: 600\npixel_spacing: 2\nprincipal_point: [11.5, 15.5]"
    )
    other = CArm(source_to_detector=1000, source_to_isocenter=600, shape=SHAPE, pixel_spacing=2)
    assert read_xray(path, other).carm == other
    assert read_xray(path, tmp_path / "all.yaml").carm == other
    (tmp_path / "k.yaml").write_text("K: [[900, 0, 12], [0, 900, 15], [0, 0, 1]]")
    carm = read_xray(path, tmp_path / "k.yaml").carm
    assert (carm.source_to_detector, carm.center) == (1200, (15, 12))
    assert carm.spacing == pytest.approx((1200 / 900, 1200 / 900))


def test_pixel_spacing_of_the_patient_is_a_remark(tmp_path):
    path = dicom(tmp_path / "x.dcm", without=["ImagerPixelSpacing"], PixelSpacing=[0.4, 0.5])
    xray = read_xray(path)
    assert xray.carm.spacing == (0.4, 0.5)
    assert any("PixelSpacing" in note for note in xray.notes)
    assert read_xray(path, CARM).notes == ()


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"DistanceSourceToDetector": "1.2"}, "if that was metres"),
        ({"ImagerPixelSpacing": [0.3]}, "ImagerPixelSpacing .* 2 numbers"),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"RescaleSlope": "0"}, "RescaleSlope"),
        ({"Rows": 25}, "truncated"),
        ({"Rows": 60000, "Columns": 60000}, "claims"),
        ({"BitsAllocated": 12}, "BitsAllocated"),
    ],
)
def test_tags_that_make_no_sense(tmp_path, tags, words):
    path = dicom(tmp_path / "x.dcm", **tags)
    with pytest.raises(XrcoreError, match=words) as error:
        read_xray(path)
    assert "x.dcm" in only_line(error)


def test_frames(tmp_path):
    path = dicom(tmp_path / "x.dcm")
    data = pydicom.dcmread(path)
    data.NumberOfFrames = 2
    data.PixelData = data.PixelData + data.PixelData[::-1]
    data.save_as(path)
    first = read_xray(path)
    assert any("frame 0 of 2" in note for note in first.notes)
    assert torch.equal(first.image, read_xray(path, frame=0).image)
    assert not torch.equal(first.image, read_xray(path, frame=1).image)
    assert read_xray(path, frame=1).notes == ()
    with pytest.raises(XrcoreError, match="no frame 2; it has 2"):
        read_xray(path, frame=2)


# positioner angles counted from an anterior detector


def anterior_column_and_row(primary: float, secondary: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """DICOM's C-arm, from PS3.3 in words: beam direction, and the stored image's column and row directions (LPS).

    At 0/0 the detector is in front of the patient, the stored image shows the patient's right on the left and the head up.
    Turning to the left (LAO, primary) goes about the body axis, to the head (cranial, secondary) about the image's own horizontal.
    """
    beam, column, row = np.array([0.0, -1, 0]), np.array([1.0, 0, 0]), np.array([0.0, 0, -1])
    a = math.radians(primary)  # from anterior towards left
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    beam, column, row = turn @ beam, turn @ column, turn @ row
    b = math.radians(secondary)
    return math.cos(b) * beam - math.sin(b) * row, column, math.cos(b) * row + math.sin(b) * beam


@pytest.mark.parametrize("oriented", [True, False])
@pytest.mark.parametrize(
    ("primary", "secondary"), [(0, 0), (30, 0), (-40, 0), (0, 25), (0, -35), (35, -20), (-100, 30), (90, 0), (170, 10)]
)
def test_anterior_detector_sees_points_where_physics_puts_them(tmp_path, primary, secondary, oriented):
    carm = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(201, 301), pixel_spacing=2.0)
    beam, column, row = anterior_column_and_row(primary, secondary)
    point = np.array([40.0, -25.0, 60.0])  # from the isocentre
    source = -700 * beam
    ray = point - source
    hit = source + ray * 1200 / (ray @ beam) - (source + 1200 * beam)
    stored = np.zeros(carm.shape, dtype=np.float32)
    at = (round(100 + hit @ row / 2), round(150 + hit @ column / 2))
    stored[at] = 1.0
    path = tmp_path / "x.dcm"
    write_xray(path, stored, carm)
    data = pydicom.dcmread(path)
    data.remove_private_tags()
    data.PositionerPrimaryAngle, data.PositionerSecondaryAngle = primary, secondary
    if oriented:
        letters = [max(zip(np.r_[v, -v], "LPHRAF", strict=True))[1] for v in (column, row)]
        data.PatientOrientation = letters
    data.save_as(path)

    xray = read_xray(path, detector="anterior")
    isocenter = torch.tensor([10.0, 20.0, 30.0])
    camera = rigid.apply(xray.pose.camera_from_world(xray.carm, isocenter)[0], torch.from_numpy(point)[None] + isocenter)
    expected = xray.carm.project(camera)[0]
    found = torch.nonzero(xray.image == 1.0)[0]
    assert torch.allclose(found.double(), expected, atol=0.51)
    assert any("left-right" in note for note in xray.notes)
    z = xray.pose.world_from_camera(xray.carm, isocenter)[0, :3, 2]
    assert np.allclose(z, beam)


def test_flipping_takes_the_principal_point_along(tmp_path):
    path = dicom(tmp_path / "x.dcm", PositionerPrimaryAngle="0", PositionerSecondaryAngle="0")
    xray = read_xray(path, CARM, detector="anterior")
    assert xray.carm.center == pytest.approx((10.1, 31 - 17.3))
    assert torch.equal(xray.image, read_xray(path, CARM, detector="posterior").image.flip(1))


@pytest.mark.parametrize(
    ("orientation", "axes"),
    [(["L", "F"], ()), (["R", "F"], (1,)), (["L", "H"], (0,)), (["R", "H"], (0, 1)), (["X", "Y"], ())],
)
def test_patient_orientation_turns_the_image(tmp_path, orientation, axes):
    path = dicom(tmp_path / "x.dcm", PositionerPrimaryAngle="10", PositionerSecondaryAngle="5", PatientOrientation=orientation)
    plain = read_xray(dicom(tmp_path / "y.dcm", PositionerPrimaryAngle="10", PositionerSecondaryAngle="5"), detector="posterior")
    xray = read_xray(path, detector="posterior")
    assert torch.equal(xray.image, plain.image.flip(axes))
    assert len([n for n in xray.notes if n.startswith("flipped")]) == len(axes)


def test_detector_is_checked(tmp_path):
    with pytest.raises(XrcoreError, match="anterior or posterior, or None"):
        read_xray(dicom(tmp_path / "x.dcm"), detector="lateral")


# meaning of pixels


def counts() -> np.ndarray:
    """Detector counts of `picture`, 16 bit."""
    return np.round(60000 * np.exp(-picture().numpy())).astype(np.uint16)


def like(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_intensities_become_attenuation(tmp_path):
    Image.fromarray(counts()).save(tmp_path / "x.png")
    image = read_xray(tmp_path / "x.png", carm_yaml(tmp_path / "c.yaml", "pixel_values: intensity")).image
    shift = image - picture()
    assert float(shift.max() - shift.min()) < 1e-3  # only I0 is unknown
    assert abs(float(image.min())) < 0.05  # and the brightest pixels are taken for it


def test_an_image_of_one_bit_is_read_as_any_other(tmp_path):
    Image.fromarray(counts() > 20000).save(tmp_path / "x.png")
    seen = read_xray(tmp_path / "x.png", carm_yaml(tmp_path / "c.yaml", "pixel_values: intensity")).image
    assert torch.equal(seen > seen.min(), torch.from_numpy(counts() <= 20000))


def test_dark_pixels_stay_finite(tmp_path):
    dark = counts()
    dark[3, 4] = 0
    Image.fromarray(dark).save(tmp_path / "x.png")
    image = read_xray(tmp_path / "x.png", carm_yaml(tmp_path / "c.yaml", "pixel_values: intensity")).image
    assert torch.isfinite(image).all()
    assert image[3, 4] == image.max()


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_an_empty_pixel_is_half_a_step_also_of_floats(tmp_path, scale):
    stored = np.clip(counts() // 250, 1, 255).astype(np.float32)
    stored[3, 4] = 0
    tifffile.imwrite(tmp_path / "x.tif", stored * np.float32(scale))
    image = read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "c.yaml", "pixel_values: intensity")).image
    second = image.flatten().sort().values[-2]
    assert float(image[3, 4] - second) == pytest.approx(math.log(2 * stored[stored > 0].min()), rel=1e-3)


def test_what_is_not_finite_is_left_out_by_a_mask(tmp_path):
    image = picture().numpy()
    image[:3] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", image)
    tifffile.imwrite(tmp_path / "m.tif", np.isfinite(image).astype(np.uint8))
    with pytest.raises(XrcoreError, match="leave them out by a mask"):
        read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "c.yaml"))
    seen = read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "c.yaml", "mask: m.tif"))
    assert torch.isfinite(seen.image[seen.mask]).all()
    assert seen.mask.sum() == np.isfinite(image).sum()
    tifffile.imwrite(tmp_path / "m.tif", np.ones(SHAPE, np.uint8))
    with pytest.raises(XrcoreError, match="within its mask"):
        read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "c.yaml", "mask: m.tif"))


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_of_colour_are_refused_rather_than_cut(tmp_path, kind):
    stored = sitk.GetImageFromArray(np.repeat(counts()[..., None], 3, -1), isVector=True)
    sitk.WriteImage(stored, str(tmp_path / f"x.{kind}"))
    with pytest.raises(XrcoreError, match="save it as 16-bit grey"):
        read_xray(tmp_path / f"x.{kind}", CARM)


def test_invert(tmp_path):
    write_xray(tmp_path / "x.tif", picture())
    assert torch.equal(read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "c.yaml", "invert: true")).image, -picture())


@pytest.mark.parametrize(("line", "certain"), [("invert: true", True), ("invert: false", True), ("mask: none", False)])
def test_what_is_said_of_invert_is_certain(tmp_path, line, certain):
    write_xray(tmp_path / "x.tif", picture())
    assert read_xray(tmp_path / "x.tif", carm_yaml(tmp_path / "c.yaml", line)).bone_bright is certain


@pytest.mark.parametrize(
    ("tags", "intensity"),
    [
        ({"PixelIntensityRelationshipSign": -1}, False),
        ({"PixelIntensityRelationshipSign": 1}, True),
        ({"PixelIntensityRelationshipSign": None}, True),  # angiography stores intensities
        ({"PixelIntensityRelationshipSign": None, "PhotometricInterpretation": "MONOCHROME1"}, False),
        ({"PixelIntensityRelationshipSign": None, "Modality": "DX"}, False),
        ({"PixelIntensityRelationshipSign": None, "Modality": "DX", "PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PixelIntensityRelationshipSign": 1, "RescaleSlope": "-1"}, False),
    ],
)
@pytest.mark.parametrize("relationship", ["LIN", "LOG", "DISP"])
def test_dicom_signs(tmp_path, tags, intensity, relationship):
    stored = -picture() if intensity else picture()
    if relationship == "LIN" and intensity:
        stored = torch.exp(stored)
    path = tmp_path / "x.dcm"
    write_xray(path, stored, CARM)
    data = pydicom.dcmread(path)
    data.remove_private_tags()
    data.PixelIntensityRelationship = relationship
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    if "RescaleSlope" in tags:
        data.RescaleIntercept = "70000"
        data.PixelData = (65535 - data.pixel_array).astype("<u2").tobytes()
    data.save_as(path)
    xray = read_xray(path)
    assert like(xray.image, picture()) > 0.9999
    guessed = tags.get("PixelIntensityRelationshipSign") is None
    assert any("PixelIntensityRelationshipSign" in note for note in xray.notes) == guessed


def test_carm_yaml_overrules_the_tags_about_pixels(tmp_path):
    path = dicom(tmp_path / "x.dcm", PixelIntensityRelationshipSign=1)
    assert like(read_xray(path).image, picture()) < -0.999
    assert like(read_xray(path, carm_yaml(tmp_path / "c.yaml", "pixel_values: attenuation")).image, picture()) > 0.999


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "P", "I;16", "F", "I"])
def test_grey_images_of_any_kind(tmp_path, mode):
    grey = np.arange(24 * 32, dtype=np.uint8).reshape(SHAPE) % 251
    if mode == "1":
        grey = np.uint8(255) * (grey % 3 == 0)
    image = Image.fromarray(grey)
    if mode in ("I;16", "F", "I"):
        image = Image.fromarray(grey.astype({"I;16": np.uint16, "F": np.float32, "I": np.int32}[mode]))
    elif mode != "L":
        image = image.convert(mode)
    for suffix in ("tif",) if mode in ("F", "I") else ("png", "tif"):
        image.save(tmp_path / f"x.{suffix}")
        assert torch.equal(
            read_xray(tmp_path / f"x.{suffix}", CARM).image, torch.from_numpy(grey.astype(np.float32) / (255 if mode == "1" else 1))
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiffs_whose_zero_is_white_are_turned_over(tmp_path, dtype):
    stored = np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)
    for photometric in ("minisblack", "miniswhite"):
        tifffile.imwrite(tmp_path / f"{photometric}.tif", stored, photometric=photometric)
    black, white = (read_xray(tmp_path / f"{name}.tif", CARM).image for name in ("minisblack", "miniswhite"))
    assert torch.equal(black, torch.from_numpy(stored).float())
    assert torch.equal(white, np.iinfo(dtype).max - black)


@pytest.mark.parametrize("rows_a_strip", [SHAPE[0], 5])
@pytest.mark.parametrize(
    ("entry", "value"),
    [("ImageWidth", 30), ("ImageWidth", 34), ("ImageLength", 12), ("BitsPerSample", 8), ("StripByteCounts", 700), ("StripOffsets", 1)],
)
def test_tiffs_whose_strips_do_not_hold_what_they_say(tmp_path, rows_a_strip, entry, value):
    stored = np.random.default_rng(0).integers(0, 4095, SHAPE).astype(np.uint16)
    tifffile.imwrite(path := tmp_path / "x.tif", stored, rowsperstrip=rows_a_strip)
    assert torch.equal(read_xray(path, CARM).image, torch.from_numpy(stored.astype(np.float32)))
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages[0].tags[entry]
        tag.overwrite(value if isinstance(tag.value, int) else [value, *tag.value[1:]])
    with pytest.raises(XrcoreError, match=r"its strips (hold|of pixels reach out)|cannot be read as PNG or TIFF") as error:
        read_xray(path, CARM)
    only_line(error)


def test_pages_of_a_tiff(tmp_path):
    pages = [Image.fromarray(picture(seed=s).numpy()) for s in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert torch.equal(read_xray(tmp_path / "x.tif", CARM, frame=2).image, picture(seed=2))
    assert "frame 0 of 3" in read_xray(tmp_path / "x.tif", CARM).notes[0]
    with pytest.raises(XrcoreError, match="no frame 3"):
        read_xray(tmp_path / "x.tif", CARM, frame=3)


# masks


ROUND = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(120, 120), pixel_spacing=2)


def disc(radius: float, shape=(120, 120), centre=(59.5, 59.5)) -> torch.Tensor:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return torch.from_numpy(np.hypot(rows - centre[0], cols - centre[1]) < radius)


@pytest.mark.parametrize("surround", [0.0, 5.0])
@pytest.mark.parametrize("centre", [(59.5, 59.5), (59.5, 75.0)])
def test_a_round_field_is_masked_whatever_its_surround(tmp_path, surround, centre):
    inside = disc(50, centre=centre)
    image = torch.where(inside, picture((120, 120)), torch.tensor(surround))
    write_xray(tmp_path / "x.tif", image)
    mask = read_xray(tmp_path / "x.tif", ROUND).mask
    assert not mask[~inside].any()
    assert mask[disc(47, centre=centre)].all()


def test_pixels_that_no_photon_reached_are_no_collimator(tmp_path):
    """Where few photons arrive many pixels have the largest attenuation, and hang together, but nothing is shut out."""
    counts = torch.poisson(torch.full((120, 120), 0.5), generator=torch.Generator().manual_seed(0))
    assert (counts == 0).float().mean() > 0.59  # above which they percolate
    write_xray(tmp_path / "x.tif", -counts.clamp_min(0.5).log())
    assert read_xray(tmp_path / "x.tif", ROUND).mask.all()


def test_collimator_blades_are_masked(tmp_path):
    image = picture((120, 120))
    image[:, :15] = 9.0
    image[105:] = 9.0
    write_xray(tmp_path / "x.tif", image)
    mask = read_xray(tmp_path / "x.tif", ROUND).mask
    assert not mask[:, :15].any()
    assert not mask[105:].any()
    assert mask[:100, 20:].all()
    image[105:], image[:, :15] = 0.0, 0.0
    write_xray(tmp_path / "x.tif", image)
    assert torch.equal(read_xray(tmp_path / "x.tif", ROUND).mask, mask)


def test_air_beside_the_patient_is_not_masked(tmp_path):
    rows = torch.arange(120.0)[:, None]
    waist = 35 + 12 * torch.cos(rows / 20)
    image = torch.where((torch.arange(120.0) - 60).abs() < waist, picture((120, 120)), torch.tensor(0.0))
    write_xray(tmp_path / "x.tif", image)
    assert read_xray(tmp_path / "x.tif", ROUND).mask.all()


def test_saturated_specks_are_not_masked(tmp_path):
    image = picture((120, 120))
    image[0, :20], image[50:80, 50:80] = 9.0, 9.0  # a short piece of border, and a large part inside
    write_xray(tmp_path / "x.tif", image)
    assert read_xray(tmp_path / "x.tif", ROUND).mask.all()


def test_masks_by_name_and_file(tmp_path):
    inside = disc(50)
    write_xray(tmp_path / "x.tif", torch.where(inside, picture((120, 120)), torch.tensor(9.0)))
    (tmp_path / "masks").mkdir()
    Image.fromarray((disc(20).numpy() * 255).astype(np.uint8)).save(tmp_path / "masks" / "m.png")
    text = "source_to_detector: 1200\nsource_to_isocenter: 700\npixel_spacing: 2\nmask: "

    def mask(rule: str) -> torch.Tensor:
        (tmp_path / "c.yaml").write_text(text + rule)
        return read_xray(tmp_path / "x.tif", tmp_path / "c.yaml").mask

    assert mask("none").all()
    assert mask("no").all()
    assert torch.equal(mask("circle"), disc(60.0001))
    assert torch.equal(mask("masks/m.png"), disc(20))
    assert not mask("auto")[~inside].any()
    with pytest.raises(XrcoreError, match="no such file"):
        mask("nowhere.png")
    Image.fromarray(np.zeros((120, 120), dtype=np.uint8)).save(tmp_path / "masks" / "m.png")
    with pytest.raises(XrcoreError, match="zero everywhere"):
        mask("masks/m.png")
    for odd in (np.nan, np.inf):
        Image.fromarray(np.full((120, 120), odd, dtype=np.float32)).save(tmp_path / "masks" / "m.tif")
        with pytest.raises(XrcoreError, match="NaN or infinite"):
            mask("masks/m.tif")
    Image.fromarray(np.ones((10, 120), dtype=np.uint8)).save(tmp_path / "masks" / "m.png")
    with pytest.raises(XrcoreError, match="10 x 120"):
        mask("masks/m.png")


# files that are not an X-ray


def test_files_that_are_not_an_xray(tmp_path, capfd):
    write_xray(tmp_path / "x.tif", picture())
    write_xray(tmp_path / "x.png", picture())
    dicom(tmp_path / "x.dcm")
    for name in ("x.tif", "x.png", "x.dcm"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"short_{name}").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "text.dcm").write_text("not an image" * 20)
    (tmp_path / "ct.nii.gz").write_text("where the X-ray belongs")
    Image.fromarray(np.full(SHAPE, 7, dtype=np.uint8)).save(tmp_path / "constant.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)).save(tmp_path / "colour.png")
    Image.fromarray(np.full(SHAPE, np.nan, dtype=np.float32)).save(tmp_path / "nan.tif")
    (tmp_path / "folder").mkdir()
    for name, words in {
        "nowhere.png": "no such file",
        "empty.png": "empty",
        "text.png": "cannot be read as PNG or TIFF",
        "text.dcm": "not a DICOM file",
        "ct.nii.gz": "give the CT first",
        "folder": "one file",
        "constant.png": "constant",
        "colour.png": "colour",
        "nan.tif": "NaN",
        "short_x.tif": "damaged",
        "short_x.png": "damaged",
        "short_x.dcm": "truncated|damaged|holds no image",
    }.items():
        with pytest.raises(XrcoreError, match=words) as error:
            read_xray(tmp_path / name, CARM)
        assert name in only_line(error)
    assert capfd.readouterr().err == ""


# real data


def test_real_radiograph(shared_data, tmp_path):
    (tmp_path / "cam01.yaml").write_text(
        "K: [[6167.35342293, 0, 803.741292437], [0, 6165.63244754, 865.698104164], [0, 0, 1]]\n"
        "source_to_isocenter: 900\nsource_to_detector: 1200\npixel_values: intensity\n"
    )
    xray = read_xray(shared_data / "xray" / "wrist_biplane" / "xr_rad_uln_cam01_UND.0099.tif", tmp_path / "cam01.yaml")
    assert xray.carm.shape == (1760, 1760)
    assert torch.isfinite(xray.image).all()
    assert 0.05 < float(xray.mask.float().mean()) <= 1


def test_an_xray_prints_a_few_lines():
    carm = CArm(source_to_detector=1000, source_to_isocenter=600, shape=(20, 30), pixel_spacing=(2, 1.5))
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[:, :15] = True
    xray = Xray(image=torch.rand(20, 30), carm=carm, mask=mask, pose=Pose(ry=20), notes=("inverted", "frame 0 of 3"))
    first, *rest = repr(xray).splitlines()
    assert first == "Xray: 20 x 30 pixels of 2 x 1.5 mm, 50 % of them inside the mask"
    assert rest == [f"  pose: {Pose(ry=20)}", "  note: inverted", "  note: frame 0 of 3"]
    page = xray._repr_html_()
    assert "data:image/png;base64," in page
    assert "50 % of them inside the mask" in page


def test_what_is_assumed_of_an_incomplete_file_is_noted(tmp_path):
    pose = Pose(rx=3.0, ry=20.0)
    whole = read_xray(dicom(tmp_path / "whole.dcm", pose=pose))
    for keyword in ("PatientOrientation", "RescaleSlope", "RescaleIntercept"):
        lacking = read_xray(dicom(tmp_path / f"{keyword}.dcm", pose=pose, without=[keyword]))
        assert not any(keyword in note for note in whole.notes)
        assert any(keyword in note for note in lacking.notes)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["tif", "png"])
def test_an_image_that_is_stored_mirrored_or_turned_is_refused(tmp_path, orientation, kind):
    tags = Image.Exif()
    tags[274] = orientation
    image = Image.fromarray(np.arange(32 * 48).reshape(32, 48).astype(np.uint16))
    image.save(tmp_path / f"x.{kind}", **({"tiffinfo": {274: orientation}} if kind == "tif" else {"exif": tags}))
    carm = CArm(source_to_detector=1200, source_to_isocenter=800, shape=(32, 48), pixel_spacing=6)
    with pytest.raises(XrcoreError, match="orientation tag"):
        read_xray(tmp_path / f"x.{kind}", carm)
