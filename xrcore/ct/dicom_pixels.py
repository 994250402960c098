"""Read DICOM datasets and their pixels; also used for X-rays, by `xrcore.xray`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from jaxtyping import Shaped
from numpy import ndarray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from xrcore._util.errors import XrcoreError
from xrcore._util.suppress_stderr import suppress_library_output

MOST_PIXELS = 2**28
COMPRESSED_AT_MOST = 5000  # pixels a byte; a smaller file does not hold what its header says
_PIXEL_TAGS = (0x02, 0x04, 0x08, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103)  # of group 0028: from SamplesPerPixel to PixelRepresentation


def is_dicom(path: Path) -> bool:
    """Whether the file has DICOM's magic word."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dataset(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """A DICOM dataset: all of it, or the named tags only and no pixels. Raises XrcoreError if it is damaged.

    Damage can surface as any exception of the parser, at reading or when a value is first looked at: hence both are done here.
    """
    try:
        with suppress_library_output():
            dataset = pydicom.dcmread(path, stop_before_pixels=tags is not None, specific_tags=None if tags is None else list(tags))
            for element in dataset:
                element.value  # noqa: B018 (values are parsed on access)
            return dataset
    except Exception as error:
        raise XrcoreError(f"{path}: cannot be read as DICOM; damaged or truncated ({_brief(error)})") from None


def number(dataset: Dataset, keyword: str, path: Path) -> float | None:
    """One number of a tag, None if absent or empty. Raises XrcoreError naming the tag if it is not a finite number."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    if isinstance(value, (list, pydicom.multival.MultiValue)):
        value = value[0] if len(value) else math.nan
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise XrcoreError(f"{path}: {tag(keyword)} is {str(value)[:40]!r}, not a number")
    return result


def numbers(dataset: Dataset, keyword: str, count: int, path: Path) -> list[float] | None:
    """`count` numbers of a tag, None if absent or empty. Raises XrcoreError naming the tag if they are not that."""
    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, pydicom.multival.MultiValue) and not len(value)):
        return None
    try:
        result = [float(v) for v in value]
    except (TypeError, ValueError, OverflowError):
        result = []
    if len(result) != count or not all(map(math.isfinite, result)):
        raise XrcoreError(f"{path}: {tag(keyword)} must be {count} numbers, got {str(value)[:60]!r}")
    return result


def tag(keyword: str) -> str:
    """`Keyword (gggg,eeee)`, as messages name a tag."""
    value = pydicom.datadict.tag_for_keyword(keyword)
    assert value is not None
    return f"{keyword} ({value >> 16:04x},{value & 0xFFFF:04x})"


def text(dataset: Dataset, keyword: str) -> str:
    """A tag as one short printable line, empty if absent."""
    value = dataset.get(keyword)
    return "" if value is None else "".join(c for c in str(value)[:200] if c.isprintable()).strip()


def pixels(dataset: Dataset, path: Path) -> Shaped[ndarray, "frames rows cols"]:
    """Stored pixel values of every frame, before rescale. Raises XrcoreError for a damaged file, colour, or no image at all."""
    if "PixelData" not in dataset and "Rows" not in dataset:
        raise XrcoreError(f"{path}: this DICOM file holds no image ({text(dataset, 'Modality') or 'no Modality'})")
    rows, cols, frames = (int(number(dataset, k, path) or 0) for k in ("Rows", "Columns", "NumberOfFrames"))
    frames = max(1, frames)
    if rows < 1 or cols < 1 or rows * cols * frames > MOST_PIXELS:
        raise XrcoreError(f"{path}: the DICOM header claims {rows} x {cols} pixels in {frames} frames; it is damaged")
    if (number(dataset, "SamplesPerPixel", path) or 1) != 1:
        raise XrcoreError(f"{path}: a colour DICOM image; CT and X-ray have one sample per pixel")
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    if not getattr(syntax, "is_transfer_syntax", False):
        raise XrcoreError(f"{path}: unknown DICOM transfer syntax {str(syntax)[:64]!r}; damaged, or a private format")
    # a deflated data set is unpacked as a whole while it is read
    if syntax.is_compressed and syntax != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return _decompressed(dataset, path, (frames, rows, cols))
    return _uncompressed(dataset, path, (frames, rows, cols), big_endian=syntax == pydicom.uid.ExplicitVRBigEndian)


def _uncompressed(dataset: Dataset, path: Path, shape: tuple[int, int, int], *, big_endian: bool) -> Shaped[ndarray, "frames rows cols"]:
    allocated, stored, signed = (number(dataset, k, path) for k in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    floats = {32: "FloatPixelData", 64: "DoubleFloatPixelData"}.get(int(allocated or 0), "")
    keyword, kind = (floats, "f") if floats and floats in dataset else ("PixelData", "i" if signed else "u")
    if allocated not in (8, 16, 32, 64):
        raise XrcoreError(f"{path}: {tag('BitsAllocated')} is {allocated}; 8, 16, 32 or 64 are read")
    dtype = np.dtype(f"{'>' if big_endian else '<'}{kind}{int(allocated) // 8}")
    data = dataset.get(keyword)
    there = len(data) if isinstance(data, (bytes, bytearray)) else 0
    wanted = math.prod(shape) * dtype.itemsize
    if there < wanted:
        raise XrcoreError(f"{path}: truncated: {shape[0] * shape[1]} rows of {shape[2]} pixels need {wanted} bytes, the file holds {there}")
    values = np.frombuffer(data, dtype=dtype, count=math.prod(shape)).reshape(shape).astype(dtype.newbyteorder("="))
    unused = int(allocated) - int(stored or allocated)
    if kind != "f" and 0 < unused < allocated:
        values = (values << unused) >> unused  # the bits above BitsStored may hold anything; the sign is the highest stored bit
    return values


def _decompressed(dataset: Dataset, path: Path, shape: tuple[int, int, int]) -> Shaped[ndarray, "frames rows cols"]:
    """Run lengths by pydicom, everything else by GDCM."""
    data = dataset.get("PixelData")
    if not isinstance(data, bytes) or math.prod(shape) > COMPRESSED_AT_MOST * len(data):
        raise XrcoreError(f"{path}: truncated: its compressed pixels are too few for {shape[1]} x {shape[2]}")
    try:
        with suppress_library_output():
            run_lengths = dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
            values = np.asarray(dataset.pixel_array) if run_lengths else _by_gdcm(dataset, shape[0])
            return values.reshape(shape)
    except Exception:  # damaged streams can raise anything
        raise XrcoreError(f"{path}: its compressed pixels cannot be unpacked; damaged, or a compression that GDCM does not know") from None


def _by_gdcm(dataset: Dataset, frames: int) -> Shaped[ndarray, "*shape"]:
    """GDCM gets a fresh file of nothing but pixels: it allocates what a damaged length says, up to 4 GB, and else would rescale too."""
    clean = Dataset({element.tag: element for element in dataset.group_dataset(0x0028) if element.tag.element in _PIXEL_TAGS})
    clean.SOPClassUID, clean.SOPInstanceUID = pydicom.uid.XRayAngiographicImageStorage, pydicom.uid.UID("1.2")
    clean.PixelData = encapsulate(list(generate_frames(dataset.PixelData, number_of_frames=frames)))
    clean.file_meta = FileMetaDataset()
    clean.file_meta.MediaStorageSOPClassUID, clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPClassUID, clean.SOPInstanceUID
    clean.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory() as folder:
        clean.save_as(file := Path(folder) / "pixels.dcm", enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.SetImageIO("GDCMImageIO")
        return sitk.GetArrayFromImage(reader.Execute())


def rescaled(values: Shaped[ndarray, "*s"], dataset: Dataset, path: Path) -> Shaped[ndarray, "*s"]:
    """Stored values times RescaleSlope plus RescaleIntercept, float32."""
    slope, intercept = number(dataset, "RescaleSlope", path), number(dataset, "RescaleIntercept", path)
    if slope == 0:
        raise XrcoreError(f"{path}: {tag('RescaleSlope')} is 0")
    with np.errstate(over="ignore"):
        result: Any = values * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)
        return result.astype(np.float32)


def _brief(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0]
    return "".join(c for c in line if c.isprintable())[:80] or type(error).__name__
