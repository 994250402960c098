"""The proximal femur. Model coordinates as for the hip bone."""

from __future__ import annotations

import numpy as np

from xrcore.phantom.hip import HEAD_RADIUS, HIP_CENTER
from xrcore.phantom.patient import Frame, Patient
from xrcore.phantom.shapes import Field

# centre lines with radii [mm]; the shaft from the neck down
SHAFT = np.array(
    [(130, 7, -32, 15), (128.5, 8, -48, 16), (127, 7.5, -64, 15), (125, 6, -82, 14), (122, 4, -104, 13.5), (118, 1, -135, 13.5)]
)
NECK = np.array([(89, 0, 0, 18), (101, 2, -9, 16), (112, 4, -18, 15.5), (123, 6, -28, 17)])
GREATER_TROCHANTER = np.array([(136, 11, -42, 14), (140, 13, -26, 14), (140, 15, -12, 12), (138, 18, -4, 9.5)])
LESSER_TROCHANTER = np.array([(122, 11, -44, 12), (115, 18, -57, 8.5), (112, 21, -62, 6), (119, 13, -78, 8)])
CREST = np.array([(137, 21, -6, 5), (128, 24, -28, 5), (114, 22, -56, 4)])


def femur(patient: Patient, side: int) -> tuple[Frame, Field]:
    """Place of, and distance to, one femur; its head is centred in the acetabulum."""
    place = patient.femur(side, HIP_CENTER)
    corners = place([(x, y, z) for x in (60, 162) for y in (-32, 44) for z in (-148, 30)])
    field = Field(corners.min(0), corners.max(0))
    field.curve(place(SHAFT))
    field.curve(place(NECK), 8)
    field.curve(place(GREATER_TROCHANTER), 7)
    field.curve(place(LESSER_TROCHANTER), 8)
    field.curve(place(CREST), 7)
    field.ball(place(HIP_CENTER), HEAD_RADIUS * place.scale, 3)
    return place, field
