"""A total hip replacement: stem, head, polyethylene liner, cup and two screws."""

from __future__ import annotations

import numpy as np

from xrcore.phantom.hip import CAVITY_RADIUS, HIP_CENTER, RIM_NORMAL
from xrcore.phantom.hu_canvas import HuCanvas
from xrcore.phantom.patient import Frame
from xrcore.phantom.shapes import Field

METAL = 6000.0  # HU of an extended scale: at 0.0005886 g/cm3 a unit, the density of titanium
POLYETHYLENE = -80.0
RESECTION = np.array([113.0, 4.0, -19.0])
STEM = np.array(
    [(89, 0, 0, 6), (104, 2.5, -12, 6), (117, 5, -23, 9.5), (126, 7, -42, 10), (126, 7, -70, 8.5), (123, 5, -100, 7), (119, 2, -128, 5)]
)


def resect(femur: Field, place: Frame) -> None:
    """Take head and neck off."""
    axis = place.direction(HIP_CENTER - RESECTION)
    femur.cut(-femur.linear(axis, place(RESECTION)), 1)


def paint_implant(canvas: HuCanvas, socket: Frame, femur: Frame) -> None:
    """Cup and liner in the place of the hip bone, head and stem in that of the femur."""
    center, normal, scale = socket(HIP_CENTER), socket.direction(RIM_NORMAL), socket.scale
    outer = CAVITY_RADIUS * scale + 0.5
    cup = Field(center - outer - 45, center + outer + 45)
    within = cup.linear(normal, center + 2 * normal)
    cup.join(cup.ellipsoid(center, outer))
    for toward in ((92, 14, 62), (80, 26, 50)):
        cup.curve([[*center, 2.6], [*socket(toward), 2.6]])
    liner = cup.like()
    liner.distance = np.maximum(cup.ellipsoid(center, outer - 4), within)
    cup.distance = np.maximum(np.maximum(cup.distance, -cup.ellipsoid(center, outer - 4)), within)
    canvas.paint(cup, METAL)
    canvas.paint(liner, POLYETHYLENE)
    nodes = femur(STEM)
    stem = Field(nodes[:, :3].min(0) - 25, nodes[:, :3].max(0) + 25)
    stem.curve(nodes)
    stem.ball(center, 16.0)
    canvas.paint(stem, METAL)
