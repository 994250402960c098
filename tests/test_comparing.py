"""== and hash of public types: what holds tensors is equal to itself alone, what holds numbers and words to its like."""

from __future__ import annotations

import copy
import inspect
import re
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from check_docstrings import public_modules, public_objects

import xrcore as xr
from xrcore.widgets import CtFile

CARM = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(256, 256), pixel_spacing=1.5)


@pytest.fixture(scope="module")
def held() -> dict[type, set[str]]:
    """Of each public dataclass the fields that hold tensors, arrays, or what holds these."""
    found = (thing for top in ("xrcore", "companion") for module in public_modules(top) for _, thing in public_objects(module))
    kinds = {thing for thing in found if inspect.isclass(thing) and is_dataclass(thing)}
    holding = {"Tensor", "ndarray", "NDArray"}
    while True:
        held = {kind: {field.name for field in fields(kind) if holding & words(field)} for kind in kinds}
        more = holding | {kind.__name__ for kind, names in held.items() if names}
        if more == holding:
            return held
        holding = more


def words(field: Field[Any]) -> set[str]:
    """The words of a field's type; what functions take and give is not held."""
    return set(re.findall(r"\w+", re.sub(r"Callable\[.*", "", str(field.type))))


def blank(kind: type, names: set[str]) -> Any:
    made = object.__new__(kind)
    for field in fields(kind):
        object.__setattr__(made, field.name, torch.zeros(2) if field.name in names else None)
    return made


def test_what_holds_tensors_is_equal_to_itself_alone(held):
    held = {kind: names for kind, names in held.items() if names}
    assert {xr.Volume, xr.Xray, xr.View, xr.Registration, xr.Track, xr.TrackedFrame, xr.Calibration} <= held.keys()
    ours = {kind: (blank(kind, names), blank(kind, names)) for kind, names in held.items()}
    wrong = []
    for kind, (one, other) in ours.items():
        try:
            good = one == one and one != other and len({one, other, one}) == 2
        except (RuntimeError, TypeError):
            good = False
        if not good:
            wrong.append(kind.__name__)
    assert sorted(wrong) == [], "give them eq=False"


def test_what_is_numbers_and_words_is_equal_to_its_like(held):
    made = [CARM, CtFile(Path("ct.nii"), {"background": 0}), xr.Stage("verifying")]
    for kind, names in held.items():
        if not names and not any(p.default is p.empty for p in inspect.signature(kind).parameters.values()):
            made.append(kind())
    assert {xr.Beam, xr.Acquisition, xr.SearchBox, xr.GaussNewton, xr.TrainingSettings} <= {type(one) for one in made}
    for one in made:
        like = copy.deepcopy(one)
        assert like == one, type(one)
        assert hash(like) == hash(one), type(one)


def test_poses_are_equal_by_their_numbers_and_no_keys():
    pose = xr.Pose(torch.tensor([1.0, 2, 3, 4, 5, 6], requires_grad=True))
    like, other = xr.Pose([1, 2, 3, 4, 5, 6]), xr.Pose([1, 2, 3, 4, 5, 6.5])
    step, like_it, other_step = (xr.Step(level=0, pose=p, similarity=0.5) for p in (pose, like, other))
    assert pose == like != other
    assert step == like_it != other_step
    for thing in (pose, step):
        with pytest.raises(TypeError, match="unhashable"):
            hash(thing)
