"""PNG and TIFF -> pixel values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray
from PIL import ExifTags, Image, TiffImagePlugin

from xrcore._util.errors import XrcoreError
from xrcore._util.suppress_stderr import suppress_library_output
from xrcore.ct.dicom_compression import COMPRESSED_AT_MOST

MOST_PIXELS = 2**27
_TURNED = range(2, 9)  # orientations other than upright
_GREY = ("L", "1", "I", "F")
_COLOUR = ("P", "PA", "LA", "RGB", "RGBA", "RGBX")


def read_raster(path: Path, frame: int | None = None) -> tuple[Shaped[ndarray, "H W"], tuple[str, ...]]:
    """Grey values of a PNG or TIFF, 0 black, and remarks. Colour is accepted if its channels are equal.

    frame: page of a TIFF, counted from 0. Raises XrcoreError for a damaged file or a colour image.
    """
    try:
        with suppress_library_output():
            values, pages = _decode(path, frame or 0)
    except XrcoreError:
        raise
    except Exception:  # a damaged file can raise anything in a decoder
        raise XrcoreError(f"{path}: cannot be read as PNG or TIFF; damaged, truncated or not an image") from None
    return values, frame_notes(frame, pages)


def frame_notes(frame: int | None, count: int) -> tuple[str, ...]:
    """What to say where the first of several frames was taken without being asked for."""
    return (f"frame 0 of {count} (frame, --frame, chooses another)",) if count > 1 and frame is None else ()


def check_frame(path: Path, frame: int, count: int) -> None:
    """Raise XrcoreError unless a file has this frame."""
    if not 0 <= frame < count:
        raise XrcoreError(f"{path}: no frame {frame}; it has {count}, counted from 0")


def _decode(path: Path, frame: int) -> tuple[Shaped[ndarray, "H W"], int]:
    with Image.open(path, formats=("PNG", "TIFF")) as image:
        pages = getattr(image, "n_frames", 1)
        stored = str(image.tile)  # which reading tags of a PNG empties
        check_frame(path, frame, pages)
        if frame:
            image.seek(frame)
        count = image.width * image.height
        if count > MOST_PIXELS or count > COMPRESSED_AT_MOST * path.stat().st_size:
            raise XrcoreError(f"{path}: the header claims {image.height} x {image.width} pixels; damaged, or too large")
        if (turned := image.getexif().get(ExifTags.Base.Orientation, 1)) in _TURNED:
            # stored as it is, it would be mirrored or turned; of those on their side Pillow cuts the rows at the wrong length
            raise XrcoreError(f"{path}: its orientation tag ({turned}) says that it is stored mirrored or turned; save the image upright")
        tags = getattr(image, "tag_v2", None)
        if tags is not None:
            _check_strips(path, image.size, tags)
        if image.mode.startswith("I;16") or image.mode in _GREY:
            return _as_shown(np.asarray(image), image), pages
        if image.mode not in _COLOUR:
            raise XrcoreError(f"{path}: an image of kind {image.mode}; an X-ray is grey")
        if ";16" in stored:
            # Pillow reads the upper 8 bits of each channel
            raise XrcoreError(f"{path}: 16 bits with colour or transparency, of which only 8 can be read; save it as 16-bit grey")
        channels = np.asarray(image.convert("RGB"))
    grey = channels[..., 1]
    # converters leave a difference of a level or two between the channels of a grey image
    if np.abs(channels.astype(np.int16) - grey[..., None]).max() > 2:
        raise XrcoreError(f"{path}: a colour image; an X-ray is grey (is this a screenshot with annotations?)")
    return grey, pages


def _check_strips(path: Path, size: tuple[int, int], tags: Mapping[int, Any]) -> None:
    """Raise XrcoreError unless a TIFF says what its pixels mean and, of one without compression, its strips hold as many as it says."""
    packed = tags.get(TiffImagePlugin.COMPRESSION, 1) != 1
    needed = {"PhotometricInterpretation": TiffImagePlugin.PHOTOMETRIC_INTERPRETATION}
    needed |= {"BitsPerSample": TiffImagePlugin.BITSPERSAMPLE} if packed else {}  # otherwise the default, 1, is held against the strips
    for name, tag in needed.items():
        if tag not in tags:
            raise XrcoreError(f"{path}: a TIFF without {name}: damaged, or not an image of grey values")
    starts, counts = tags.get(TiffImagePlugin.STRIPOFFSETS), tags.get(TiffImagePlugin.STRIPBYTECOUNTS)
    if packed or not starts or not counts:
        return
    (columns, rows), samples = size, tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0] * samples
    row = math.ceil(columns * bits / 8)
    padded = len(counts) * min(rows, tags.get(TiffImagePlugin.ROWSPERSTRIP, rows))  # a writer may fill the last strip up
    if not row * rows <= sum(counts) <= row * max(rows, padded):
        held = f"its strips hold {sum(counts)} bytes, {rows} rows of {columns} pixels of {bits} bits need {row * rows}"
        raise XrcoreError(f"{path}: {held}; damaged")
    ends = [start + count for start, count in zip(starts, counts, strict=True)]
    if min(starts) < 8 or max(ends) > path.stat().st_size:
        raise XrcoreError(f"{path}: truncated or damaged: its strips of pixels reach out of the file")


def _as_shown(values: Shaped[ndarray, "H W"], image: Image.Image) -> Shaped[ndarray, "H W"]:
    """Values turned over where a TIFF says that 0 is white, which Pillow does for 8 bits alone; 32 bits as signed as they are."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    values = values.astype(np.uint8) if values.dtype == bool else values
    if values.dtype == np.int32 and tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)) == (1,):
        values = values.view(np.uint32)
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) != 0 or image.mode in ("1", "L"):
        return values
    return np.iinfo(values.dtype).max - values if values.dtype.kind == "u" else -values
