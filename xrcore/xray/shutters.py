"""What the tags of a DICOM X-ray say of shutters and collimators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_tags import numbers, tag

SMALLEST_FIELD = 0.01  # of the image; what leaves less is a mistake
_EDGES = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")


def open_field(tags: Dataset, shape: tuple[int, int], path: Path, notes: list[str]) -> Bool[ndarray, "H W"]:
    """True where neither a shutter nor a collimator covers the image: inside all shapes that the tags name.

    Edges, centres and vertices count rows and columns from 1, and belong to what is covered. A shape that is unknown, lacks its numbers, or
    leaves nothing is remarked on and not used.
    """
    inside = np.ones(shape, dtype=bool)
    given = (numbers(tags, name, 2, path) for name in ("ImagerPixelSpacing", "PixelAspectRatio"))
    sides = next((pair for pair in given if pair and min(pair) > 0), [1.0, 1.0])
    for owner, source in [("Shutter", tags), *(("Collimator", item) for item in tags.get("CollimatorShapeSequence") or [tags])]:
        words = source.get(f"{owner}Shape") or []
        for word in [words] if isinstance(words, str) else words:
            try:
                part = _inside(str(word).upper(), owner, source, shape, sides[0] / sides[1], path)
                reason = "" if part.mean() >= SMALLEST_FIELD else "it would cover the image"
            except XrcoreError as error:
                part, reason = inside, str(error)
            if reason:
                notes.append(f"{tag(f'{owner}Shape')} {str(word)[:20]} is not used: {reason}")
            else:
                inside &= part
    return inside


def _inside(word: str, owner: str, source: Dataset, shape: tuple[int, int], aspect: float, path: Path) -> Bool[ndarray, "H W"]:
    """True inside one shape; aspect: height of a pixel over its width."""

    def needed(keyword: str, count: int | None) -> list[float]:
        found = numbers(source, keyword, count, path)
        if found is None:
            raise XrcoreError(f"{tag(keyword)} is missing")
        return found

    if word == "RECTANGULAR":
        top, bottom, left, right = (needed(f"{owner}{name}Edge", 1)[0] for name in _EDGES)
        return np.outer(_between(top, bottom, shape[0]), _between(left, right, shape[1]))
    if word == "CIRCULAR":  # in millimetres, where pixels are not square; the radius counts columns
        row, col = needed(f"CenterOfCircular{owner}", 2)
        (radius,) = needed(f"RadiusOfCircular{owner}", 1)
        rows, cols = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
        return np.hypot((rows - row) * aspect, cols - col) <= radius
    if word == "POLYGONAL":
        points = np.array(needed(f"VerticesOfThePolygonal{owner}", None))
        if len(points) < 6 or len(points) % 2 or np.abs(points).max() > 1e6:
            raise XrcoreError("its vertices make no polygon")
        drawn = Image.new("1", shape[::-1])
        ImageDraw.Draw(drawn).polygon([(col - 1, row - 1) for row, col in points.reshape(-1, 2)], fill=1, outline=0)
        return np.asarray(drawn)
    raise XrcoreError("only rectangles, circles and polygons are known")


def _between(low: float, high: float, count: int) -> Bool[ndarray, " n"]:
    """Pixels between two edges; an edge at the image's own end covers nothing."""
    index = np.arange(1, count + 1)
    return ((index > low) | (low <= 1)) & ((index < high) | (high >= count))
