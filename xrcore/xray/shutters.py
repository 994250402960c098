"""What the tags of a DICOM X-ray say of shutters and collimators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from xrcore.ct.dicom_tags import numbers, tag

SMALLEST_FIELD = 0.01  # of the image; what leaves less is a mistake


def open_field(tags: Dataset, shape: tuple[int, int], path: Path, notes: list[str]) -> Bool[ndarray, "H W"]:
    """True where neither a shutter nor a collimator covers the image: inside all shapes that the tags name.

    Edges, centres and vertices count rows and columns from 1, and belong to what is covered. A shape whose numbers are missing, or
    leave nothing, is remarked on and not used.
    """
    inside = np.ones(shape, dtype=bool)
    for owner, source in [("Shutter", tags), *(("Collimator", item) for item in tags.get("CollimatorShapeSequence") or [tags])]:
        words = source.get(f"{owner}Shape") or []
        for word in [words] if isinstance(words, str) else words:
            try:
                part = _SHAPES[str(word).upper()](source, owner, shape, path)
            except (KeyError, TypeError, ValueError) as error:
                reason = error if isinstance(error, ValueError) else "its numbers are missing"
                notes.append(f"{tag(f'{owner}Shape')} {str(word)[:20]} is not used: {reason}")
                continue
            if part.mean() < SMALLEST_FIELD:
                notes.append(f"{tag(f'{owner}Shape')} {word} is not used: it would cover the image")
            else:
                inside &= part
    return inside


def _rectangle(source: Dataset, owner: str, shape: tuple[int, int], path: Path) -> Bool[ndarray, "H W"]:
    names = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
    top, bottom, left, right = (numbers(source, f"{owner}{name}Edge", 1, path)[0] for name in names)  # type: ignore[index]
    return np.outer(_between(top, bottom, shape[0]), _between(left, right, shape[1]))


def _between(low: float, high: float, count: int) -> Bool[ndarray, "n"]:
    """Pixels between two edges; an edge at the image's own end covers nothing."""
    index = np.arange(1, count + 1)
    return ((index > low) | (low <= 1)) & ((index < high) | (high >= count))


def _circle(source: Dataset, owner: str, shape: tuple[int, int], path: Path) -> Bool[ndarray, "H W"]:
    """The radius counts columns; where pixels are not square, the circle is one in millimetres."""
    row, col = numbers(source, f"CenterOfCircular{owner}", 2, path)  # type: ignore[misc]
    (radius,) = numbers(source, f"RadiusOfCircular{owner}", 1, path)  # type: ignore[misc]
    spacing = numbers(source, "ImagerPixelSpacing", 2, path) or numbers(source, "PixelAspectRatio", 2, path) or [1.0, 1.0]
    rows, cols = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return np.hypot((rows - row) * spacing[0] / spacing[1], cols - col) <= radius


def _polygon(source: Dataset, owner: str, shape: tuple[int, int], path: Path) -> Bool[ndarray, "H W"]:
    points = np.array(numbers(source, f"VerticesOfThePolygonal{owner}", None, path), dtype=float).reshape(-1, 2)
    if len(points) < 3 or np.abs(points).max() > 1e6:
        raise ValueError("its vertices make no polygon")
    drawn = Image.new("1", shape[::-1])
    ImageDraw.Draw(drawn).polygon([(col - 1, row - 1) for row, col in points], fill=1, outline=0)
    return np.asarray(drawn)


_SHAPES = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon}
