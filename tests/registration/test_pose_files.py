"""Poses from text and files: every form says the same, and damage or another geometry is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from xrcore import CArm, Pose, XrcoreError
from xrcore.geometry import POSE_NAMES
from xrcore.registration.registration_files import read_pose

CARM = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(12, 10), pixel_spacing=1.5)
CENTRE = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
NUMBERS = [3.5, -20.0, 1.25, 4.0, -10.0, 50.0]
MATRIX = Pose(NUMBERS).camera_from_world(CARM, CENTRE)[0].tolist()
NAMED = dict(zip(POSE_NAMES, NUMBERS, strict=True))
RECORD = {"pose": NAMED, "isocenter": CENTRE.tolist(), "carm": CARM.to_dict(), "camera_from_world": MATRIX}


def written(folder: Path, content: object) -> str:
    (folder / "pose.json").write_text(json.dumps(content))
    return str(folder / "pose.json")


@pytest.mark.parametrize("content", [NUMBERS, NAMED, {"pose": NUMBERS}, {"pose": NAMED}, {"camera_from_world": MATRIX}, RECORD])
def test_every_form_says_the_same(tmp_path, content):
    assert_close(read_pose(written(tmp_path, content), CARM, CENTRE).numbers, Pose(NUMBERS).numbers, rtol=0, atol=1e-9)


def test_numbers_as_text():
    assert_close(read_pose(" 3.5, -20,1.25,4,-1e1, +50", CARM, CENTRE).numbers, Pose(NUMBERS).numbers)


@pytest.mark.parametrize(("aside", "farther"), [(5.0, 0.0), (0.0, 40.0), (-3.0, 100.0)])
def test_a_pose_about_another_isocentre_or_distance_keeps_its_place(tmp_path, aside, farther):
    carm, centre = replace(CARM, source_to_isocenter=700 + farther), CENTRE + aside
    found = read_pose(written(tmp_path, RECORD), carm, centre)
    assert_close(found.camera_from_world(carm, centre)[0], torch.tensor(MATRIX, dtype=torch.float64), rtol=0, atol=1e-6)
    with pytest.raises(XrcoreError, match="counts from another isocentre or distance, and it holds no camera_from_world"):
        read_pose(written(tmp_path, {key: value for key, value in RECORD.items() if key != "camera_from_world"}), carm, centre)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (NUMBERS[:5], "a pose is six finite numbers"),
        ([*NUMBERS[:5], "50"], "a pose is six finite numbers"),
        ([*NUMBERS[:5], 1e19], "at most"),
        ([1e5, *NUMBERS[1:]], "at most"),
        ({"pose": {**NAMED, "tz": None}}, "a pose is six finite numbers"),
        ("AP", "expected six numbers, or an object with a pose"),
        ({"rx": 3.0, "ry": 4.0}, "holds no pose; expected rx, ry"),
        ({"camera_from_world": MATRIX[:3]}, "must be a 4x4 matrix"),
        ({"camera_from_world": [["a"] * 4] * 4}, "must be a 4x4 matrix"),
        ({"camera_from_world": [[2 * v for v in row] for row in MATRIX]}, "rigid|rotation"),
        ({**RECORD, "isocenter": [1, 2]}, "isocenter must be three numbers"),
        ({**RECORD, "isocenter": [1, 2, None]}, "isocenter must be three numbers"),
        ({**RECORD, "carm": 700}, "carm hold source_to_isocenter"),
        ({**RECORD, "carm": {"source_to_isocenter": "far"}}, "carm hold source_to_isocenter"),
    ],
)
def test_files_that_hold_no_pose_are_told_in_one_line(tmp_path, content, words):
    with pytest.raises(XrcoreError, match=words) as error:
        read_pose(written(tmp_path, content), CARM, CENTRE)
    assert "pose.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["1,2,3", "1,2,3,4,5,6,7", "1,,2,3,4,5", "1e999,0,0,0,0,0", "1,2,3,4,5,1e19", "nowhere.json", "nan,0,0,0,0,0"]
)
def test_text_that_is_no_pose_is_told_in_one_line(text):
    with pytest.raises(XrcoreError, match=r"six finite numbers|at most|neither six numbers") as error:
        read_pose(text, CARM, CENTRE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "numbers"), [("lateral", (0, 90, 0)), ("PA", (0, 180, 0)), ("rpo", (0, -45, 0)), ("inlet", (-40, 0, 0))])
def test_a_view_has_a_name(name, numbers):
    assert read_pose(name, CARM, torch.zeros(3)).numbers[0].tolist() == [*numbers, 0, 0, 0]


def test_a_file_of_a_views_name_is_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lateral").write_text("[1, 2, 3, 4, 5, 6]")
    assert read_pose("lateral", CARM, torch.zeros(3)).numbers[0].tolist() == [1, 2, 3, 4, 5, 6]


def test_names_of_views_are_those_of_the_conventions():
    """The named views are where the page on conventions says they are."""
    page = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| ([^|]+?) \| `Pose\(([^)]*)\)` \|", page, re.MULTILINE))
    for name, key in (
        ("pa", "PA"),
        ("left-lateral", "left lateral"),
        ("right-lateral", "right lateral"),
        ("outlet", "outlet of the pelvis"),
    ):
        angle, value = said[key].split("=")
        wanted = Pose(**{angle: float(value)})
        assert torch.equal(read_pose(name, CARM, torch.zeros(3)).numbers, wanted.numbers)
