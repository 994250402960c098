"""An attenuation image as a DICOM X-ray angiography object, and xrcore's private block in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.xray.positioner_angles import angles_from_pose, axes_of, axis_letter

# Decimal strings of DICOM have 16 characters, and no tag holds six numbers of a pose or a principal point: the block does.
_GROUP, _CREATOR = 0x0019, "XRCORE VIEW"
_LENGTHS, _POINT, _POSE, _MASK, _SHAPE = 0x01, 0x02, 0x03, 0x04, 0x05


def xray_dataset(image: Float32[ndarray, "H W"], carm: CArm, pose: Pose | None, mask: Bool[ndarray, "H W"] | None) -> Dataset:
    """The dataset: 16 bit, pixels growing with attenuation (relationship LOG, sign -1), bone bright.

    All tags are as the standard says, for other readers: angles count from a detector in front of the patient. Identifiers follow from
    the content, so that the same image always makes the same file.
    """
    content = [image.tobytes().hex(), repr(carm), repr(pose), "" if mask is None else mask.tobytes().hex()]
    data = blank_object(XRayAngiographicImageStorage, content)
    data.Modality, data.ImageType = "XA", ["DERIVED", "PRIMARY", "SINGLE PLANE"]
    data.KVP, data.RadiationSetting, data.PositionerMotion = None, "GR", "STATIC"

    data.DistanceSourceToDetector = format_number_as_ds(carm.source_to_detector)
    data.DistanceSourceToPatient = format_number_as_ds(carm.source_to_isocenter)
    data.EstimatedRadiographicMagnificationFactor = format_number_as_ds(carm.magnification)
    data.ImagerPixelSpacing = [format_number_as_ds(s) for s in carm.spacing]
    if pose is not None:
        primary, secondary = angles_from_pose(pose, carm)
        data.PositionerPrimaryAngle, data.PositionerSecondaryAngle = format_number_as_ds(primary), format_number_as_ds(secondary)
        axes = axes_of(pose, carm)
        data.PatientOrientation = [axis_letter(axes[:, 0]), axis_letter(axes[:, 1])]

    # the decimal strings are what a reader scales with, so they are also what the pixels are rounded with
    low, high = float(image.min()), float(image.max())
    slope, intercept = format_number_as_ds((high - low) / 65535 or 1.0), format_number_as_ds(low)
    stored = np.clip(np.round((image.astype(np.float64) - float(intercept)) / float(slope)), 0, 65535)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = slope, intercept, "US"
    data.WindowCenter, data.WindowWidth = format_number_as_ds((low + high) / 2), format_number_as_ds(high - low or 1.0)
    data.PixelData = stored.astype("<u2").tobytes()
    _add_view(data, carm, pose, mask)
    return data


def blank_object(sop_class: str, content: list[str]) -> Dataset:
    """An object of one image, without any person; its identifiers follow from the content."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = sop_class, generate_uid(entropy_srcs=content)
    data.StudyInstanceUID, data.SeriesInstanceUID = (generate_uid(entropy_srcs=[*content, level]) for level in ("study", "series"))
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientName", "PatientID"):
        setattr(data, keyword, "")
    for keyword in ("PatientBirthDate", "PatientSex", "SeriesNumber"):
        setattr(data, keyword, None)
    data.Manufacturer, data.InstanceNumber = "xrcore", 1
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


def _add_view(data: Dataset, carm: CArm, pose: Pose | None, mask: Bool[ndarray, "H W"] | None) -> None:
    block = data.private_block(_GROUP, _CREATOR, create=True)
    block.add_new(_LENGTHS, "FD", [carm.source_to_detector, carm.source_to_isocenter, *carm.spacing])
    block.add_new(_POINT, "FD", list(carm.center))
    block.add_new(_SHAPE, "US", list(carm.shape))
    if pose is not None:
        block.add_new(_POSE, "FD", pose.numbers[0].tolist())
    if mask is not None and not mask.all():
        packed = np.packbits(mask).tobytes()
        block.add_new(_MASK, "OB", packed + b"\0" * (len(packed) % 2))


def stored_view(
    data: Dataset, tags: dict[str, Any], path: Path, notes: list[str]
) -> tuple[CArm | None, Pose | None, Bool[ndarray, "H W"] | None]:
    """What the private block of a file that `write_xray` made holds; nothing of others.

    tags: the geometry by public tags. Where they or the image's size are others, somebody changed the file: then the block is not used.
    Raises XrcoreError if it is damaged.
    """
    try:
        block = data.private_block(_GROUP, _CREATOR)
    except KeyError:
        return None, None, None
    shape = (int(data.Rows), int(data.Columns))
    try:
        found = {offset: block[offset].value for offset in (_LENGTHS, _POINT, _POSE, _MASK, _SHAPE) if offset in block}
        (sdd, sid, *spacing), point = _doubles(found[_LENGTHS]), _doubles(found[_POINT])
        public = [tags.get("source_to_detector", sdd), tags.get("source_to_isocenter", sid), *tags.get("pixel_spacing", spacing)]
        if _whole(found.get(_SHAPE, shape)) != shape or not np.allclose(public, [sdd, sid, *spacing], rtol=1e-6):
            notes.append("image size or geometry were changed after xrcore wrote this file: its exact pose, centre and mask are not used")
            return None, None, None
        geometry: dict[str, Any] = {"pixel_spacing": spacing, "principal_point": point}
        carm = CArm(source_to_detector=sdd, source_to_isocenter=sid, shape=shape, **geometry)
        pose = Pose(_doubles(found[_POSE])) if _POSE in found else None
        mask = None
        if _MASK in found:
            bits = np.unpackbits(np.frombuffer(found[_MASK], dtype=np.uint8), count=shape[0] * shape[1])
            mask = bits.reshape(shape).astype(bool)
    except (KeyError, TypeError, ValueError) as error:
        reason = f" ({error})" if isinstance(error, XrcoreError) else ""
        raise XrcoreError(f"{path}: xrcore's private block is damaged{reason}; give the geometry in a carm.yaml") from None
    return carm, pose, mask


def _doubles(value: Any) -> list[float]:
    # a tool that rewrites the file with implicit types leaves the bytes
    return np.frombuffer(value, dtype="<f8").tolist() if isinstance(value, bytes) else [float(v) for v in value]


def _whole(value: Any) -> tuple[int, ...]:
    return tuple(np.frombuffer(value, dtype="<u2").tolist() if isinstance(value, bytes) else [int(v) for v in value])
