"""Read and write carm.yaml: the geometry of an image without its own, and the meaning of its pixels."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError, require
from xrcore._util.input_files import check_file, checked_path
from xrcore._util.text_files import read_yaml
from xrcore.geometry import CArm, SlotScan
from xrcore.geometry.slot_scan import SCANS

IMAGE_KEYS = ("pixel_values", "invert", "mask")
PIXEL_VALUES = ("attenuation", "intensity")
MASKS = ("auto", "circle", "none")  # what else is a file
LARGEST_FILE = 16_384  # [bytes]


@dataclass(frozen=True, kw_only=True)
class CarmFile:
    """What a carm.yaml says, checked one key at a time; a key that is absent is None or not in `geometry`."""

    path: Path
    geometry: dict[str, Any] = field(default_factory=dict)
    pixel_values: str | None = None
    invert: bool | None = None
    mask: str = "auto"


def read_carm(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> CArm:
    """Read the geometry of a carm.yaml.

    Lengths in mm, pixels as (row, col) with centres at integers. Either

        source_to_detector: 1259.65
        source_to_isocenter: 742.5
        pixel_spacing: 1.6875            # or [row, col]
        shape: [256, 256]                # optional beside an image
        principal_point: [127.5, 127.5]  # optional, default the centre

    or, for a calibrated system, `K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]` in pixels with `source_to_isocenter`
    and one of `source_to_detector` and `pixel_spacing`. `scan: rows` or `scan: columns` makes it a `SlotScan`, whose source moves; that
    may have `isocenter_spacing` (a number or [row, col]) in place of `pixel_spacing`, and then needs no `source_to_detector`.

    Beside an image also `pixel_values: attenuation` (bone bright, the default of PNG and TIFF) or `intensity` (detector counts, bone
    dark), `invert: true` or `false` (the registration then does not ask whether bone is dark), and `mask: auto | circle | none | FILE`
    (an image, zero where nothing can be trusted).

    Parameters
    ----------
    path : path
        The file.
    shape : tuple of int, optional
        Pixels (rows, cols), needed where the file has no shape.

    Returns
    -------
    CArm
        The geometry; a SlotScan where the file says `scan`.

    Raises
    ------
    XrcoreError
        For an unknown key, a value that makes no sense, or too few of them.
    """
    file = load_carm_file(path)
    return build_carm(file.geometry, shape, str(path), {})


def write_carm(path: str | os.PathLike[str], carm: CArm) -> None:
    """Write a carm.yaml that `read_carm` reads back to the same CArm.

    Parameters
    ----------
    path : path
        The file.
    carm : CArm
        The geometry.
    """
    require("write_carm", "carm", carm, isinstance(carm, CArm), "a CArm")
    lines = [
        "# lengths in mm; pixels as [row, col], centres at integers",
        f"source_to_detector: {carm.source_to_detector!r}",
        f"source_to_isocenter: {carm.source_to_isocenter!r}",
        f"shape: {list(carm.shape)!r}",
        f"pixel_spacing: {list(carm.spacing)!r}",
        f"principal_point: {list(carm.center)!r}",
    ]
    if isinstance(carm, SlotScan):
        lines.append(f"scan: {carm.scan}")
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mask_file(path: str | os.PathLike[str]) -> Path | None:
    """Find the image that a carm.yaml names as the mask.

    Parameters
    ----------
    path : path
        The carm.yaml.

    Returns
    -------
    path or None
        The mask's file, None where the mask is none.
    """
    file = load_carm_file(path)
    return None if file.mask in MASKS else file.path.parent / file.mask


def load_carm_file(path: str | os.PathLike[str]) -> CarmFile:
    """A carm.yaml with each key checked, not yet whether there are enough of them."""
    path = checked_path("read_carm", path)
    return carm_file_of(_parse(path), path)


def carm_file_of(content: dict[Any, Any], path: Path) -> CarmFile:
    """What the keys of a carm.yaml say, found in a file; each is checked, not yet whether there are enough of them."""
    known = (*_GEOMETRY, *IMAGE_KEYS)
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key)[:60], known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise XrcoreError(f"{path}: unknown key {str(key)[:60]!r}; {hint}")
    geometry = {key: read(content[key], key, path) for key, read in _GEOMETRY.items() if key in content}
    pixel_values, invert, mask = content.get("pixel_values"), content.get("invert"), content.get("mask", "auto")
    if pixel_values is not None and pixel_values not in PIXEL_VALUES:
        raise XrcoreError(f"{path}: pixel_values must be {' or '.join(PIXEL_VALUES)}, got {_short(pixel_values)}")
    if "invert" in content and not isinstance(invert, bool):
        raise XrcoreError(f"{path}: invert must be true or false, got {_short(invert)}")
    mask = "none" if mask is None or mask is False else mask  # YAML reads "mask: no" as false
    if not isinstance(mask, str) or not mask or "\0" in mask:
        raise XrcoreError(f"{path}: mask must be auto, circle, none or a file, got {_short(mask)}")
    return CarmFile(path=path, geometry=geometry, pixel_values=pixel_values, invert=invert, mask=mask)


def build_carm(geometry: dict[str, Any], shape: tuple[int, int] | None, where: str, tags: dict[str, str]) -> CArm:
    """A CArm or SlotScan from the keys of a carm.yaml; `tags` names the DICOM tag that would also have given a key.

    A single pixel spacing is of rows and columns alike. Raises XrcoreError naming what is missing.
    """
    geometry = dict(geometry)
    own = geometry.pop("shape", None)
    if own is not None and shape is not None and tuple(own) != tuple(shape):
        rows, cols = own
        advice = " (same aspect ratio: carm.resized would fit it)" if rows * shape[1] == cols * shape[0] else ""
        raise XrcoreError(f"{where}: the image is {shape[0]} x {shape[1]} pixels but its C-arm says shape {rows:g} x {cols:g}{advice}")
    shape = shape or own
    matrix, at_isocenter = geometry.pop("K", None), geometry.pop("isocenter_spacing", None)
    if at_isocenter is not None and "scan" not in geometry:
        raise XrcoreError(f"{where}: isocenter_spacing is of slot scans, which say scan: rows or scan: columns; give pixel_spacing")
    if "pixel_spacing" in geometry:
        at_isocenter = None
    known = matrix is not None or at_isocenter is not None
    needed = ["source_to_isocenter", *([] if known else ["source_to_detector", "pixel_spacing"])]
    missing = [k for k in needed if k not in geometry] + (["shape (rows, columns), for want of an image"] if shape is None else [])
    if missing:
        named = ", ".join(f"{k} (DICOM {tags[k]})" if k in tags else k for k in missing)
        raise XrcoreError(f"{where}: the geometry lacks {named}; give it in a carm.yaml")
    assert shape is not None
    try:
        if at_isocenter is not None and matrix is None:
            return SlotScan.from_isocenter_spacing(at_isocenter, shape, **geometry)
        if matrix is None:
            return SlotScan(shape=shape, **geometry) if "scan" in geometry else CArm(shape=shape, **geometry)
        if "scan" in geometry:
            raise XrcoreError("a slot scan has no K, as its source moves; give distances and pixel_spacing")
        if "principal_point" in geometry:
            raise XrcoreError("give K or principal_point, not both")
        spacing = geometry.get("pixel_spacing")
        if isinstance(spacing, (list, tuple)):
            (row, col), (fx, fy) = spacing, (matrix[0][0], matrix[1][1])
            if abs(row * fy - col * fx) > 0.01 * abs(col * fx):
                raise XrcoreError(
                    f"pixel_spacing ({row:g}, {col:g}) contradicts K: the source would be {row * fy:g} mm away by rows and {col * fx:g} mm "
                    "by columns; leave pixel_spacing out"
                )
            geometry["pixel_spacing"] = col
        return CArm.from_intrinsics(matrix, shape, **geometry)
    except XrcoreError as error:
        raise XrcoreError(f"{where}: {error}") from None


def _parse(path: Path) -> dict[Any, Any]:
    check_file(path)
    content = read_yaml(path, LARGEST_FILE)
    if not isinstance(content, dict) or not content:
        raise XrcoreError(f"{path}: a carm.yaml holds `key: value` lines, such as source_to_detector: 1259.65")
    return content


def _number(value: Any, key: str, path: Path) -> float:
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) < 1e9:
        raise XrcoreError(f"{path}: {key} must be a number, got {_short(value)}")
    return number


def _spacing(value: Any, key: str, path: Path) -> Any:
    return _pair(value, key, path) if isinstance(value, list) else _number(value, key, path)


def _pair(value: Any, key: str, path: Path) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 2:
        raise XrcoreError(f"{path}: {key} must be [row, col], got {_short(value)}")
    return tuple(_number(v, key, path) for v in value)


def read_matrix(rows: Any, key: str, path: Path, size: int = 3) -> list[list[float]]:
    """A square matrix by rows; raises XrcoreError for anything else."""
    if not isinstance(rows, list) or len(rows) != size or not all(isinstance(r, list) and len(r) == size for r in rows):
        count = {3: "three", 4: "four"}[size]
        raise XrcoreError(f"{path}: {key} must be {count} rows of {count} numbers")
    return [[_number(v, key, path) for v in row] for row in rows]


def _scan(value: Any, key: str, path: Path) -> str:
    if value not in SCANS:
        raise XrcoreError(f"{path}: {key} must be {' or '.join(SCANS)}, got {_short(value)}")
    return str(value)


# how each key of the geometry is read
_Reader = Callable[[Any, str, Path], Any]
_GEOMETRY: dict[str, _Reader] = {"source_to_detector": _number, "source_to_isocenter": _number, "shape": _pair, "pixel_spacing": _spacing}
_GEOMETRY |= {"principal_point": _pair, "K": read_matrix, "scan": _scan, "isocenter_spacing": _spacing}


def _short(value: Any) -> str:
    """A value in a message; containers are not spelled out."""
    return f"a {type(value).__name__}" if isinstance(value, (list, dict, set, tuple)) else repr(str(value)[:60])
