"""The hip bone: ilium, ischium and pubis, with the acetabulum.

Model coordinates [mm]: the left half, x to the patient's left, y back, z up, origin midway between the hip centres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xrcore.phantom.patient import Frame, Patient
from xrcore.phantom.shapes import Field, sample, smooth_max

HIP_CENTER = np.array([89.0, 0.0, 0.0])
HEAD_RADIUS = 23.5
CAVITY_RADIUS = 27.0  # the head and the joint space
RIM_NORMAL = np.array([0.70, -0.22, -0.68])  # the way the acetabulum opens: lateral, anterior, inferior
JOINT_GAP = 2.6  # sacroiliac; between the pubic bones it is twice 2.4 mm

# mid-surface of the wing: columns from the roof of the acetabulum and the arcuate line up to the crest, rows from the
# front (inferior and superior anterior spine) to the back (superior posterior spine); x, y, z and half the thickness
WING = np.array(
    [
        [(99, -39, 32, 8.0), (104, -44, 47, 5.0), (111, -47, 60, 4.5), (119, -49, 73, 5.5)],
        [(99, -24, 36, 10.0), (108, -30, 59, 5.0), (119, -35, 80, 3.6), (130, -39, 97, 4.5)],
        [(97, -8, 40, 11.0), (107, -13, 68, 4.6), (121, -17, 96, 3.4), (138, -20, 117, 6.0)],
        [(88, 8, 42, 11.0), (99, 7, 73, 4.0), (115, 6, 103, 2.6), (136, 6, 129, 5.0)],
        [(80, 25, 44, 10.0), (91, 26, 74, 3.6), (106, 28, 106, 2.4), (124, 31, 137, 4.5)],
        [(72, 42, 43, 9.0), (75, 45, 70, 7.5), (87, 48, 104, 4.6), (103, 52, 139, 4.8)],
        [(66, 58, 42, 9.0), (67, 62, 68, 10), (74, 66, 98, 7.0), (82, 69, 130, 5.5)],
        [(58, 73, 43, 7.5), (60, 79, 60, 9.5), (63, 81, 84, 8.5), (66, 79, 111, 6.5)],
        [(54, 80, 50, 5.0), (49, 88, 60, 6.5), (47, 91, 73, 7.5), (53, 88, 91, 6.5)],
    ]
)


def wing(female: float) -> NDArray:
    """`WING`, whose upper end flares more in women."""
    return WING + 3 * female * np.linspace(0, 1, WING.shape[1])[:, None] * [1, 0, 0, 0]


def hip_bone(patient: Patient, side: int, sacrum: Field) -> Field:
    """Distance to one hip bone; it keeps the width of the joints from the sacrum, the femoral head and its fellow."""
    place = patient.side(side)
    corners = place([(x, y, z) for x in (-2, 152) for y in (-70, 105) for z in (-102, 150)])
    field = Field(corners.min(0), corners.max(0))
    _ilium(field, place, patient.female)
    _acetabulum(field, place)
    _ischium_and_pubis(field, place, patient.female)
    _joints(field, place, side, sacrum)
    return field


def _ilium(field: Field, place: Frame, female: float) -> None:
    plate = wing(female)
    field.plate(place(plate))
    field.curve(place(plate[:, -1]), 4)
    field.curve(place([(99, -42, 36, 6.5), (97, -44, 30, 6)]), 4)  # anterior inferior spine
    # the arcuate line, down to the ischium behind the acetabulum; it edges the greater notch
    field.curve(place([(68, 50, 40, 9), (74, 38, 30, 11), (74, 32, 10, 10), (69, 32, -14, 9)]), 7)


def _acetabulum(field: Field, place: Frame) -> None:
    center, normal, radius = place(HIP_CENTER), place.direction(RIM_NORMAL), 33.5 * place.scale
    box = field.box(center - radius - 9, center + radius + 9)
    field.join(smooth_max(field.ellipsoid(center, radius, box), field.linear(normal, center + normal, box), 3), 5, box)
    # buttresses of the roof, and the quadrilateral plate on the inside
    field.curve(place([(100, -24, 28, 9), (101, -6, 29, 10), (98, 12, 25, 9), (89, 28, 14, 9)]), 10)
    field.curve(place([(90, 4, 40, 14), (82, 22, 30, 12), (76, 32, 10, 12)]), 8)
    inside = [
        [(77, -16, 36, 9), (77, 10, 44, 9), (74, 38, 42, 9)],
        [(63, -16, 17, 4.5), (62, 11, 22, 4.5), (64, 36, 22, 5)],
        [(59, -14, 0, 3.2), (58, 12, 0, 3.2), (61, 34, 2, 4)],
        [(61, 0, -20, 3.2), (61, 18, -24, 3.5), (63, 32, -26, 4)],
    ]
    field.plate(place(np.array(inside)), 8)


def _ischium_and_pubis(field: Field, place: Frame, female: float) -> None:
    w = 5 * female  # a wider pubic arch
    upper_ramus = [(84, -26, 18, 13), (72, -34, 6, 11), (56, -42, -4, 8.5), (39, -48, -12, 8), (24, -53, -17, 8.5), (11, -53, -22, 8)]
    body = [
        [(3, -54, -20, 7.0), (2.5, -51, -29, 7.0), (2.5, -46, -38, 6.0), (5 + w, -40, -46, 4.5)],
        [(12, -53, -19, 7.5), (11, -50, -29, 6.5), (11 + w / 2, -44, -40, 5.5), (13 + w, -34, -52, 4.5)],
        [(21, -52, -17, 7.5), (18, -49, -27, 5.0), (18 + w / 2, -42, -40, 4.5), (21 + w, -27, -60, 4.8)],
    ]
    lower_ramus = [(8 + w, -38, -47, 5), (20 + w, -24, -62, 5.4), (33 + w, -5, -76, 6), (44 + w / 2, 10, -82, 7.5), (54, 22, -80, 10)]
    ischium = [(54, 24, -80, 12), (60, 31, -71, 15), (65, 35, -58, 15), (67, 36, -42, 13), (70, 33, -24, 12.5), (75, 28, -4, 12)]
    field.curve(place(upper_ramus), 6)
    field.plate(place(np.array(body)), 9)
    field.curve(place([(17, -53, -17, 7), (25, -56, -14, 5.5)]), 4)  # pubic tubercle
    field.curve(place(ischium), 9)
    field.curve(place(lower_ramus), 9)
    field.curve(place([(63, 35, -6, 8), (54, 43, -11, 5), (46, 50, -14, 2.5)]), 4)  # ischial spine


def _joints(field: Field, place: Frame, side: int, sacrum: Field) -> None:
    center, normal, scale = place(HIP_CENTER), place.direction(RIM_NORMAL), place.scale
    field.ball(center, CAVITY_RADIUS * scale, 1.5, cut=True)
    fossa = place(HIP_CENTER + np.array([-12.0, 1.0, -11.0]))
    field.ball(fossa, 17.5 * scale, 2, cut=True)  # deeper than the joint, and open below as the notch
    way_out = [[*center, CAVITY_RADIUS * scale], [*(center + 40 * normal), (CAVITY_RADIUS + 12) * scale]]
    field.curve(way_out, 1.5, cut=True)
    field.curve(place([(40, -40, -40, 12), (44, 8, -40, 14)]), 5, cut=True)  # obturator foramen
    x, _, _ = field.coordinates()
    field.cut(np.broadcast_to(side * x - np.float32(2.4), field.distance.shape), 2)  # symphysis
    field.cut(sample(sacrum.distance, sacrum.axes, field.axes) - np.float32(JOINT_GAP), 1.5)
