"""DICOM X-ray -> pixels, geometry and pose, as far as its tags say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float32, Shaped
from numpy import ndarray
from pydicom.dataset import Dataset

from xrcore.ct.dicom_pixels import padding, rescale_remark, rescaled, stored_pixels
from xrcore.ct.dicom_tags import frame_count, frame_tags, number, read_dataset, tag, text
from xrcore.geometry import CArm, Pose
from xrcore.xray.dicom_geometry import stored_geometry
from xrcore.xray.dicom_object import stored_view
from xrcore.xray.localizer import Localizer, is_localizer, localizer_geometry, stored_localizer
from xrcore.xray.positioner_angles import oriented, pose_from_angles, stored_angles
from xrcore.xray.raster import check_frame, frame_notes
from xrcore.xray.shutters import SMALLEST_FIELD, open_field


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomXray:
    """What a DICOM X-ray says. Keys of `geometry` are those of carm.yaml, as far as its tags give them."""

    values: Float32[ndarray, "H W"]
    pixel_values: str  # "attenuation", "intensity", or "log-intensity"
    geometry: dict[str, Any]
    spacing_remark: str = ""  # to make where the file's pixel spacing is used
    tags: Dataset | None = None  # of this frame
    angles: tuple[float, float] | None = None  # as the file counts them
    pose: Pose | None = None  # exact, of a file that xrcore wrote
    mask: Bool[ndarray, "H W"] | None = None  # exact, of a file that xrcore wrote
    localizer: Localizer | None = None  # of a CT
    open: Bool[ndarray, "H W"] | None = None  # False where tags name a shutter, a collimator, or padding
    notes: tuple[str, ...] = ()

    def placed(self, detector: str | None, carm: CArm, notes: list[str]) -> tuple[Pose | None, tuple[bool, bool]]:
        """Pose, and whether the image must be flipped (up-down, left-right) to fit it; detector as in `read_xray`."""
        if self.localizer is not None:  # where its isocentre is in a CT is known once there is one
            camera = self.localizer.world_from_camera(carm)
            isocenter = (camera @ torch.tensor([0.0, 0.0, carm.source_to_isocenter, 1.0], dtype=torch.float64))[:3]
            return Pose.from_world_from_camera(camera, carm, isocenter), (False, False)
        if self.pose is not None or self.angles is None or self.tags is None:
            return self.pose, (False, False)
        side = detector or "anterior"
        said = f"positioner angles {self.angles[0]:g} and {self.angles[1]:g} deg"
        pose = pose_from_angles(self.angles, side, carm)
        if pose is None:
            notes.append(f"{said} look along the patient's axis, where they do not say which way is up: no pose")
            return None, (False, False)
        counted = "from a detector in front of the patient, as DICOM does" if side == "anterior" else "from one behind, as ry and rx"
        notes.append(f"{said} are counted {counted} (detector=, --detector)")
        return oriented(self.tags, pose, side, carm, notes)


def read_dicom(path: Path, frame: int | None = None) -> DicomXray:
    """Read one frame and its tags. Raises XrcoreError for a damaged file, a missing frame, or tags that are not numbers."""
    file = path.stat()
    data = _dataset(path, file.st_ino, file.st_mtime_ns, file.st_size)
    frames = frame_count(data, path)
    check_frame(path, frame or 0, frames)
    notes = list(frame_notes(frame, frames))
    stored = stored_pixels(data, path, frame or 0)
    tags = frame_tags(data, frame or 0, path)
    notes += [remark] if (remark := rescale_remark(tags)) else []
    if is_localizer(tags):
        localizer = stored_localizer(tags, path, notes)
        values = rescaled(stored, tags, path)
        return DicomXray(
            values=values,
            pixel_values="attenuation",
            geometry=localizer_geometry(localizer, tags, path),
            tags=tags,
            localizer=localizer,
            open=_open(stored, tags, path, notes),
            notes=tuple(notes),
        )
    geometry, spacing_remark = stored_geometry(tags, path, notes)
    carm, pose, mask = stored_view(data, geometry, path, notes)
    if carm is not None:
        geometry, spacing_remark = {key: value for key, value in carm.to_dict().items() if key != "shape"}, ""
    return DicomXray(
        values=rescaled(stored, tags, path),
        pixel_values=_meaning(tags, path, notes),
        geometry=geometry,
        spacing_remark=spacing_remark,
        tags=tags,
        angles=None if pose is not None else stored_angles(tags, frame or 0, frames, path, notes),
        pose=pose,
        mask=mask,
        open=_open(stored, tags, path, notes),
        notes=tuple(notes),
    )


@lru_cache(maxsize=2)  # the frames of a cine are read one by one, those of two cameras in turn
def _dataset(path: Path, inode: int, modified: int, size: int) -> Dataset:
    """The file's data set; the other arguments tell whether it is still the same file."""
    return read_dataset(path)


def _open(stored: Shaped[ndarray, "H W"], tags: Dataset, path: Path, notes: list[str]) -> Bool[ndarray, "H W"]:
    """False where the tags name a shutter, a collimator, or padding."""
    inside = open_field(tags, stored.shape, path, notes)
    padded = padding(stored, tags, path)
    if padded is not None and (inside & ~padded).mean() < SMALLEST_FIELD:
        notes.append(f"{tag('PixelPaddingValue')} is not used: it would cover the image")
    elif padded is not None:
        inside &= ~padded
    return inside


def _meaning(data: Dataset, path: Path, notes: list[str]) -> str:
    """How pixels relate to the beam.

    PixelIntensityRelationshipSign says it. Without it, angiography and fluoroscopy store intensities (PS3.3 C.8.7.1.1.2, bone dark as
    MONOCHROME2), while radiography shows bone bright: as MONOCHROME2 it stores attenuation, as MONOCHROME1 intensity.
    """
    relationship, photometric = text(data, "PixelIntensityRelationship").upper(), text(data, "PhotometricInterpretation").upper()
    sign = number(data, "PixelIntensityRelationshipSign", path)
    if sign in (1, -1):
        of_intensity = sign == 1
    else:
        of_intensity = (photometric == "MONOCHROME2") == (text(data, "Modality") in ("XA", "RF"))
        notes.append(f"no {tag('PixelIntensityRelationshipSign')}: {photometric} taken as bone {'dark' if of_intensity else 'bright'}")
    if (number(data, "RescaleSlope", path) or 1.0) < 0:
        of_intensity = not of_intensity
    if "ModalityLUTSequence" in data and relationship != "LOG":  # that of LOG leads back to intensities
        notes.append(f"{tag('ModalityLUTSequence')} is not applied")
    if not of_intensity:
        return "attenuation"
    if relationship == "LIN":
        return "intensity"
    if relationship != "LOG":
        notes.append(f"{tag('PixelIntensityRelationship')} is {relationship or 'absent'}: pixels taken as logarithms of intensity")
    return "log-intensity"
