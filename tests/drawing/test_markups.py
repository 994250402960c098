"""Landmarks and lines read from the files of 3D Slicer and from CSV are the same points in LPS."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xrcore import XrcoreError
from xrcore.drawing.markups import Line, read_landmarks, read_lines

PLACES = np.array([[1.0, -2.0, 3.5], [40.0, 50.0, -60.0]])
RAS = PLACES * [-1, -1, 1]


def markups(kind: str, places: np.ndarray, system: object = "LPS", **more: object) -> str:
    points = [{"label": name, "position": place.tolist()} for name, place in zip("ab", places, strict=True)]
    points.append({"label": "placed later", "position": [0, 0, 0], "positionStatus": "undefined"})
    return json.dumps({"markups": [{"type": kind, "name": "plan", "coordinateSystem": system, "controlPoints": points, **more}]})


FILES = {
    "lps.mrk.json": markups("Fiducial", PLACES),
    "ras.mrk.json": markups("Fiducial", RAS, "RAS"),
    "xyz.csv": "name,x,y,z\na,1,-2,3.5\nb,40,50,-60\n",
    "ras.csv": "S,A,R,label\n3.5,2,-1,a\n-60,-50,-40,b\n",
    "old.fcsv": "# Markups fiducial file version = 4.6\n# CoordinateSystem = 0\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc\n"
    "1,-1,2,3.5,0,0,0,1,1,1,0,a,\n2,-40,-50,-60,0,0,0,1,1,1,0,b,\n",
    "new.fcsv": "# CoordinateSystem = LPS\n1,1,-2,3.5,0,0,0,1,1,1,0,a,,\n2,40,50,-60,0,0,0,1,1,1,0,b,,\n",
}


@pytest.mark.parametrize("name", FILES)
def test_landmarks_of_every_format(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    found = read_landmarks(tmp_path / name)
    assert list(found) == ["a", "b"]
    np.testing.assert_allclose(list(found.values()), PLACES)


def test_lines_of_every_format(tmp_path):
    (tmp_path / "plan.mrk.json").write_text(markups("Line", RAS, "RAS"))
    (tmp_path / "ring.mrk.json").write_text(markups("ClosedCurve", PLACES))
    (tmp_path / "plan.csv").write_text("name,x,y,z,diameter\nplan,1,-2,3.5,6.5\nplan,40,50,-60,6.5\nother,0,0,0,\nother,1,1,1,\n")
    (line,) = read_lines(tmp_path / "plan.mrk.json", 4.0)
    np.testing.assert_allclose(line.points, PLACES)
    assert (line.name, line.diameter) == ("plan", 4.0)
    (ring,) = read_lines(tmp_path / "ring.mrk.json")
    np.testing.assert_allclose(ring.points, [*PLACES, PLACES[0]])
    first, second = read_lines([tmp_path / "plan.csv"], 4.0)
    assert (first.diameter, second.diameter, len(second.points)) == (6.5, 4.0, 2)
    assert read_lines({"plan": PLACES})[0].diameter is None
    assert read_lines([Line("plan", PLACES, 3.0)])[0].diameter == 3.0


def test_points_of_one_name_all_stay():
    found = read_landmarks(PLACES)
    np.testing.assert_allclose(found["2"], PLACES[1])


def test_points_of_two_files_with_the_same_name_all_stay(tmp_path):
    (tmp_path / "xyz.csv").write_text(FILES["xyz.csv"])
    assert len(read_landmarks([tmp_path / "xyz.csv"] * 3)) == 6


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "a,b\n1,2\n", "first line must name the columns"),
        ("p.csv", "name,x,y,z\n", "holds no row"),
        ("p.csv", "name,x,y,z\nhip,1,2\n", r"row 1 \(hip\): a point is three finite numbers"),
        ("p.csv", "name,x,y,z\nhip,1,2,nan\n", r"row 1 \(hip\): a point is three finite numbers"),
        ("p.mrk.json", "{}", "not a markups file"),
        ("p.mrk.json", markups("Line", PLACES), "--lines draws lines"),
        ("p.mrk.json", markups("Fiducial", PLACES, "IJK"), "LPS and RAS are read"),
        ("p.mrk.json", markups("Fiducial", PLACES, coordinateUnits="m"), "only mm"),
    ],
)
def test_files_that_say_no_points_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(XrcoreError, match=message):
        read_landmarks(tmp_path / name)


def test_lines_that_are_none_are_refused(tmp_path):
    (tmp_path / "p.csv").write_text("name,x,y,z,diameter\na,1,2,3,-1\na,2,2,2,-1\n")
    for given, message in (
        ({"a": PLACES[:1]}, "a line needs two"),
        (tmp_path / "p.csv", "diameter must be a positive number"),
        ({"a": [1, 2]}, r"must be \(n, 3\)"),
    ):
        with pytest.raises(XrcoreError, match=message):
            read_lines(given)
    with pytest.raises(XrcoreError, match="diameter must be in mm"):
        read_lines({"a": PLACES}, diameter=-2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "p.mrk.json",
            '{"markups": [{"type": "Fiducial", "controlPoints": 5}]}',
            "must be a list of points",
        ),
        ("p.csv", f"name,x,y,z\n{'x' * 200_000},1,2,3\n", "not a table of points"),
        ("p.fcsv", "1,1,-2,3.5,0,0,0,1,1,1,0,a,,\n", "whether it is LPS or RAS"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(XrcoreError, match=message):
        read_landmarks(tmp_path / name)


def test_points_that_are_not_placed_are_left_out(tmp_path):
    text = markups("Fiducial", PLACES).replace('"undefined"', '"missing"').replace("[0, 0, 0]", "null")
    (tmp_path / "p.mrk.json").write_text(text)
    assert list(read_landmarks(tmp_path / "p.mrk.json")) == ["a", "b"]


def test_a_numbered_name_takes_no_other_ones_place(tmp_path):
    (tmp_path / "p.csv").write_text("name,x,y,z\na (3),1,1,1\na,2,2,2\na,3,3,3\n")
    assert [place[0] for place in read_landmarks(tmp_path / "p.csv").values()] == [1, 2, 3]


def test_nothing_and_lines_without_length_are_refused():
    for lines, message in (
        ([], "there are none"),
        ({"a": [PLACES[0], PLACES[0]]}, "has one point"),
        ([Line("a", PLACES, -3.0)], "diameter must be"),
        ([Line("a", PLACES, "thick")], "diameter must be"),  # type: ignore[arg-type]
    ):
        with pytest.raises(XrcoreError, match=message):
            read_lines(lines)
    with pytest.raises(XrcoreError, match="there are none"):
        read_landmarks({})
