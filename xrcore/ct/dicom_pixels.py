"""Pixel values of DICOM files, as stored and rescaled; also used for X-rays, by `xrcore.xray`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Bool, Shaped
from numpy import ndarray
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_compression import decompressed
from xrcore.ct.dicom_tags import frame_count, number, tag, text

MOST_PIXELS = 2**28  # of a frame


def stored_pixels(dataset: Dataset, path: Path, frame: int = 0) -> Shaped[ndarray, "rows cols"]:
    """Pixel values of one frame as stored, before rescale.

    Raises XrcoreError for a damaged file, colour, no image at all, or pixels that are not as many as the header says.
    """
    if "PixelData" not in dataset and "Rows" not in dataset:
        raise XrcoreError(f"{path}: this DICOM file holds no image ({text(dataset, 'Modality') or 'no Modality'})")
    rows, cols = (int(number(dataset, k, path) or 0) for k in ("Rows", "Columns"))
    frames = frame_count(dataset, path)
    if rows < 1 or cols < 1 or rows * cols > MOST_PIXELS:
        raise XrcoreError(f"{path}: the DICOM header claims {rows} x {cols} pixels; it is damaged")
    if (number(dataset, "SamplesPerPixel", path) or 1) != 1:
        raise XrcoreError(f"{path}: a colour DICOM image; CT and X-ray have one sample per pixel")
    if (photometric := text(dataset, "PhotometricInterpretation").upper()) not in ("MONOCHROME1", "MONOCHROME2"):
        raise XrcoreError(f"{path}: {tag('PhotometricInterpretation')} is {photometric[:20]!r}; expected MONOCHROME1 or MONOCHROME2")
    syntax = _transfer_syntax(dataset, path)
    # a deflated data set is unpacked as a whole while it is read
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        values = decompressed(dataset, path, (rows, cols), frame, frames)
    else:
        values = _uncompressed(dataset, path, (frames, rows, cols), frame)
    return _without_unused_bits(values, dataset, path)


def _transfer_syntax(dataset: Dataset, path: Path) -> pydicom.uid.UID:
    """That of the file, or plain for a file without preamble, which names none."""
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None and getattr(dataset.get_item("PixelData"), "is_undefined_length", False):
        raise XrcoreError(f"{path}: its pixels are compressed, and {tag('TransferSyntaxUID')} does not say how")
    syntax = syntax or ImplicitVRLittleEndian
    if not getattr(syntax, "is_transfer_syntax", False):
        raise XrcoreError(f"{path}: unknown DICOM transfer syntax {str(syntax)[:64]!r}; damaged, or a private format")
    return syntax


def _uncompressed(dataset: Dataset, path: Path, shape: tuple[int, int, int], frame: int) -> Shaped[ndarray, "rows cols"]:
    allocated, signed = (number(dataset, k, path) for k in ("BitsAllocated", "PixelRepresentation"))
    floats = {32: "FloatPixelData", 64: "DoubleFloatPixelData"}.get(int(allocated or 0), "")
    keyword, kind = (floats, "f") if floats and floats in dataset else ("PixelData", "i" if signed else "u")
    if allocated not in (8, 16, 32, 64):
        raise XrcoreError(f"{path}: {tag('BitsAllocated')} is {allocated}; 8, 16, 32 or 64 are read")
    little = getattr(dataset, "original_encoding", (None, True))[1]
    dtype = np.dtype(f"{'>' if little is False else '<'}{kind}{int(allocated) // 8}")
    data = dataset.get(keyword)
    there = len(data) if isinstance(data, (bytes, bytearray)) else 0
    wanted = math.prod(shape) * dtype.itemsize
    said = f"{shape[0] * shape[1]} rows of {shape[2]} pixels need {wanted} bytes, the file holds {there}"
    if there < wanted:
        raise XrcoreError(f"{path}: truncated: {said}")
    # fewer bytes than the shorter side are padding: with a wrong number of rows, columns or frames there would be more
    if there - wanted >= min(shape[1:]) * dtype.itemsize and there - wanted > 1:
        raise XrcoreError(f"{path}: its header does not fit its pixels: {said}")
    size = shape[1] * shape[2]
    values = np.frombuffer(data, dtype=dtype, count=size, offset=frame * size * dtype.itemsize)
    return values.reshape(shape[1:]).astype(dtype.newbyteorder("="))


def _without_unused_bits(values: Shaped[ndarray, "*s"], dataset: Dataset, path: Path) -> Shaped[ndarray, "*s"]:
    """Values without what stands above BitsStored, which may be anything; the sign is the highest stored bit."""
    stored = number(dataset, "BitsStored", path)
    if values.dtype.kind == "f" or stored is None:
        return values
    unused = 8 * values.dtype.itemsize - int(stored)
    if not 0 < unused < 8 * values.dtype.itemsize:
        return values
    kind = "i" if number(dataset, "PixelRepresentation", path) else "u"
    return (values.astype(f"{kind}{values.dtype.itemsize}") << unused) >> unused


def padding(values: Shaped[ndarray, "rows cols"], dataset: Dataset, path: Path) -> Bool[ndarray, "rows cols"] | None:
    """Where stored pixels hold PixelPaddingValue, or lie between it and PixelPaddingRangeLimit; None without such tags.

    The value is taken as the pixels are: with their sign, whatever the tag's own type, and without unused bits.
    """
    ends = [e for e in (number(dataset, k, path) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")) if e is not None]
    if "PixelPaddingValue" not in dataset or not ends or values.dtype.kind == "f" or max(map(abs, ends)) > 2**32:
        return None
    stored = _without_unused_bits(np.array(ends).astype(np.int64).astype(values.dtype), dataset, path)
    return (values >= stored.min()) & (values <= stored.max())


def rescale_remark(tags: Dataset) -> str:
    """What to say where only one of slope and intercept is there; nothing otherwise."""
    absent = [keyword for keyword in ("RescaleSlope", "RescaleIntercept") if keyword not in tags]
    return f"no {tag(absent[0])} beside the other of the two: taken as {absent[0] == 'RescaleSlope':d}" if len(absent) == 1 else ""


def rescaled(values: Shaped[ndarray, "*s"], dataset: Dataset, path: Path) -> Shaped[ndarray, "*s"]:
    """Stored values times RescaleSlope plus RescaleIntercept, float32."""
    slope, intercept = number(dataset, "RescaleSlope", path), number(dataset, "RescaleIntercept", path)
    if slope == 0:
        raise XrcoreError(f"{path}: {tag('RescaleSlope')} is 0")
    with np.errstate(over="ignore"):
        result: Any = values * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)
        return result.astype(np.float32)
