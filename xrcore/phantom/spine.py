"""Sacrum, coccyx and the lower lumbar vertebrae. Model coordinates as for the hip bone; symmetric."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xrcore.phantom.patient import SIDES, Frame, Patient, rotation_matrix
from xrcore.phantom.shapes import Array, Field, smooth_max

ENDPLATE = np.array([0.0, 21.0, 98.0])  # centre of the sacral endplate
SLOPE = 38.0  # of the sacral endplate [deg]
# the bodies S1 to S5 along the midline: y, z, half the depth and half the width
BODIES = np.array([(32, 84, 15, 24), (48, 64, 11.5, 19), (60, 44, 9.5, 15), (65.5, 26, 8, 11), (64, 11, 6.5, 8)])
COCCYX = np.array([(0, 63, 6, 6), (0, 60, -6, 5), (0, 54, -16, 4.2), (0, 46, -24, 3)])
# the lateral mass, and the front of its outer face, which is the sacroiliac joint
LATERAL = np.array([(43, 42, 84, 15.5), (46, 56, 67, 15.5), (39, 66, 48, 12), (25, 69, 28, 8), (12, 66, 10, 5)])
AURICULAR = np.array([(50, 38, 86, 11), (54, 46, 72, 11.5), (49, 57, 54, 10)])
ROOF = (27.0, 22.0, 17.0, 12.5)  # height of the roof of the canal over the bodies' centres
FORAMINA = ((25.0, 3.8), (23.0, 3.6), (19.0, 3.1), (15.5, 2.5))  # distance from the midline, radius

LEVELS = ("L5", "L4", "L3")
TILTS = (22.0, 9.0, 0.0)  # forward, of each vertebra [deg]
STEPS = ((24.5, 31.0), (39.0, 15.5), (39.0, 4.5))  # from centre to centre, and the tilt of that step [deg]


def sacrum(patient: Patient) -> Field:
    """Distance to sacrum and coccyx."""
    place = patient.trunk()
    corners = place([(x, y, z) for x in (-72, 72) for y in (0, 100) for z in (-32, 116)])
    field = Field(corners.min(0), corners.max(0))
    middle = BODIES[:, :2]
    tangent = np.gradient(middle, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1)[:, None]
    back = np.stack([-tangent[:, 1], tangent[:, 0]], 1)  # (y, z), away from the pelvis
    field.plate(place([[(f * (w - 0.7 * d), y, z, d * (1 - 0.12 * f * f)) for f in (-1, 0, 1)] for y, z, d, w in BODIES]))
    _endplate(field, place)
    field.curve(place(COCCYX), 3)
    for side in SIDES:
        mirror = np.array([side, 1, 1, 1])
        field.curve(place(LATERAL * mirror), 3)
        field.curve(place(AURICULAR * mirror), 5)
        field.curve(place(np.array([(20, 30, 87, 11), (38, 38, 85, 13), (53, 46, 77, 11)]) * mirror), 5)
        for (y, z, depth, width), x in zip(BODIES[1:], (45, 38, 25, 13), strict=True):
            field.curve(place([(side * width * 0.6, y, z, depth * 0.85), (side * x, y + 2, z, depth * 0.9)]), 7)
    roof = middle[:4] + np.array(ROOF)[:, None] * back[:4]
    _arches(field, place, roof)
    canal = middle[:4] + 0.62 * np.array(ROOF)[:, None] * back[:4]
    bore = [(0, y, z, r) for (y, z), r in zip(canal, (6.5, 5, 3.5, 2), strict=True)]
    field.curve(place([(0, canal[0, 0] - 8, canal[0, 1] + 26, 8), *bore]), 2, cut=True)
    # foramina pass between the segments, obliquely
    for (away, radius), (y, z), (by, bz) in zip(FORAMINA, (middle[:-1] + middle[1:]) / 2, (back[:-1] + back[1:]) / 2, strict=True):
        for side in SIDES:
            tunnel = [(away + 5, -16, radius + 2), (away, 4, radius), (away - 4, 30, radius - 1)]
            field.curve(place([(side * a, y + depth * by, z + depth * bz, b) for a, depth, b in tunnel]), 5, cut=True)
    return field


def _endplate(field: Field, place: Frame) -> None:
    """S1 ends in a flat oval disc."""
    normal = place.direction(rotation_matrix("x", SLOPE)[:, 2])
    center, s = place(ENDPLATE), place.scale
    box = field.box(center - 45 * s, center + 45 * s)
    away = field.linear(normal, center, box)
    x = field.linear([1, 0, 0], center, box)
    across = field.linear(np.cross(normal, [1.0, 0, 0]), center, box)
    oval = (np.sqrt((x / np.float32(26)) ** 2 + (across / np.float32(17)) ** 2) - np.float32(s)) * np.float32(20)
    field.join(smooth_max(np.maximum(away, -away - np.float32(16 * s)), oval, 3), 4, box)
    field.cut(np.maximum(-away, np.abs(x) - np.float32(28 * s)), 2, box)


def _arches(field: Field, place: Frame, roof: NDArray) -> None:
    """Laminae, the bridges to the lateral mass, and the median crest."""
    spread = (13, 11, 9, 7)
    for side in SIDES:
        field.curve(place([(side * x, y, z, 3.6) for (y, z), x in zip(roof, spread, strict=True)]), 3)
        for (y, z), x in zip(roof, spread, strict=True):
            field.curve(place([(side * x, y, z, 4), (side * (x + 18), y - 6, z - 3, 5)]), 4)
    for y, z in roof[:3]:
        field.curve(place([(0, y + 3, z + 2, 4), (0, y + 10, z - 1, 3.5)]), 4)
        field.curve(place([(-13, y, z, 3.4), (13, y, z, 3.4)]), 3)


def vertebrae(patient: Patient) -> Iterator[Field]:
    """Distance to L5, L4 and L3, bottom up; each leaves the disc below it free."""
    trunk = patient.trunk()
    center = ENDPLATE
    for i, (tilt, (step, between)) in enumerate(zip(TILTS, STEPS, strict=True)):
        lean = patient.lean * (i + 1)
        up = rotation_matrix("yx", lean - patient.lean / 2, between)[:, 2]
        center = center + step * up
        place = Frame(trunk.linear @ rotation_matrix("yx", lean, tilt), trunk.linear @ center + trunk.offset, trunk.scale)
        yield _vertebra(place, wide=1.1 - 0.05 * i, apart=4.0 if i == 0 else 0.0)


def _vertebra(place: Frame, wide: float, apart: float) -> Field:
    """In its own frame: x to the left, y back, z up, origin in the centre of the body."""
    corners = place([(x, y, z) for x in (-54, 54) for y in (-24, 86) for z in (-34, 30)])
    field = Field(corners.min(0), corners.max(0))
    field.join(_body(field, place, 25.5 * wide, 17.0, 13.6))
    for side in SIDES:
        pedicle, facet = 15 + apart, 17 + apart
        field.curve(place([(side * (pedicle - 1), 10, 7, 5), (side * (pedicle + 1), 27, 6, 4.5)]), 3)
        field.curve(place([(side * (pedicle - 1), 10, 2, 5), (side * (pedicle + 1), 27, 1, 4.5)]), 3)
        joints = [(facet + 3, 32, 17, 5), (facet + 1, 34, 4, 6), (facet - 2, 38, -10, 5.5), (facet - 3, 39, -20, 4.5)]
        field.curve(place([(side * x, y, z, r) for x, y, z, r in joints]), 3)
        transverse = [(facet + 3, 28, 4, 5), (34, 31, 6, 4), (47, 33, 9, 3 + 0.4 * apart)]
        field.curve(place([(side * x, y, z, r) for x, y, z, r in transverse]), 3)
        lamina = [(facet - 1, 36, -2, 4.5), (5, 46, -5, 3.5), (0, 49, -5, 3.5)]
        field.curve(place([(side * x, y, z, r) for x, y, z, r in lamina]), 3)
    tip = 78 - 2.5 * apart
    spinous = [
        [(0, 48, 1, 3), (0, 48, -12, 3.5)],
        [(0, tip - 9, -2, 2.8), (0, tip - 9, -15, 4.5)],
        [(0, tip, -6, 3.5), (0, tip - 2, -15, 5.5)],
    ]
    field.plate(place(np.array(spinous)), 3)
    return field


def _body(field: Field, place: Frame, half_width: float, half_depth: float, half_height: float) -> Array:
    x, y, z = (field.linear(row, place.offset) for row in np.linalg.inv(place.linear))
    waist = 1 - np.float32(0.16) * np.clip(1 - (z / np.float32(half_height)) ** 2, 0, 1)
    y = y + np.float32(2)
    depth = np.float32(half_depth) * np.where(y > 0, np.float32(0.8), np.float32(1))  # the back is flatter
    ring = np.sqrt((x / np.float32(half_width)) ** 2 + (y / depth) ** 2) / waist
    hollow = np.float32(1.6) * np.clip(1 - ring * ring, 0, 1)  # of the endplates
    side, end = (ring - 1) * np.float32(0.85 * half_depth), np.abs(z) - np.float32(half_height) + hollow
    return smooth_max(side, end, 3.5) * np.float32(place.scale)
