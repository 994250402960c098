"""CT files and label maps of every kind that is read, a few voxels each."""

from __future__ import annotations

import hashlib
import struct
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from support.mutants.byte_mutations import damaged, spliced
from support.mutants.dicom_mutations import dicom_element, element_lost, pixels_resized
from support.mutants.guarded import Found, Sample
from support.mutants.header_mutations import (
    body_resized,
    field_lost,
    nifti_disagreement,
    nifti_header,
    text_header,
    under_compression,
)

from xrcore.ct import read_ct, read_hu, volume_from_hu

SHAPE = (5, 10, 12)
STEP, ORIGIN = np.array([2.0, 2.5, 3.0]), np.array([5.0, -7.0, 11.0])


def samples(folder: Path) -> dict[str, Sample]:
    """By name."""
    image = _image()
    found: dict[str, Sample] = {}
    kin = {}
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "zipped.nrrd", "a.mha", "zipped.mha", "a.mhd", "a.nhdr"):
        (folder / name).mkdir()
        sitk.WriteImage(image, str(folder / name / name), name.startswith("zipped"))
        kin[name] = folder / name / name
    for name in ("scaled.nii", "second.nii", "text.nrrd"):
        (folder / name).mkdir()
        kin[name] = folder / name / name
    _scaled_nifti(kin["scaled.nii"])
    nibabel.save(nibabel.Nifti2Image(_hu().T, np.diag([2, 2.5, 3, 1])), kin["second.nii"])
    _text_nrrd(kin["text.nrrd"], kin["a.nrrd"])
    for name, path in kin.items():
        by_field = nifti_header if ".nii" in name else text_header
        others = [other.read_bytes() for other in kin.values() if other != path and other.suffix == path.suffix]
        mutations = [damaged, by_field, by_field] + [partial(spliced, other=other) for other in others[:1]]
        if name.endswith(".gz"):
            mutations.append(under_compression)
        contradictions = [field_lost] if ".nii" not in name else []
        contradictions += [body_resized] if name not in ("a.mhd", "a.nhdr") else []
        contradictions += [nifti_disagreement] if name in ("a.nii", "a.nii.gz") else []
        found[name] = Sample(path, partial(_ct, path), mutations, contradictions)
    for name in ("a.mhd", "a.nhdr"):
        body = kin[name].with_suffix(".raw")
        found[f"body of {name}"] = Sample(body, partial(_ct, kin[name]), [damaged], [body_resized])
    for name, syntax in (("series", ExplicitVRLittleEndian), ("run lengths", RLELossless), ("wavelets", JPEG2000Lossless)):
        paths = _series(folder / name, syntax)
        mutations = [damaged, dicom_element, dicom_element, dicom_element, partial(spliced, other=paths[2].read_bytes())]
        contradictions = [element_lost] + ([pixels_resized] if name == "series" else [])
        found[name] = Sample(paths[1], partial(_ct, folder / name), mutations, contradictions)
        found[f"end of {name}"] = Sample(paths[0], partial(_ct, folder / name), mutations, contradictions)
    path = enhanced(folder / "enhanced.dcm")
    found["enhanced"] = Sample(path, partial(_ct, path), [damaged, *[dicom_element] * 3], [element_lost, pixels_resized])
    for name in ("labels.nii.gz", "labels.mha", "labels.nrrd"):
        labels = sitk.GetImageFromArray((_hu() > 0).astype(np.uint8) * 3)
        labels.CopyInformation(image)
        sitk.WriteImage(labels, str(folder / name))
        by_field = nifti_header if ".nii" in name else text_header
        found[name] = Sample(folder / name, partial(_labelled, kin["a.mha"], folder / name), [damaged, by_field])
    return found


def _ct(path: Path) -> Found:
    """Read as HU, and turned into densities, which must bear whatever was let through."""
    hu = read_hu(path)
    volume = volume_from_hu(hu, spacing=3.0)
    assert bool((volume.density >= 0).all()), "a density that is none"
    assert bool(volume.density.isfinite().all()), "a density that is none"
    return Found(_digest(hu.hu), (hu.hu.shape, np.round(hu.world_from_voxel, 6).tolist()), hu.notes)


def _labelled(ct: Path, labels: Path) -> Found:
    volume = read_ct(ct, 3.0, labels=labels)
    return Found(_digest(volume.density.numpy()), volume.world_from_voxel.tolist(), volume.notes)


def _digest(values: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _hu() -> NDArray[np.int16]:
    hu = np.random.default_rng(0).integers(-1000, 1500, SHAPE).astype(np.int16)
    hu[0] = -1000
    return hu


def _image() -> sitk.Image:
    image = sitk.GetImageFromArray(_hu())
    image.SetSpacing(STEP.tolist())
    image.SetOrigin(ORIGIN.tolist())
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    return image


def _scaled_nifti(path: Path) -> None:
    """16 bits with a slope and an intercept, big-endian, with an orientation by quaternion alone."""
    image = nibabel.Nifti1Image(_hu().T, np.diag([-2, -2.5, 3, 1]), nibabel.Nifti1Header(endianness="<"))
    image.set_sform(None, 0)
    image.set_qform(np.diag([-2, -2.5, 3, 1]), 1)
    image.header.set_slope_inter(1.0, 0.0)
    nibabel.save(image, path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, 0.5, -100.0)
    path.write_bytes(data)


def _text_nrrd(path: Path, raw: Path) -> None:
    head, _, _ = raw.read_bytes().partition(b"\n\n")
    numbers = " ".join(map(str, _hu().ravel().tolist()))
    path.write_bytes(
        head.replace(b"encoding: raw", b"encoding: ascii").replace(b"endian: little\n", b"") + b"\n\n" + numbers.encode() + b"\n"
    )


def _slice(uid: str) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, uid
    data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2", "1.2.4"
    data.SeriesDescription, data.Modality, data.SpecificCharacterSet = "axial", "CT", "ISO_IR 100"
    data.SamplesPerPixel, data.PhotometricInterpretation, data.Rows, data.Columns = 1, "MONOCHROME2", *SHAPE[1:]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPInstanceUID, data.file_meta.TransferSyntaxUID = uid, ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    return data


def _series(folder: Path, syntax: pydicom.uid.UID) -> list[Path]:
    folder.mkdir()
    paths = []
    for k, plane in enumerate(_hu()):
        data = _slice(f"1.2.3.{k}")
        data.ImageType, data.InstanceNumber, data.SliceThickness = ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1, 3
        data.ImagePositionPatient, data.ImageOrientationPatient = [*ORIGIN[:2].tolist(), 11 + 3 * k], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.GantryDetectorTilt = [2.5, 2], 0
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
        data.PixelData = (plane.astype(int) + 1024).astype("<u2").tobytes()
        paths.append(folder / f"{k}.dcm")
        if syntax == RLELossless:
            data.compress(syntax)
        elif syntax == JPEG2000Lossless:
            data.file_meta.TransferSyntaxUID, data.PixelData = wavelets(plane.astype(int) + 1024, folder)
            data["PixelData"].is_undefined_length, data["PixelData"].VR = True, "OB"
        data.save_as(paths[-1], enforce_file_format=True)
    return paths


def wavelets(values: NDArray[np.int_], folder: Path, kind: str = "JPEG2000") -> tuple[pydicom.uid.UID, bytes]:
    """The transfer syntax and compressed pixels that ITK makes of 16-bit values."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(folder / "encoded.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor(kind)
    writer.Execute(sitk.GetImageFromArray(values.astype(np.uint16)[None]))
    data = pydicom.dcmread(folder / "encoded.dcm")
    (folder / "encoded.dcm").unlink()
    return data.file_meta.TransferSyntaxUID, data.PixelData


def enhanced(path: Path) -> Path:
    """One file of several frames, out of order."""
    data = _slice("1.2.3.9")
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.ImageType, data.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], SHAPE[0]
    shared = Dataset()
    shared.PixelMeasuresSequence = [_tags(PixelSpacing=[2.5, 2], SliceThickness=3)]
    shared.PlaneOrientationSequence = [_tags(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    shared.PixelValueTransformationSequence = [_tags(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")]
    data.SharedFunctionalGroupsSequence = [shared]
    order = np.random.default_rng(0).permutation(SHAPE[0])
    places = [_tags(ImagePositionPatient=[*ORIGIN[:2].tolist(), float(11 + 3 * k)]) for k in order]
    data.PerFrameFunctionalGroupsSequence = [_tags(PlanePositionSequence=[place]) for place in places]
    data.PixelData = (_hu()[order].astype(int) + 1024).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def _tags(**values: object) -> Dataset:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data
