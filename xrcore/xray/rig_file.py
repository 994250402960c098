"""Read a rig: where the cameras of a calibrated system stand, and their geometry."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrcore._util.errors import XrcoreError
from xrcore._util.input_files import check_file, checked_path
from xrcore._util.text_files import read_bytes, read_yaml
from xrcore.xray.carm_file import LARGEST_FILE, MASKS, CarmFile, carm_file_of, load_carm_file, read_matrix

_FOR_VIEW = ("camera_from_rig", "calibration", "carm")
_MAGNIFICATION = 1.5
# what a MayaCam 2.0 file holds, and how many numbers
_SECTIONS = {"image size": 2, "camera matrix": 9, "rotation": 9, "translation": 3}


@dataclass(frozen=True)
class RigCamera:
    """A camera of a rig: what its carm.yaml would say, and `camera_from_rig` by rows, x_camera = camera_from_rig @ x_rig [mm]."""

    file: CarmFile
    camera_from_rig: list[list[float]]
    files: tuple[Path, ...]  # that all this was read from, and the mask


def read_rig(path: str | os.PathLike[str]) -> list[RigCamera]:
    """Read the cameras of a calibrated system, in the order in which their X-rays are given.

    A YAML file

        views:
          - camera_from_rig: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1000], [0, 0, 0, 1]]
            K: [[3000, 0, 511.5], [0, 3000, 511.5], [0, 0, 1]]  # and the other keys of a carm.yaml
            source_to_isocenter: 1000
            source_to_detector: 1500
          - camera_from_rig: ...
            carm: camera2.yaml        # or those keys in a file of their own
          - calibration: camera3.txt  # or a calibration as XMALab and Autoscoper write it (MayaCam 2.0)
            pixel_values: intensity

    or one such calibration file, which is one camera. Lengths in mm, pixels with centres at integers; images as they are stored. A
    calibration file knows no distances: source_to_isocenter is then how far the rig's origin is, and source_to_detector half as much
    again, which says in what numbers a pose is told and where a search begins, and nothing of where rays run.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    list of RigCamera
        One or more.

    Raises
    ------
    XrcoreError
        Naming the view and the key that is missing or makes no sense.
    """
    path = checked_path("read_rig", path)
    check_file(path)
    if _is_calibration(path):
        return [_camera({"calibration": path.name}, path, "")]
    content = read_yaml(path, LARGEST_FILE)
    views = content.get("views") if isinstance(content, dict) else None
    if not isinstance(views, list) or not views:
        raise XrcoreError(f"{path}: a rig holds `views:`, a list of cameras, or is a MayaCam 2.0 calibration")
    if unknown := [key for key in content if key != "views"]:
        raise XrcoreError(f"{path}: unknown key {str(unknown[0])[:60]!r}; known: views")
    return [_camera(view, path, f"view {number}: ") for number, view in enumerate(views, 1)]


def _camera(view: Any, path: Path, which: str) -> RigCamera:
    if not isinstance(view, dict):
        raise XrcoreError(f"{path}: {which}expected keys and values, such as camera_from_rig")
    own = {key: value for key, value in view.items() if key not in _FOR_VIEW}
    placed, file = view.get("camera_from_rig"), CarmFile(path=path)
    if ("calibration" in view) == (placed is not None):
        raise XrcoreError(f"{path}: {which}give either camera_from_rig or calibration")
    if "calibration" in view and "carm" in view:
        raise XrcoreError(f"{path}: {which}give either calibration or carm; what else the X-ray needs, such as invert, goes into the view")
    if "calibration" in view:
        file, placed = _calibration(path.parent / _name(view["calibration"], path, which))
    elif "carm" in view:
        file = load_carm_file(path.parent / _name(view["carm"], path, which))
    try:
        said = carm_file_of(own, path)
    except XrcoreError as error:
        raise XrcoreError(str(error).replace(f"{path}: ", f"{path}: {which}", 1)) from None
    # with K, either says the detector's scale
    scale = {"source_to_detector", "pixel_spacing"}
    scaled = "K" in file.geometry and bool(scale & said.geometry.keys())
    own_mask = said if "mask" in own else file  # a name is beside the file that says it
    mask = own_mask.mask if own_mask.mask in MASKS else str((own_mask.path.parent / own_mask.mask).absolute())
    geometry = {key: value for key, value in file.geometry.items() if not (scaled and key in scale)} | said.geometry
    merged = CarmFile(
        path=path,
        geometry=geometry,
        pixel_values=said.pixel_values or file.pixel_values,
        invert=said.invert if said.invert is not None else file.invert,
        mask=mask,
    )
    files = dict.fromkeys((path, file.path, *([] if mask in MASKS else [Path(mask)])))
    return RigCamera(merged, read_matrix(placed, f"{which}camera_from_rig", path, size=4), tuple(files))


def _name(value: Any, path: Path, which: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise XrcoreError(f"{path}: {which}calibration and carm name a file")
    return value


def _is_calibration(path: Path) -> bool:
    return read_bytes(path, LARGEST_FILE).lstrip().lower().startswith(b"image size")


def _calibration(path: Path) -> tuple[CarmFile, list[list[float]]]:
    """A MayaCam 2.0 file: headings, and below each its numbers by rows."""
    check_file(path)
    text = read_bytes(path, LARGEST_FILE).decode("utf-8", "replace")
    found: dict[str, list[float]] = {}
    heading = ""
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.lower() in _SECTIONS:
            heading = line.lower()
            found[heading] = []
            continue
        try:
            found[heading] += [float(number) for number in re.split(r"[,\s]+", line.strip(","))]
        except (ValueError, KeyError):
            raise XrcoreError(f"{path}: expected {', '.join(_SECTIONS)}, each above its numbers; found {line[:40]!r}") from None
    for name, count in _SECTIONS.items():
        if len(found.get(name, [])) != count:
            raise XrcoreError(f"{path}: a MayaCam 2.0 calibration has {count} numbers below {name!r}")
    cols, rows = found["image size"]
    if not (cols.is_integer() and rows.is_integer()):
        raise XrcoreError(f"{path}: image size must be two whole numbers, got {cols:g},{rows:g}")
    matrix, rotation, translation = found["camera matrix"], found["rotation"], found["translation"]
    distance = sum(v * v for v in translation) ** 0.5
    geometry = {
        "K": [matrix[i : i + 3] for i in (0, 3, 6)],
        "shape": (int(rows), int(cols)),
        "source_to_isocenter": distance,
        "source_to_detector": _MAGNIFICATION * distance,
    }
    placed = [[*rotation[3 * i : 3 * i + 3], translation[i]] for i in range(3)]
    return CarmFile(path=path, geometry=geometry), [*placed, [0.0, 0.0, 0.0, 1.0]]
