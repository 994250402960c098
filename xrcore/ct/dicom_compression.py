"""Unpack the compressed pixels of a DICOM frame."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Shaped
from numpy import ndarray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless, XRayAngiographicImageStorage

from xrcore._util.errors import XrcoreError
from xrcore._util.suppress_stderr import suppress_library_output

COMPRESSED_AT_MOST = 5000  # pixels a byte; a smaller file does not hold what its header says
_COPIED = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


def decompressed(dataset: Dataset, path: Path, shape: tuple[int, int], frame: int, frames: int) -> Shaped[ndarray, "rows cols"]:
    """Stored values of one frame: run lengths by pydicom, everything else by GDCM. Raises XrcoreError for a damaged stream."""
    data = dataset.get("PixelData")
    rows, cols = shape
    if not isinstance(data, bytes) or rows * cols * frames > COMPRESSED_AT_MOST * len(data):
        raise XrcoreError(f"{path}: truncated: its compressed pixels are too few for {rows} x {cols}")
    streams = getattr(dataset, "_streams", None)  # split once for all frames
    if streams is None:
        try:
            streams = dataset._streams = list(generate_frames(data, number_of_frames=frames))
        except Exception:  # of damaged item lengths
            raise XrcoreError(f"{path}: its compressed pixels cannot be unpacked; damaged or truncated") from None
    if len(streams) != frames:
        raise XrcoreError(f"{path}: its header does not fit its pixels: {frames} frames, the file holds {len(streams)}")
    own = _size(streams[frame])
    if own is not None and own != shape:
        raise XrcoreError(f"{path}: its header does not fit its pixels: {rows} x {cols}, the compressed image is {own[0]} x {own[1]}")
    try:
        with suppress_library_output():
            return _unpacked(dataset, streams[frame]).reshape(shape)
    except Exception:  # damaged streams can raise anything
        raise XrcoreError(f"{path}: its compressed pixels cannot be unpacked; damaged, or a compression that GDCM does not know") from None


def _unpacked(dataset: Dataset, stream: bytes) -> Shaped[ndarray, "*shape"]:
    """By way of a fresh dataset of nothing but this frame's pixels.

    GDCM allocates what a damaged length says, rescales, and turns MONOCHROME1 over, so it sees neither other tags nor that word.
    """
    clean = Dataset()
    for keyword in _COPIED:
        if keyword in dataset:
            setattr(clean, keyword, dataset.get(keyword))
    clean.PhotometricInterpretation = "MONOCHROME2"
    clean.SOPClassUID, clean.SOPInstanceUID = XRayAngiographicImageStorage, "1.2"
    clean.PixelData = encapsulate([stream])
    clean.file_meta = FileMetaDataset()
    clean.file_meta.MediaStorageSOPClassUID, clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPClassUID, clean.SOPInstanceUID
    clean.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    if clean.file_meta.TransferSyntaxUID == RLELossless:
        return np.asarray(clean.pixel_array)
    with tempfile.TemporaryDirectory() as folder:
        clean.save_as(file := Path(folder) / "pixels.dcm", enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.SetImageIO("GDCMImageIO")
        return sitk.GetArrayFromImage(reader.Execute())


def _size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream itself says; None for others and for damaged ones."""

    def whole(at: int, count: int) -> int:
        return int.from_bytes(stream[at : at + count], "big")

    at = stream.find(b"\xff\x4f\xff\x51", 0, 4096)  # JPEG 2000: start of codestream, then image and tile size
    if at >= 0:
        width, height, left, top = (whole(at + 8 + 4 * i, 4) for i in range(4))
        return height - top, width - left
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 9 < len(stream) and stream[at] == 0xFF:  # JPEG: from segment to segment
        kind = stream[at + 1]
        if kind == 0xF7 or (0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)):  # start of frame
            return whole(at + 5, 2), whole(at + 7, 2)
        at += 1 if kind == 0xFF else 2 + whole(at + 2, 2)
    return None
