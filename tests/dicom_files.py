"""Made-up DICOM files as other systems write them: a small CT of unequal sides, and X-rays of given pixel values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

STEP, ORIGIN = np.array([3.0, 2.5, 4.0]), np.array([5.0, -7.0, 11.0])  # x, y, z [mm]
BALL = np.array([4.0, 7.0, 3.0])  # x, y, z index
SHAPE = (8, 14, 12)


def hounsfield() -> np.ndarray:
    """A body with a bright ball in air, (z, y, x)."""
    z, y, x = np.indices(SHAPE)
    hu = np.full(SHAPE, -1000)
    hu[((x - 5.5) / 5) ** 2 + ((y - 6.5) / 6) ** 2 < 1] = 40
    hu[(x - 4) ** 2 + (y - 7) ** 2 + (z - 3) ** 2 <= 1] = 1200
    return hu


def outside() -> np.ndarray:
    """True beyond the circle in which a scanner reconstructs."""
    _, y, x = np.indices(SHAPE)
    return ((x - 5.5) / 6.2) ** 2 + ((y - 6.5) / 7.2) ** 2 > 1


def ball_at(hu: np.ndarray, world_from_voxel: np.ndarray) -> np.ndarray:
    """Where the ball is, LPS [mm]."""
    return (world_from_voxel @ np.r_[np.argwhere(hu > 1000)[:, ::-1].mean(0), 1])[:3]


def group(**tags: Any) -> list[Dataset]:
    """A sequence of one item."""
    return [with_tags(Dataset(), **tags)]


def with_tags(data: Dataset, **tags: Any) -> Dataset:
    """The dataset with tags set."""
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return data


def dataset(values: np.ndarray, storage: str, *, bits: int = 16, signed: bool = False, **tags: Any) -> Dataset:
    """An image of one or several frames, with what every image has."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID, data.StudyInstanceUID = storage, generate_uid(), "1.2.3", "1.2"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = values.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, bits, bits - 1, int(signed)
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return with_tags(data, **tags)


def saved(path: Path, data: Dataset) -> Path:
    """Write it as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def ct_series(
    folder: Path,
    hu: np.ndarray | None = None,
    *,
    name: str = "IM{:04d}.dcm",
    intercept: int = -1024,
    edit: Callable[[Dataset, int], object] = lambda data, k: None,
    **options: Any,
) -> Path:
    """A slice a file."""
    for k, plane in enumerate(hounsfield() if hu is None else hu):
        data = dataset(plane - intercept, CTImageStorage, **options)
        place = [float(ORIGIN[0]), float(ORIGIN[1]), float(ORIGIN[2] + k * STEP[2])]
        with_tags(data, ImagePositionPatient=place, ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[STEP[1], STEP[0]])
        with_tags(data, Modality="CT", InstanceNumber=k + 1, RescaleSlope=1, RescaleIntercept=intercept)
        edit(data, k)
        saved(folder / name.format(k), data)
    return folder


def enhanced_ct(path: Path, order: np.ndarray, **shared: Any) -> Path:
    """All slices in one file, frames in any order, what is said of them in functional groups."""
    data = dataset(hounsfield()[order] + 1024, EnhancedCTImageStorage, Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    groups = {
        "PixelMeasuresSequence": group(PixelSpacing=[STEP[1], STEP[0]], SliceThickness=4),
        "PlaneOrientationSequence": group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "PixelValueTransformationSequence": group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"),
    }
    data.SharedFunctionalGroupsSequence = group(**(groups | shared))
    places = [[float(ORIGIN[0]), float(ORIGIN[1]), float(ORIGIN[2] + int(k) * STEP[2])] for k in order]
    data.PerFrameFunctionalGroupsSequence = [group(PlanePositionSequence=group(ImagePositionPatient=place))[0] for place in places]
    return saved(path, data)


def xray_dataset(values: np.ndarray, **tags: Any) -> Dataset:
    """An X-ray as a C-arm's console stores it: detector counts, bone dark."""
    given = {"Modality": "XA", "ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE"], "PixelIntensityRelationship": "LIN"}
    given |= {"PixelIntensityRelationshipSign": 1, "DistanceSourceToDetector": 1200, "DistanceSourceToPatient": 800}
    return dataset(values, XRayAngiographicImageStorage, **(given | {"bits": 12, "ImagerPixelSpacing": [1.5, 1.5]} | tags))


def counts(shape: tuple[int, ...] = (24, 32), seed: int = 0) -> np.ndarray:
    """Detector counts of 12 bits."""
    return np.random.default_rng(seed).integers(100, 4000, shape)


def compressed(data: Dataset, values: np.ndarray, kind: str, folder: Path) -> Dataset:
    """Its pixels as lossless JPEG ("JPEG") or JPEG 2000 ("JPEG2000"), by ITK's writer."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(folder / "encoded.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor(kind)
    writer.Execute(sitk.GetImageFromArray(values.astype(np.int16 if data.PixelRepresentation else np.uint16)[None]))
    encoded = pydicom.dcmread(folder / "encoded.dcm")
    (folder / "encoded.dcm").unlink()
    data.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
    data.PixelData = encoded.PixelData
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    return data
