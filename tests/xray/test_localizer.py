"""CT localizers: geometry and place from synthesised DICOM files, and what is wrong with bad ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dicom_files import dataset, with_tags
from pydicom.uid import CTImageStorage
from torch.testing import assert_close

import xrcore as xr
from xrcore._util.errors import XrcoreError
from xrcore.geometry import rigid

FRAME, ELSEWHERE = "1.2.3.4", "1.2.3.5"
SHAPE = (40, 60)
# as scanners store them: columns and rows in LPS; where the source then is; tags beside
AP, LATERAL, ON_ITS_SIDE, FEET_UP = (
    [1, 0, 0, 0, 0, -1],
    [0, 1, 0, 0, 0, -1],
    [0, 0, -1, 0, 1, 0],
    [1, 0, 0, 0, 0, 1],
)


def localizer(path, orientation=AP, *, pixels=None, **tags):
    stored = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 900 if pixels is None else pixels
    data = dataset(stored, CTImageStorage)
    given = {
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "ImagePositionPatient": [-20.0, -70.0, 120.0],
        "ImageOrientationPatient": orientation,
        "PixelSpacing": [2.0, 1.0],
        "PatientPosition": "HFS",
        "DistanceSourceToDetector": 1040,
        "DistanceSourceToPatient": 570,
        "FrameOfReferenceUID": FRAME,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    with_tags(data, **{key: value for key, value in (given | tags).items() if value is not None})
    data.save_as(path, enforce_file_format=True)
    return path


def points_of_pixels(path_tags_orientation, pixels):
    """LPS of stored (row, col): the standard's own formula (PS3.3 C.7.6.2.1.1)."""
    axes = torch.tensor(path_tags_orientation, dtype=torch.float64).reshape(2, 3)
    first = torch.tensor([-20.0, -70.0, 120.0], dtype=torch.float64)
    return first + pixels[:, 1:] * 1.0 * axes[0] + pixels[:, :1] * 2.0 * axes[1]


@pytest.mark.parametrize("orientation", [AP, LATERAL, ON_ITS_SIDE, FEET_UP])
@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFDR"])
def test_each_pixel_is_where_the_tags_say(tmp_path, orientation, position):
    spot = (7, 43)
    pixels = np.zeros(SHAPE, dtype=np.uint16)
    pixels[spot] = 1000
    xray = xr.read_xray(localizer(tmp_path / "scout.dcm", orientation, pixels=pixels, PatientPosition=position))
    carm = xray.carm
    assert isinstance(carm, xr.SlotScan)
    assert carm.scan == "rows"
    assert sorted(carm.spacing_at(570)) == pytest.approx([1.0, 2.0])
    world = points_of_pixels(orientation, torch.tensor([spot], dtype=torch.float64))
    assert_close(
        carm.project(rigid.apply(rigid.invert(xray.world_from_camera), world))[0],
        torch.nonzero(xray.image == xray.image.max())[0].double(),
        atol=1e-6,
        rtol=0,
    )
    assert xray.world_from_camera[2, 1] < -0.99  # rows go down to the feet
    assert torch.linalg.det(xray.world_from_camera[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("orientation", "tags", "source"),
    [
        (AP, {}, (0, -1, 0)),
        (AP, {"PatientPosition": "HFP"}, (0, 1, 0)),
        (AP, {"AngularPosition": 180}, (0, 1, 0)),
        (LATERAL, {}, (1, 0, 0)),
        (LATERAL, {"AngularPosition": 270}, (-1, 0, 0)),
        (LATERAL, {"PatientPosition": "FFS"}, (-1, 0, 0)),
        (LATERAL, {"PatientPosition": "HFDR"}, (1, 0, 0)),
        (ON_ITS_SIDE, {}, (1, 0, 0)),
        (ON_ITS_SIDE, {"AngularPosition": 90}, (1, 0, 0)),
    ],
)
def test_the_sources_side(tmp_path, orientation, tags, source):
    xray = xr.read_xray(localizer(tmp_path / "scout.dcm", orientation, **tags))
    assert_close(-xray.world_from_camera[:3, 2], torch.tensor(source, dtype=torch.float64))
    assert any("where the source was" in note for note in xray.notes) == ("AngularPosition" not in tags)


def test_an_angle_beside_the_images_plane_is_noted(tmp_path):
    xray = xr.read_xray(localizer(tmp_path / "scout.dcm", AP, AngularPosition=90))
    assert any(note.startswith("AngularPosition") and "not used" in note for note in xray.notes)


@pytest.mark.parametrize("orientation", [AP, LATERAL, ON_ITS_SIDE, FEET_UP])
def test_a_rendered_scout_is_registered_where_it_was_taken(tmp_path, orientation):
    """Written as a scanner would, read back, and placed in the CT: the DRR at that pose is the image."""
    volume = replace(xr.phantom.pelvis(seed=0, spacing=6.0), frame_of_reference=FRAME)
    seen = xr.read_xray(localizer(tmp_path / "empty.dcm", orientation))
    seen = replace(seen, world_from_camera=seen.world_from_camera.clone())
    shift = volume.isocenter - (seen.world_from_camera @ torch.tensor([0, 0, 570.0, 1], dtype=torch.float64))[:3]
    seen.world_from_camera[:3, 3] += shift
    image = xr.render(volume, seen.carm, seen.pose_in(volume))[0]
    assert image.max() > 1
    stored = np.round(image.numpy() * 500).astype(np.uint16)
    # back to how the file stores its pixels
    stored = stored.T if orientation == ON_ITS_SIDE else stored
    first = np.array([-20.0, -70.0, 120.0]) + shift.numpy()
    probe = xr.read_xray(localizer(tmp_path / "probe.dcm", orientation)).image.numpy()
    order = probe.T if orientation == ON_ITS_SIDE else probe
    flips = [axis for axis in (0, 1) if np.diff(order[:9, :9], axis=axis).mean() < 0]
    path = localizer(tmp_path / "s.dcm", orientation, pixels=np.flip(stored, flips), ImagePositionPatient=first.tolist())
    xray = xr.read_xray(path)
    again = xr.render(volume, xray.carm, xray.pose_in(volume))[0]
    assert torch.corrcoef(torch.stack([again.flatten(), xray.image.flatten()]))[0, 1] > 0.999


def test_another_frame_of_reference_leaves_the_angles(tmp_path):
    xray = xr.read_xray(localizer(tmp_path / "scout.dcm", LATERAL))
    volume = xr.phantom.pelvis(spacing=10.0)
    assert xray.pose_in(replace(volume, frame_of_reference=ELSEWHERE)) == xray.pose
    assert_close(xray.pose.numbers, xr.Pose(ry=-90).numbers)
    same = xray.pose_in(replace(volume, frame_of_reference=FRAME))
    assert_close(same.world_from_camera(xray.carm, volume.isocenter)[0], xray.world_from_camera)
    # without a frame of reference it is believed as long as the CT is in the image
    assert xray.pose_in(replace(volume, isocenter=torch.tensor([0.0, -40.0, 100.0]))) != xray.pose
    assert xray.pose_in(replace(volume, isocenter=torch.tensor([0.0, -40.0, 1000.0]))) == xray.pose


def test_distances_that_tags_lack_are_for_the_carm_file(tmp_path):
    path = localizer(tmp_path / "scout.dcm", ON_ITS_SIDE, DistanceSourceToDetector=None, DistanceSourceToPatient=None)
    with pytest.raises(XrcoreError, match="the geometry lacks source_to_isocenter"):
        xr.read_xray(path)
    (tmp_path / "carm.yaml").write_text("source_to_isocenter: 600\n")
    carm = xr.read_xray(path, tmp_path / "carm.yaml").carm
    assert carm == xr.SlotScan.from_isocenter_spacing((1.0, 2.0), (60, 40), source_to_isocenter=600)


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"ImageOrientationPatient": None}, "without ImageOrientationPatient"),
        ({"ImagePositionPatient": None}, "without ImagePositionPatient"),
        ({"PixelSpacing": None}, "without PixelSpacing"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing .* must be positive"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two perpendicular unit vectors"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "neither rows nor columns run along the table"),
        ({"DistanceSourceToPatient": -5}, "source_to_isocenter must be a positive length"),
    ],
)
def test_bad_tags_are_told_in_a_line(tmp_path, tags, what):
    path = localizer(tmp_path / "scout.dcm", **tags)
    with pytest.raises(XrcoreError, match=what) as error:
        xr.read_xray(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_ct_folder_keeps_its_frame_of_reference(tmp_path):
    for k in range(3):
        localizer(
            tmp_path / f"{k}.dcm",
            [1, 0, 0, 0, 1, 0],
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            ImagePositionPatient=[0, 0, 2.0 * k],
            SeriesInstanceUID="1.2.7",
            InstanceNumber=k,
        )
    volume = xr.read_ct(tmp_path, spacing=None)
    assert volume.frame_of_reference == FRAME == volume.coarser(4.0).frame_of_reference


@pytest.mark.parametrize(("orientation", "scan"), [(AP, "columns"), (ON_ITS_SIDE, "rows")])
def test_a_geometry_that_scans_along_the_other_axis_is_refused(tmp_path, orientation, scan):
    (tmp_path / "carm.yaml").write_text(f"scan: {scan}\nsource_to_isocenter: 600\n")
    with pytest.raises(xr.XrcoreError, match=rf"scout\.dcm: the geometry says scan: {scan}, and the file's tags"):
        xr.read_xray(localizer(tmp_path / "scout.dcm", orientation), tmp_path / "carm.yaml")
