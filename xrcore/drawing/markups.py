"""Landmarks and lines in the CT's space: 3D Slicer's markups (.mrk.json, .fcsv), CSV, or numbers."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from xrcore._util.conversion import as_numbers
from xrcore._util.errors import XrcoreError, is_number, require, shown
from xrcore._util.text_files import read_bytes, read_json

_LARGEST_FILE = 20_000_000  # [bytes]
_FARTHEST = 1e5  # [mm]
_POINTS, _LINES = ("Fiducial",), ("Line", "Curve", "ClosedCurve", "Angle")  # types of Slicer's markups that are drawn
_AXES = {"xyz": (1, 1, 1), "lps": (1, 1, 1), "ras": (-1, -1, 1)}  # columns of a CSV, and their signs to LPS
_CODES = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}  # older files have numbers
_FCSV = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


@dataclass(frozen=True, eq=False)
class Line:
    """A line through points, such as a planned screw.

    Parameters
    ----------
    name : str
        Shown in the legend.
    points : Float64[ndarray, "n 3"]
        LPS [mm], two or more.
    diameter : float or None
        Of the tube around it [mm]; None for the line alone.
    """

    name: str
    points: Float64[ndarray, "n 3"]
    diameter: float | None = None


Landmarks = dict[str, Float64[ndarray, "3"]]  # by name, LPS [mm]


def read_landmarks(given: object) -> Landmarks:
    """Read named points.

    Parameters
    ----------
    given : path or sequence of path or mapping or array
        Slicer's .mrk.json or .fcsv; a CSV with the columns name, x, y, z (LPS, also called l, p, s; or r, a, s) [mm]; points by name; or
        an (n, 3) array, whose points are numbered.

    Returns
    -------
    dict of str to Float64[ndarray, "3"]
        LPS [mm]; a name that occurs twice has its number behind it.

    Raises
    ------
    XrcoreError
        Naming the file and what is wrong with it.
    """
    if _are_paths(given):
        found = [pair for path in _paths(given) for pair in _points_of(path)]
    elif isinstance(given, Mapping):
        found = [(str(name), _point(place, f"points: {shown(name)}")) for name, place in given.items()]
    else:
        found = [(str(number), place) for number, place in enumerate(_array(given, "points"), 1)]
    landmarks: Landmarks = {}
    for name, place in found:
        numbered = (f"{name} ({number})" for number in itertools.count(len(landmarks) + 1))
        landmarks[name if name not in landmarks else next(other for other in numbered if other not in landmarks)] = place
    if not landmarks:
        raise XrcoreError("points: there are none")
    return landmarks


def read_lines(given: object, diameter: float | None = None) -> list[Line]:
    """Read lines.

    Parameters
    ----------
    given : path or sequence of path or mapping or sequence of Line
        Slicer's .mrk.json (lines, curves by their control points, angles); a CSV with the columns of landmarks and maybe diameter, where
        successive rows of one name are a line; or points by name.
    diameter : float, optional
        Of lines that say none [mm].

    Returns
    -------
    list of Line
        With two or more points each.

    Raises
    ------
    XrcoreError
        Naming the file and what is wrong with it.
    """
    _check_diameter(diameter)
    if _are_paths(given):
        lines = [line for path in _paths(given) for line in _lines_of(path)]
    elif isinstance(given, Mapping):
        lines = [Line(str(name), _array(points, f"lines: {shown(name)}")) for name, points in given.items()]
    else:
        several = isinstance(given, Sequence) and all(isinstance(line, Line) for line in given)
        require("draw", "lines", given, several, "a path, points by name, or a list of Line")
        assert isinstance(given, Sequence)
        lines = [replace(line, points=_array(line.points, f"lines: {line.name}")) for line in given]
    if not lines:
        raise XrcoreError("lines: there are none")
    for line in lines:
        _check_diameter(line.diameter)
        if len(np.unique(line.points, axis=0)) < 2:
            raise XrcoreError(f"lines: {shown(line.name)} has one point; a line needs two")
    return [line if line.diameter is not None else replace(line, diameter=diameter) for line in lines]


def _check_diameter(diameter: object) -> None:
    thick = diameter is None or (is_number(diameter) and 0 < diameter < 1000)
    require("draw", "diameter", diameter, thick, "in mm, more than 0, or None")


def _are_paths(given: object) -> bool:
    several = isinstance(given, Sequence) and len(given) > 0 and all(isinstance(one, (str, os.PathLike)) for one in given)
    return isinstance(given, (str, os.PathLike)) or several


def _paths(given: Any) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, os.PathLike)) else [Path(one) for one in given]


def _points_of(path: Path) -> list[tuple[str, ndarray]]:
    if path.suffix.lower() != ".json":
        return [(name, place) for name, place, _ in _rows(path)]
    return [pair for _, pairs, _ in _markups(path, _POINTS, "--lines draws lines") for pair in pairs]


def _lines_of(path: Path) -> list[Line]:
    if path.suffix.lower() == ".json":
        lines = []
        for name, pairs, closed in _markups(path, _LINES, "--points draws points"):
            places = [place for _, place in pairs]
            lines.append(Line(name, np.array(places + places[:1] if closed else places)))
        return lines
    grouped: list[tuple[str, list[ndarray], float | None]] = []
    for name, place, thickness in _rows(path):
        if not grouped or grouped[-1][0] != name:
            grouped.append((name, [], thickness))
        grouped[-1][1].append(place)
    return [Line(name, np.array(places), thickness) for name, places, thickness in grouped]


def _markups(path: Path, kinds: tuple[str, ...], otherwise: str) -> list[tuple[str, list[tuple[str, ndarray]], bool]]:
    """(name, control points by label, whether closed) of each markup of these kinds."""
    content = read_json(path, _LARGEST_FILE)
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not all(isinstance(one, dict) for one in markups):
        raise XrcoreError(f"{path}: not a markups file of 3D Slicer (no markups in it)")
    found = []
    for markup in markups:
        if markup.get("type") not in kinds:
            continue
        signs = _signs(path, markup.get("coordinateSystem", "LPS"))
        if markup.get("coordinateUnits", "mm") != "mm":
            raise XrcoreError(f"{path}: its unit is {shown(markup['coordinateUnits'])}, and only mm are read")
        name = str(markup.get("name") or path.name.split(".")[0])
        pairs = []
        points = markup.get("controlPoints") or []
        if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
            raise XrcoreError(f"{path}: {name}: controlPoints must be a list of points, got {shown(points)}")
        for number, point in enumerate(points, 1):
            if point.get("positionStatus", "defined") != "defined":  # not placed yet, or missing
                continue
            label = str(point.get("label") or f"{name}-{number}")
            pairs.append((label, signs * _point(point.get("position"), f"{path}: {label}")))
        if pairs:
            found.append((name, pairs, markup["type"] == "ClosedCurve"))
    if not found:
        kinds_there = ", ".join(sorted({str(one.get("type")) for one in markups})) or "none"
        raise XrcoreError(f"{path}: holds no {' or '.join(kinds)} with points, but {kinds_there}; {otherwise}")
    return found


def _signs(path: Path, system: object) -> ndarray:
    code = _CODES.get(str(system).strip().upper())
    if code is None:
        raise XrcoreError(f"{path}: its coordinates are in {shown(system)}, and LPS and RAS are read")
    return np.array(_AXES[code.lower()], float)


def _rows(path: Path) -> list[tuple[str, ndarray, float | None]]:
    """(name, place, diameter) of each row of a CSV or .fcsv."""
    try:
        text = read_bytes(path, _LARGEST_FILE).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise XrcoreError(f"{path}: not text (UTF-8); give a .mrk.json, .fcsv or CSV") from None
    comments = [line for line in text.splitlines() if line.startswith("#")]
    body = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    said = next((m[1] for line in comments if (m := re.search(r"CoordinateSystem\s*=\s*(\w+)", line))), None)
    if path.suffix.lower() == ".fcsv":
        columns = next((m[1] for line in comments if (m := re.search(r"columns\s*=\s*(\S+)", line))), _FCSV)
        body.insert(0, columns.replace("label", "name"))
        if said is None:
            raise XrcoreError(f"{path}: does not say whether it is LPS or RAS (# CoordinateSystem = LPS); save it as .mrk.json")
    try:
        table = list(csv.reader(body))
    except csv.Error as error:
        raise XrcoreError(f"{path}: not a table of points ({error})") from None
    header = [cell.strip().lower() for cell in table[0]] if table else []
    axes = next((axes for axes in _AXES if set(axes) <= set(header)), None)
    if axes is None:
        raise XrcoreError(f"{path}: its first line must name the columns, such as name,x,y,z (LPS mm) or name,r,a,s; got {shown(header)}")
    signs = np.array(_AXES[axes], float) if said is None or axes != "xyz" else _signs(path, said)
    rows = []
    for number, cells in enumerate(table[1:], 1):
        row = dict(zip(header, map(str.strip, cells), strict=False))
        name = row.get("name") or row.get("label") or str(number)
        place = _point([_number(row.get(axis)) for axis in axes], f"{path}: row {number} ({name})")
        thickness = row.get("diameter")
        value = _number(thickness) if thickness else None
        if value is not None and not (is_number(value) and value > 0):
            raise XrcoreError(f"{path}: row {number}: diameter must be a positive number of mm, got {shown(thickness)}")
        rows.append((name, signs * place, value))
    if not rows:
        raise XrcoreError(f"{path}: holds no row of points")
    return rows


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _point(place: Any, where: str) -> ndarray:
    numbers = as_numbers(place, 3)
    if numbers is None or max(map(abs, numbers)) > _FARTHEST:
        raise XrcoreError(f"{where}: a point is three finite numbers [mm], got {shown(place)}")
    return np.array(numbers, float)


def _array(points: Any, where: str) -> Float64[ndarray, "n 3"]:
    try:
        array = np.asarray(points, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not (np.abs(array) <= _FARTHEST).all():
        raise XrcoreError(f"{where} must be (n, 3) finite numbers, LPS [mm], got {shown(points)}")
    return array
