"""A parameter that makes no sense is refused in one line that names it, wherever it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from xrcore import Beam, CArm, Pose, XrcoreError
from xrcore.beam import mass_attenuation

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(24, 32), pixel_spacing=1.6875)
K = CARM.K.tolist()
ORIGIN = (0.0, 0.0, 0.0)
NOT_A_LENGTH = (None, "2", -1.0, 0, math.nan, math.inf, True, [1.0], 1j)
NOT_A_SHAPE = (None, 256, "ab", (256,), (256, 256, 3), (256, 0), (256, -3), (25.6, 256), ("a", "b"), (None, 2), (True, 2))


def carm(**changes: Any) -> CArm:
    return CArm(**(CARM.to_dict() | changes))


def intrinsics(k: Any = K, **scale: Any) -> CArm:
    return CArm.from_intrinsics(k, (24, 32), source_to_isocenter=600, **scale)


# (what the message must name, the call, values that it must refuse)
CHECKS: list[tuple[str, Callable[[Any], Any], tuple[Any, ...]]] = [
    ("CArm: source_to_detector", lambda v: carm(source_to_detector=v), NOT_A_LENGTH),
    ("CArm: source_to_isocenter", lambda v: carm(source_to_isocenter=v), NOT_A_LENGTH),
    ("CArm: shape", lambda v: carm(shape=v), NOT_A_SHAPE),
    ("CArm: pixel_spacing", lambda v: carm(pixel_spacing=v), (*NOT_A_LENGTH, (1.0, -1.0), (1.0, 1.0, 1.0), ("1", "2"))),
    ("CArm: principal_point", lambda v: carm(principal_point=v), ((math.nan, 1.0), (1.0, 2.0, 3.0), "ab", 5, ("1", "2"))),
    ("CArm.resized: shape", lambda v: CARM.resized(v), NOT_A_SHAPE),
    ("CArm.cropped: shape", lambda v: CARM.cropped(0, 0, v), NOT_A_SHAPE),
    ("CArm.cropped: top", lambda v: CARM.cropped(v, 0, (8, 8)), (None, "1", math.nan)),
    ("CArm.from_intrinsics: K", lambda v: intrinsics(v, pixel_spacing=1.0), (None, "K", torch.eye(4), torch.full((3, 3), math.nan))),
    ("CArm.from_intrinsics: pixel_spacing", lambda v: intrinsics(pixel_spacing=v), ("1", -1.0, math.nan, (1.0, 1.0))),
    ("CArm.from_intrinsics: source_to_detector", lambda v: intrinsics(source_to_detector=v), ("1", -1.0, math.nan)),
    (
        "Pose: numbers",
        Pose,
        ("abc", [1.0, 2.0, 3.0], torch.zeros(2, 3, 6), np.zeros(5), [0, 0, 0, 0, 0, math.nan], 7, {"rx": 1}, [[0.0] * 6, [0.0] * 5]),
    ),
    ("Pose: give six numbers or names", lambda v: Pose(v, rx=1), ([0.0] * 6,)),
    ("Pose: ry", lambda v: Pose(ry=v), (None, "20", math.nan, math.inf, [20.0])),
    ("Pose.zero: batch", Pose.zero, (None, -1, 1.5, "2")),
    ("Pose.random: batch", Pose.random, (None, -1, 1.5, "2")),
    ("Pose.random: rotation", lambda v: Pose.random(rotation=v), (None, 5.0, (1.0, 2.0), (1.0, 2.0, "3"))),
    ("Pose.random: translation", lambda v: Pose.random(translation=v), (None, 5.0, (1.0, 2.0), (1.0, 2.0, math.nan))),
    ("Pose.from_matrix: matrix", Pose.from_matrix, (None, "m", torch.eye(3), [[1.0, 2.0]])),
    ("Pose.from_camera_from_world: matrix", lambda v: Pose.from_camera_from_world(v, CARM, ORIGIN), (None, torch.eye(3))),
    ("Pose: isocenter", lambda v: Pose().world_from_camera(CARM, v), (None, "abc", (0.0, 0.0), torch.zeros(1, 3))),
    ("Pose.to_dict", lambda v: v.to_dict(), (Pose.zero(2),)),
    ("Beam: kilovolts", lambda v: Beam(kilovolts=v), (None, 80, "90", True, math.nan, [90], np.array([60, 90]))),
    ("Beam: metal", lambda v: Beam(metal=v), (None, "gold", ["iron"], 7)),
    ("Beam: spectrum", lambda v: Beam(spectrum=v), ("abc", 5, ((50.0,),), ((50.0, None),))),
    ("Beam.from_spectrum: energies", lambda v: Beam.from_spectrum(v, [1.0]), (None, "ab", [[1.0], [1.0, 2.0]])),
    ("Beam.from_spectrum: fluence", lambda v: Beam.from_spectrum([50.0], v), (None, "ab")),
    ("Beam.monochromatic: energy", Beam.monochromatic, (None, "60", math.nan, [60.0])),
    ("Beam: materials", lambda v: Beam().attenuation(v), (None, "soft", (), (1,), 5)),
    ("mass_attenuation: no material", lambda v: mass_attenuation(v, 50.0), (None, "wood", ["soft"])),
    ("mass_attenuation: energies", lambda v: mass_attenuation("soft", v), (None, "ab", 9.9, 150.1, math.nan)),
]
CASES = [(named, call, value) for named, call, values in CHECKS for value in values]


@pytest.mark.parametrize(("named", "call", "value"), CASES, ids=[f"{named}-{i}" for i, (named, _, _) in enumerate(CASES)])
def test_what_makes_no_sense_is_named(named, call, value):
    with pytest.raises(XrcoreError) as error:
        call(value)
    message = str(error.value)
    assert message.startswith(named)
    assert "\n" not in message
    assert len(message) < 250
