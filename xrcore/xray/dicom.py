"""DICOM X-ray -> pixels, geometry and pose, as far as its tags say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy import ndarray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_pixels import number, numbers, pixels, read_dataset, rescaled, tag, text
from xrcore.geometry import CArm, Pose
from xrcore.xray.dicom_object import letter_direction, stored_view
from xrcore.xray.raster import check_frame, frame_notes

DETECTOR = ("posterior", "anterior")
# which tag gives which key of a carm.yaml
TAGS = {
    "source_to_detector": "DistanceSourceToDetector",
    "source_to_isocenter": "DistanceSourceToPatient",
    "pixel_spacing": "ImagerPixelSpacing",
}


@dataclass(frozen=True, kw_only=True)
class DicomXray:
    """What a DICOM X-ray says. Keys of `geometry` are those of carm.yaml, as far as its tags give them."""

    values: Float32[ndarray, "H W"]
    pixel_values: str  # "attenuation", "intensity", or "log-intensity"
    geometry: dict[str, Any]
    loose_spacing: bool = False  # pixel_spacing is PixelSpacing, which may have been calibrated at the patient
    angles: tuple[float, float] | None
    orientation: tuple[str, str]
    pose: Pose | None = None  # exact, of a file that xrcore wrote
    mask: Bool[ndarray, "H W"] | None = None
    notes: tuple[str, ...] = ()


def read_dicom(path: Path, frame: int | None = None) -> DicomXray:
    """Read one frame and its tags. Raises XrcoreError for a damaged file, a missing frame, or tags that are not numbers."""
    data = read_dataset(path)
    frames = pixels(data, path)
    check_frame(path, frame or 0, len(frames))
    notes = list(frame_notes(frame, len(frames)))
    values = rescaled(frames[frame or 0], data, path)

    on_detector = numbers(data, TAGS["pixel_spacing"], 2, path)
    spacing = on_detector or numbers(data, "PixelSpacing", 2, path)
    geometry: dict[str, Any] = {key: number(data, TAGS[key], path) for key in ("source_to_detector", "source_to_isocenter")}
    geometry = {key: value for key, value in (geometry | {"pixel_spacing": spacing}).items() if value is not None}
    primary, secondary = (number(data, f"Positioner{which}Angle", path) for which in ("Primary", "Secondary"))
    carm, pose, mask = stored_view(data, path)
    if carm is not None:
        geometry = {key: value for key, value in carm.to_dict().items() if key != "shape"}
    letters = data.get("PatientOrientation")
    words = [str(v) for v in letters] if isinstance(letters, MultiValue) else []
    return DicomXray(
        values=values,
        pixel_values=_meaning(data, path, notes),
        geometry=geometry,
        loose_spacing=on_detector is None and spacing is not None and carm is None,
        angles=None if primary is None and secondary is None else (primary or 0.0, secondary or 0.0),
        orientation=(words[0], words[1]) if len(words) == 2 else ("", ""),
        pose=pose,
        mask=mask,
        notes=tuple(notes),
    )


def _meaning(data: Dataset, path: Path, notes: list[str]) -> str:
    """How pixels relate to the beam.

    PixelIntensityRelationshipSign says it. Without it, angiography and fluoroscopy store intensities (PS3.3 C.8.7.1.1.2, bone dark as
    MONOCHROME2), while radiography shows bone bright: as MONOCHROME2 it stores attenuation, as MONOCHROME1 intensity.
    """
    relationship, photometric = text(data, "PixelIntensityRelationship").upper(), text(data, "PhotometricInterpretation").upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise XrcoreError(f"{path}: {tag('PhotometricInterpretation')} is {photometric[:20]!r}; an X-ray is MONOCHROME1 or MONOCHROME2")
    sign = number(data, "PixelIntensityRelationshipSign", path)
    if sign in (1, -1):
        of_intensity = sign == 1
    else:
        of_intensity = (photometric == "MONOCHROME2") == (text(data, "Modality") in ("XA", "RF"))
        notes.append(f"no {tag('PixelIntensityRelationshipSign')}: {photometric} taken as bone {'dark' if of_intensity else 'bright'}")
    if (number(data, "RescaleSlope", path) or 1.0) < 0:
        of_intensity = not of_intensity
    if not of_intensity:
        return "attenuation"
    if relationship == "LIN":
        return "intensity"
    if relationship != "LOG":
        notes.append(f"{tag('PixelIntensityRelationship')} is {relationship or 'absent'}: pixels taken as logarithms of intensity")
    return "log-intensity"


def pose_from_angles(angles: tuple[float, float], detector: str, carm: CArm) -> Pose:
    """The pose of positioner angles (primary, secondary) [deg], centred on the isocentre.

    detector: the side where angles are zero. "posterior" is xrcore's own count: ry and rx. "anterior" is DICOM's (PS3.3
    C.8.7.5.1.2: 0 in front of the patient, primary to the left positive, secondary to the head positive); there the pose looks along
    n = (sin P cos S, -cos P cos S, sin S) in LPS, with the image's rows as inferior as they can be.
    """
    primary, secondary = angles
    if detector == "posterior":
        return Pose(ry=primary, rx=secondary)
    if abs(abs(secondary) % 180 - 90) < 0.01:
        raise XrcoreError(f"a secondary angle of {secondary:g} deg looks along the patient's axis, where the primary one has no meaning")
    p, s = np.deg2rad([primary, secondary])
    z = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
    y = np.array([0.0, 0.0, -1.0]) + z[2] * z
    y /= np.linalg.norm(y)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(y, z), y, z], 1)
    matrix[:3, 3] = -carm.source_to_isocenter * z
    return Pose.from_world_from_camera(torch.from_numpy(matrix), carm, torch.zeros(3))


def mirrored(orientation: tuple[str, str], pose: Pose | None, detector: str, carm: CArm) -> tuple[bool, bool]:
    """Whether stored rows and columns run against the camera's, so that the image must be flipped (up-down, left-right).

    PatientOrientation says it where it agrees with the pose in its axes. Otherwise images from an anterior detector are stored as shown,
    the patient's right on the left: the mirror of what the camera behind the patient sees.
    """
    default = (False, detector == "anterior")
    if pose is None:
        return default
    axes = pose.world_from_camera(carm, torch.zeros(3))[0, :3, :2].numpy()
    columns, rows = (letter_direction(word) for word in orientation)
    along = [0.0 if d is None else float(d @ axes[:, i]) for i, d in enumerate((columns, rows))]
    if min(map(abs, along)) < 0.5:
        return default
    return along[1] < 0, along[0] < 0
