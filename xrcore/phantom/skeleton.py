"""The bones as a CT shows them: a shell of compact bone over trabeculae or marrow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xrcore.phantom.hip import hip_bone
from xrcore.phantom.hu_canvas import HuCanvas, Value
from xrcore.phantom.implant import paint_implant, resect
from xrcore.phantom.patient import SIDES, Patient
from xrcore.phantom.proximal_femur import femur
from xrcore.phantom.shapes import Array, Field
from xrcore.phantom.spine import sacrum, vertebrae


def by_height(heights: Sequence[float], values: Sequence[float]) -> Value:
    """A value that depends on z [mm] alone, linear between knots."""

    def value(z: Array) -> Array:
        return np.interp(z, heights, values).astype(np.float32)

    return value


def paint_skeleton(canvas: HuCanvas, patient: Patient, implant: int | None) -> None:
    """All bones; `implant` is the side (1 left, -1 right) with an artificial hip."""
    m = patient.mineral
    sacral = sacrum(patient)
    canvas.paint(sacral, 210 * m, shell=780 * m, thickness=1.0, texture=70)
    for vertebra in vertebrae(patient):
        canvas.paint(vertebra, 190 * m, shell=850 * m, thickness=1.0, texture=70)
    for side in SIDES:
        hip = hip_bone(patient, side, sacral)
        # the thin wing is nearly all compact bone, and its crest thickest
        inside = by_height([0, 30, 70, 120], [200 * m, 240 * m, 330 * m, 420 * m])
        canvas.paint(hip, inside, shell=1050 * m, thickness=by_height([90, 130], [1.5, 2.2]), texture=60)
        place, bone = femur(patient, side)
        if side == implant:
            resect(bone, place)
        # compact bone thickens down the shaft, whose canal holds fatty marrow; the head is dense, the trochanter loose
        inside = by_height([-90, -50, -20, 0, 25], [-40, 60 * m, 160 * m, 260 * m, 270 * m])
        shell, thickness = by_height([-80, -20], [1450 * m, 950 * m]), by_height([-95, -60, -30], [6.5, 4.0, 1.3])
        canvas.paint(bone, inside, shell=shell, thickness=thickness, texture=60)
        if side == implant:
            paint_implant(canvas, patient.side(side), place)


def bones_by_name(patient: Patient, implant: int | None) -> dict[str, list[Field]]:
    """What `paint_skeleton` paints."""
    sacral = sacrum(patient)
    bones = {"sacrum": [sacral], "lumbar spine": list(vertebrae(patient))}
    for side, word in zip(SIDES, ("left", "right"), strict=True):
        bones[f"{word} hip bone"] = [hip_bone(patient, side, sacral)]
    for side, word in zip(SIDES, ("left", "right"), strict=True):
        place, bone = femur(patient, side)
        if side == implant:
            resect(bone, place)
        bones[f"{word} femur"] = [bone]
    return bones
