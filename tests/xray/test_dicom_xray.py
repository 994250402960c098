"""X-rays as C-arms and archives write them: angles, functional groups, shutters, padding, compression, contradictions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from dicom_files import compressed, counts, dataset, group, saved, with_tags, xray_dataset
from PIL import Image
from pydicom.uid import EnhancedXAImageStorage

import xrcore as xr
from xrcore._util.errors import XrcoreError
from xrcore.xray.exposed_field import field_of_view

CARM = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(24, 32), pixel_spacing=1.5)


def read(tmp_path: Path, data, **options) -> xr.Xray:
    return xr.read_xray(saved(tmp_path / "x.dcm", data), **options)


def noted(xray: xr.Xray, *words: str) -> list[str]:
    """The remarks that hold all the words."""
    return [note for note in xray.notes if all(word in note for word in words)]


def beam(pose: xr.Pose) -> np.ndarray:
    return pose.world_from_camera(CARM, torch.zeros(3))[0, :3, 2].numpy()


def direction(primary: float, secondary: float) -> np.ndarray:
    """From source to detector by PS3.3 C.8.7.5.1.2: like longitude, from the front to the left, and latitude, to the head."""
    p, s = np.deg2rad([primary, secondary])
    return np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])


# pixels


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE", "none"])
def test_compressed_pixels_are_those_stored(tmp_path, photometric, bits, kind):
    values = counts() if bits == 12 else counts() * 16 + 5
    data = xray_dataset(values, bits=bits, PhotometricInterpretation=photometric, PixelIntensityRelationship="LOG")
    if kind == "RLE":
        data.compress(pydicom.uid.RLELossless)
    elif kind != "none":
        compressed(data, values, kind, tmp_path)
    assert torch.equal(read(tmp_path, data).image, -torch.from_numpy(values).float())


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "none"])
def test_signed_pixels_are_those_stored(tmp_path, kind):
    values = counts() - 2048
    data = xray_dataset(values, signed=True, PhotometricInterpretation="MONOCHROME1", PixelIntensityRelationship="LOG")
    if kind != "none":
        compressed(data, values, kind, tmp_path)
    assert torch.equal(read(tmp_path, data).image, -torch.from_numpy(values).float())


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Columns": 24}, "does not fit its pixels"),
        ({"Rows": 18}, "does not fit its pixels"),
        ({"NumberOfFrames": 1}, "does not fit its pixels"),
        ({"NumberOfFrames": 3}, "truncated"),
        ({"PositionerPrimaryAngle": 1e300}, "not an angle|cannot be read"),
        ({"PositionerPrimaryAngle": 20, "PositionerPrimaryAngleIncrement": [0, 10, 20]}, "3 values for 2 frames"),
        ({"DistanceSourceToDetector": 0}, r"lacks source_to_detector \(DICOM DistanceSourceToDetector"),
    ],
)
def test_headers_that_make_no_sense(tmp_path, tags, words):
    with pytest.raises(XrcoreError, match=words) as error:
        read(tmp_path, xray_dataset(counts((2, 24, 32)), **tags))
    assert "\n" not in str(error.value)


# geometry


@pytest.mark.parametrize("calibration", ["GEOMETRY", "FIDUCIAL"])
@pytest.mark.parametrize("magnification", [1.5, None])
def test_pixels_calibrated_at_the_patient_are_taken_to_the_detector(tmp_path, calibration, magnification):
    data = xray_dataset(counts(), ImagerPixelSpacing=None, PixelSpacing=[1.0, 1.2], PixelSpacingCalibrationType=calibration)
    data.EstimatedRadiographicMagnificationFactor = magnification
    xray = read(tmp_path, data)
    assert xray.carm.spacing == pytest.approx((1.5, 1.8))
    assert noted(xray, "PixelSpacing", "times 1.5", "ImagerPixelSpacing")
    assert not noted(read(tmp_path, data, carm=CARM), "PixelSpacing")


def test_pixels_of_a_digitised_film(tmp_path):
    xray = read(tmp_path, xray_dataset(counts(), ImagerPixelSpacing=None, NominalScannedPixelSpacing=[0.2, 0.3], PixelSpacing=[1, 1]))
    assert xray.carm.spacing == (0.2, 0.3)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"EstimatedRadiographicMagnificationFactor": 1.2}, ["EstimatedRadiographicMagnificationFactor", "1.2", "1.5"]),
        ({"PixelSpacing": [2, 2]}, ["PixelSpacing (0028,0030)", "wider"]),
        ({"PixelAspectRatio": [1, 2]}, ["PixelAspectRatio", "1:2"]),
        ({"FieldOfViewDimensions": [100]}, ["FieldOfViewDimensions", "100 mm", "48 mm"]),
        ({"FieldOfViewDimensions": [72, 96]}, ["FieldOfViewDimensions", "96 mm", "48 mm"]),
        ({"ColumnAngulation": 5}, ["ColumnAngulation", "5 deg"]),
        (
            {"PositionerPrimaryAngle": 0, "PositionerSecondaryAngle": 0, "PatientOrientation": ["A", "F"]},
            ["PatientOrientation", r"A\F", "contradicts"],
        ),
        ({"PositionerPrimaryAngle": 20, "PositionerPrimaryAngleIncrement": 5, "PositionerMotion": "STATIC"}, ["Increment", "STATIC"]),
        ({"ModalityLUTSequence": group()}, ["ModalityLUTSequence"]),
    ],
)
def test_what_contradicts_the_file_is_remarked(tmp_path, tags, words):
    assert len(noted(read(tmp_path, xray_dataset(counts(), **tags)), *words)) == 1


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"EstimatedRadiographicMagnificationFactor": 1.5, "PixelSpacing": [1.0, 1.0], "PixelAspectRatio": [1, 1]},
        {"FieldOfViewDimensions": [36, 48], "ColumnAngulation": 0},
    ],
)
def test_what_agrees_is_not_remarked(tmp_path, tags):
    assert read(tmp_path, xray_dataset(counts(), **tags)).notes == ()


def test_a_geometry_that_contradicts_the_file_is_remarked(tmp_path):
    data = xray_dataset(counts())
    other = xr.CArm(source_to_detector=1000, source_to_isocenter=800, shape=(24, 32), pixel_spacing=(1.5, 2.0))
    xray = read(tmp_path, data, carm=other)
    assert xray.carm == other
    assert noted(xray, "source_to_detector is taken as 1000", "DistanceSourceToDetector (0018,1110) says 1200")
    assert noted(xray, "pixel_spacing is taken as 1.5 x 2", "ImagerPixelSpacing (0018,1164) says 1.5 x 1.5")
    assert len(xray.notes) == 2
    assert read(tmp_path, data, carm=CARM).notes == ()


# angles


@pytest.mark.parametrize("angles", [(0, 0), (30, 0), (-40, 20), (180, 0), (150, -30)])
def test_angles_are_the_standards_unless_asked_otherwise(tmp_path, angles):
    data = xray_dataset(counts(), PositionerPrimaryAngle=angles[0], PositionerSecondaryAngle=angles[1])
    xray = read(tmp_path, data)
    assert np.allclose(beam(xray.pose), direction(*angles))
    assert noted(xray, f"{angles[0]} and {angles[1]} deg", "in front", "--detector")
    other = read(tmp_path, data, detector="posterior")
    assert other.pose == xr.Pose(ry=angles[0], rx=angles[1])
    assert noted(other, f"{angles[0]} and {angles[1]} deg", "behind", "--detector")


@pytest.mark.parametrize("pose", [xr.Pose(), xr.Pose(ry=30), xr.Pose(ry=90), xr.Pose(rx=25, ry=-50, tz=20), xr.Pose(ry=180)])
@pytest.mark.parametrize("stripped", [False, True])
def test_what_xrcore_writes_is_read_by_others_and_by_itself(tmp_path, pose, stripped):
    image = torch.rand(CARM.shape, generator=torch.Generator().manual_seed(0))
    xr.write_xray(path := tmp_path / "own.dcm", image, CARM, pose)
    if stripped:  # as an archive hands it on, without private tags
        data = pydicom.dcmread(path)
        data.remove_private_tags()
        saved(path, data)
    back = xr.read_xray(path)
    assert np.allclose(beam(back.pose), beam(pose), atol=1e-6)
    assert torch.allclose(back.image, image, atol=1e-4)  # not flipped
    data = pydicom.dcmread(path)
    assert np.allclose(direction(float(data.PositionerPrimaryAngle), float(data.PositionerSecondaryAngle)), beam(pose))
    assert bool(back.notes) == stripped
    if not stripped:
        assert (back.pose, back.carm) == (pose, CARM)


def test_a_file_of_ours_that_somebody_cropped(tmp_path):
    xr.write_xray(path := tmp_path / "own.dcm", torch.rand(CARM.shape), CARM, xr.Pose(ry=10))
    data = pydicom.dcmread(path)
    data.PixelData = np.ascontiguousarray(data.pixel_array[:12]).tobytes()
    data.Rows = 12
    cropped = xr.read_xray(saved(path, data))
    assert cropped.carm.shape == (12, 32)
    assert noted(cropped, "changed after xrcore wrote")
    data.ImagerPixelSpacing, data.Rows, data.Columns = [3, 3], 24, 16
    assert xr.read_xray(saved(path, data)).carm.spacing == (3, 3)


@pytest.mark.parametrize(("letters", "steps"), [(["L", "F"], 0), (["F", "R"], 1), (["R", "H"], 2), (["H", "L"], 3)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_image_stored_in_any_of_its_eight_orientations(tmp_path, letters, steps, mirrored):
    """A bright point of the body lies under its pixel, whichever way the image was turned when it was stored."""
    carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(41, 41), pixel_spacing=2)
    pose = xr.Pose()  # of the image as the camera sees it: columns to the left of the patient, rows to the feet
    isocenter = torch.tensor([7.0, 8.0, 9.0], dtype=torch.float64)
    point = isocenter + torch.tensor([15.0, 0.0, -8.0], dtype=torch.float64)
    stored = np.full(carm.shape, 100)
    expected = carm.project((pose.camera_from_world(carm, isocenter)[0] @ torch.cat([point, torch.ones(1)]).double())[None, :3])[0]
    stored[tuple(expected.round().int().tolist())] = 4000
    stored = np.rot90(stored, steps)
    opposite = dict(zip("LRHF", "RLFH", strict=True))
    letters = [opposite[letters[0]] if mirrored else letters[0], letters[1]]
    stored = np.flip(stored, 1) if mirrored else stored
    data = xray_dataset(stored, PositionerPrimaryAngle=180, PositionerSecondaryAngle=0, PatientOrientation=letters)
    xray = read(tmp_path, with_tags(data, PixelIntensityRelationshipSign=-1, ImagerPixelSpacing=[2, 2]))
    assert not noted(xray, "contradicts")
    assert np.allclose(beam(xray.pose), beam(pose), atol=1e-6)
    seen = xray.pose.camera_from_world(xray.carm, isocenter)[0] @ torch.cat([point, torch.ones(1)]).double()
    assert torch.allclose(xray.carm.project(seen[None, :3])[0], torch.nonzero(xray.image == 4000)[0].double(), atol=0.51)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PositionerPrimaryAngle": -20, "PositionerPrimaryAngleIncrement": [0, 20, 60, 90]}, [-20, 0, 40, 70]),
        ({"PositionerPrimaryAngle": 0, "PositionerPrimaryAngleIncrement": [-20, 0, 40, 70]}, [-20, 0, 40, 70]),
        ({"PositionerPrimaryAngle": -20, "PositionerPrimaryAngleIncrement": 30}, [-20, 10, 40, 70]),
        ({"PositionerPrimaryAngle": -20}, [-20, -20, -20, -20]),
    ],
)
def test_each_frame_of_a_moving_positioner_has_its_angles(tmp_path, tags, expected):
    data = xray_dataset(counts((4, 24, 32)), PositionerMotion="DYNAMIC", PositionerSecondaryAngle=5, **tags)
    data.PositionerSecondaryAngleIncrement = [0, 1, 2, 3]
    for k, primary in enumerate(expected):
        assert np.allclose(beam(read(tmp_path, data, frame=k).pose), direction(primary, 5 + k))


def test_a_cine_that_was_written_anew_is_read_anew(tmp_path):
    first, second = xray_dataset(counts((2, 24, 32))), xray_dataset(counts((2, 24, 32))[:, ::-1].copy())
    before = [read(tmp_path, first, frame=k).image for k in (0, 1)]
    after = [read(tmp_path, second, frame=k).image for k in (0, 1)]
    for k in (0, 1):
        assert torch.equal(after[k], before[k].flip(0))


def test_an_angle_that_is_missing_beside_the_other_is_noted(tmp_path):
    xray = read(tmp_path, xray_dataset(counts(), PositionerPrimaryAngle=20))
    assert any("there is no PositionerSecondaryAngle" in note for note in xray.notes)
    both = read(tmp_path, xray_dataset(counts(), PositionerPrimaryAngle=20, PositionerSecondaryAngle=0))
    assert torch.equal(xray.pose.numbers, both.pose.numbers)
    assert not any("there is no" in note for note in both.notes)


def test_angles_along_the_patients_axis_and_of_other_machines_give_no_pose(tmp_path):
    axial = read(tmp_path, xray_dataset(counts(), PositionerPrimaryAngle=0, PositionerSecondaryAngle=90))
    assert axial.pose is None
    assert noted(axial, "axis", "no pose")
    mammogram = read(tmp_path, xray_dataset(counts(), PositionerPrimaryAngle=45, PositionerType="MAMMOGRAPHIC"))
    assert mammogram.pose is None
    assert noted(mammogram, "MAMMOGRAPHIC")


# enhanced objects


def enhanced(values: np.ndarray, angles, **shared) -> pydicom.Dataset:
    data = dataset(values, EnhancedXAImageStorage, bits=12, Modality="XA")
    groups = {
        "FramePixelDataPropertiesSequence": group(
            ImagerPixelSpacing=[1.5, 1.25], PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=1
        ),
        "XRayGeometrySequence": group(DistanceSourceToDetector=1200.0, DistanceSourceToIsocenter=810.0),
        "PatientOrientationInFrameSequence": group(PatientOrientation=["L", "F"]),
    }
    data.SharedFunctionalGroupsSequence = group(**(groups | shared))
    data.PerFrameFunctionalGroupsSequence = [
        group(PositionerPositionSequence=group(PositionerPrimaryAngle=float(p), PositionerSecondaryAngle=float(s)))[0] for p, s in angles
    ]
    return data


def test_enhanced_angiography_brings_its_geometry_in_functional_groups(tmp_path):
    values, angles = counts((3, 24, 32)), [(170, 0), (-175, 10), (160, -10)]
    for k, of_frame in enumerate(angles):
        xray = read(tmp_path, enhanced(values, angles), frame=k)
        assert (xray.carm.source_to_detector, xray.carm.source_to_isocenter, xray.carm.spacing) == (1200, 810, (1.5, 1.25))
        assert np.allclose(beam(xray.pose), direction(*of_frame))
        assert torch.equal(xray.image, -torch.from_numpy(values[k]).float())
        assert len(xray.notes) == 1  # how the angles count


def test_shutters_and_collimators_of_enhanced_frames(tmp_path):
    shutter = group(ShutterShape="RECTANGULAR", **edges("Shutter", (0, 25, 4, 33)))
    blades = group(CollimatorShape="RECTANGULAR", **edges("Collimator", (0, 20, 0, 33))) + group(
        CollimatorShape="CIRCULAR", CenterOfCircularCollimator=[12, 16], RadiusOfCircularCollimator=14
    )
    data = enhanced(counts((1, 24, 32)), [(180, 0)], FrameDisplayShutterSequence=shutter, CollimatorShapeSequence=blades)
    mask = read(tmp_path, data).mask.numpy()
    row, col = np.indices(mask.shape) + 1
    inside = (col > 4) & (row < 20) & (np.hypot((row - 12) * 1.5 / 1.25, col - 16) <= 14)
    assert not (mask & ~inside).any()
    assert mask[8:14, 10:20].all()


# shutters, collimators, padding


def edges(owner: str, places) -> dict[str, int]:
    names = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
    return {f"{owner}{name}Edge": place for name, place in zip(names, places, strict=True)}


ROW, COL = np.indices((60, 80)) + 1
BOX = (ROW > 12) & (ROW < 50) & (COL > 9) & (COL < 71)
DISC = np.hypot(ROW - 30, COL - 40) <= 22
TRIANGLE = (COL - 10 > 0) & (ROW - 10 > 0) & ((ROW - 10) + (COL - 10) < 40)


@pytest.mark.parametrize("owner", ["Shutter", "Collimator"])
@pytest.mark.parametrize(
    ("shape", "tags", "inside"),
    [
        ("RECTANGULAR", edges("{}", (12, 50, 9, 71)), BOX),
        ("CIRCULAR", {"CenterOfCircular{}": [30, 40], "RadiusOfCircular{}": 22}, DISC),
        ("POLYGONAL", {"VerticesOfThePolygonal{}": [10, 10, 10, 50, 50, 10]}, TRIANGLE),
        (
            ["RECTANGULAR", "CIRCULAR"],
            edges("{}", (12, 50, 9, 71)) | {"CenterOfCircular{}": [30, 40], "RadiusOfCircular{}": 22},
            BOX & DISC,
        ),
    ],
)
def test_what_shutters_and_collimators_cover_is_masked(tmp_path, owner, shape, tags, inside):
    values = np.where(inside, counts((60, 80)), np.random.default_rng(1).integers(40, 80, (60, 80)))  # scatter behind the blades
    data = xray_dataset(values, **{f"{owner}Shape": shape}, **{key.format(owner): value for key, value in tags.items()})
    xray = read(tmp_path, data)
    mask = xray.mask.numpy()
    assert not (mask & ~inside).any()
    border = inside ^ ndimage_eroded(inside, 4)
    assert mask[inside & ~border].all()
    assert xray.notes == ()


@pytest.mark.parametrize("tags", [{"ImagerPixelSpacing": [6, 0]}, {"ImagerPixelSpacing": [6, 0], "PixelAspectRatio": [1, 0]}])
def test_pixels_without_a_width_leave_a_shutter_round(tmp_path, tags):
    shutter = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [30, 40], "RadiusOfCircularShutter": 22}
    carm = xr.CArm(source_to_detector=1000, source_to_isocenter=700, shape=(60, 80), pixel_spacing=4)
    xray = read(tmp_path, xray_dataset(np.where(DISC, counts((60, 80)), 50), **shutter, **tags), carm=carm)
    assert not (xray.mask.numpy() & ~DISC).any()
    assert xray.mask.numpy()[ndimage_eroded(DISC, 4)].all()


def ndimage_eroded(region: np.ndarray, pixels: int) -> np.ndarray:
    from scipy import ndimage

    return ndimage.binary_erosion(region, iterations=pixels, border_value=1)


@pytest.mark.parametrize(
    "tags",
    [
        {"ShutterShape": "RECTANGULAR", **edges("Shutter", (1, 24, 1, 32))},
        {"ShutterShape": "RECTANGULAR", **edges("Shutter", (0, 25, 0, 33))},
        {"ShutterShape": ""},
        {"PixelPaddingValue": 0},
    ],
)
def test_blades_outside_the_image_cover_nothing(tmp_path, tags):
    xray = read(tmp_path, xray_dataset(counts(), **tags))
    assert xray.mask.all()
    assert xray.notes == ()


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"ShutterShape": "RECTANGULAR"}, "missing"),
        ({"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [3]}, "2 numbers"),
        ({"ShutterShape": "RECTANGULAR", **edges("Shutter", (20, 4, 20, 4))}, "would cover the image"),
        ({"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 5, 5]}, "no polygon"),
        ({"ShutterShape": "BITMAP"}, "BITMAP"),
    ],
)
def test_shutters_that_make_no_sense_are_remarked(tmp_path, tags, words):
    xray = read(tmp_path, xray_dataset(counts(), **tags))
    assert xray.mask.all()
    assert len(noted(xray, "Shutter", "is not used", words)) == 1


def test_a_shutter_that_leaves_nothing_but_one_grey_value(tmp_path):
    values = np.where(BOX, 100, np.random.default_rng(1).integers(40, 80, (60, 80)))
    data = xray_dataset(values, ShutterShape="RECTANGULAR", **edges("Shutter", (12, 50, 9, 71)))
    with pytest.raises(XrcoreError, match="constant"):
        read(tmp_path, data)


def test_padding_is_masked_and_counts_for_nothing(tmp_path):
    values = counts()
    values[:, :8] = 4095
    values[3, 20] = 4095
    plain = read(tmp_path, xray_dataset(counts()[:, 8:]), carm=None)
    data = xray_dataset(values)
    data.add_new(0x00280120, "US", 4095)
    xray = read(tmp_path, data)
    assert not xray.mask[:, :8].any()
    assert not xray.mask[3, 20]
    assert xray.mask[:, 11:].float().mean() > 0.98
    # the brightest that counts as unattenuated is the image's, not the padding's
    assert float(xray.image[:, 8:][xray.mask[:, 8:]].min()) == pytest.approx(float(plain.image.min()), abs=0.02)


def test_padding_of_all_pixels_is_remarked(tmp_path):
    data = xray_dataset(counts())
    data.add_new(0x00280120, "US", 0)
    data.add_new(0x00280121, "US", 4095)
    xray = read(tmp_path, data)
    assert xray.mask.all()
    assert noted(xray, "PixelPaddingValue", "is not used")


def test_a_mask_that_is_asked_for_outdoes_the_tags(tmp_path):
    data = xray_dataset(counts((60, 80)), ShutterShape="RECTANGULAR", **edges("Shutter", (12, 50, 9, 71)))
    (tmp_path / "c.yaml").write_text("mask: none\n")
    assert read(tmp_path, data, carm=tmp_path / "c.yaml").mask.all()


def test_the_mask_is_flipped_with_the_image(tmp_path):
    data = xray_dataset(counts(), ShutterShape="RECTANGULAR", **edges("Shutter", (0, 25, 10, 33)), PositionerPrimaryAngle=0)
    xray = read(tmp_path, data)
    assert noted(xray, "flipped left-right")
    assert not xray.mask[:, 22:].any()
    assert xray.mask[:, :18].all()


def test_a_field_without_tags_is_found_as_before(tmp_path):
    values = counts((60, 80))
    values[~BOX] = 0
    xray = read(tmp_path, xray_dataset(values))
    assert torch.equal(xray.mask, torch.from_numpy(field_of_view(-values)))


# files that are no X-ray, and pictures


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.dcm")
    (tmp_path / "carm.yaml").write_text("mask: pipe.png\n")
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "x.dcm", tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(XrcoreError, match="not a file"):
            xr.read_xray(path, CARM)
        with pytest.raises(XrcoreError, match="not a file"):
            xr.read_carm(path)
    saved(tmp_path / "y.dcm", xray_dataset(counts()))
    with pytest.raises(XrcoreError, match="not a file"):
        xr.read_xray(tmp_path / "y.dcm", tmp_path / "carm.yaml")


def test_an_xray_without_preamble_is_read(tmp_path):
    path = saved(tmp_path / "x.dcm", xray_dataset(counts()))
    expected = xr.read_xray(path).image
    pydicom.dcmwrite(tmp_path / "bare", pydicom.Dataset(pydicom.dcmread(path)), implicit_vr=True, little_endian=True)
    assert torch.equal(xr.read_xray(tmp_path / "bare").image, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_in_which_zero_is_white_is_read_as_it_is_shown(tmp_path, dtype):
    values = (np.arange(24 * 32) % 251).reshape(24, 32).astype(dtype)
    Image.fromarray(values).save(tmp_path / "x.tif")
    entry = b"\x06\x01\x03\x00\x01\x00\x00\x00"  # PhotometricInterpretation, one short number
    whole = (tmp_path / "x.tif").read_bytes()
    assert whole.count(entry + b"\x01") == 1
    (tmp_path / "x.tif").write_bytes(whole.replace(entry + b"\x01", entry + b"\x00"))
    image = xr.read_xray(tmp_path / "x.tif", CARM).image.numpy()
    assert np.array_equal(image, (0 if dtype == np.float32 else np.iinfo(dtype).max) - values.astype(np.float32))


def test_a_tiff_of_unsigned_32_bits(tmp_path):
    values = np.linspace(0, 2**32 - 2**9, 24 * 32).reshape(24, 32).astype(np.uint32)
    Image.fromarray(values.view(np.int32)).save(tmp_path / "x.tif")
    signed = b"\x53\x01\x03\x00\x01\x00\x00\x00"  # SampleFormat
    whole = (tmp_path / "x.tif").read_bytes()
    assert whole.count(signed + b"\x02") == 1
    (tmp_path / "x.tif").write_bytes(whole.replace(signed + b"\x02", signed + b"\x01"))
    assert np.array_equal(xr.read_xray(tmp_path / "x.tif", CARM).image.numpy(), values.astype(np.float32))
