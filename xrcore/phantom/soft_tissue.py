"""Skin, fat, muscle and bladder. Model coordinates as for the hip bone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xrcore.phantom.hu_canvas import AIR, HuCanvas
from xrcore.phantom.patient import SIDES, Patient
from xrcore.phantom.shapes import Array, Field, sample, smooth_max, smooth_min

FAT, MUSCLE, ORGAN, URINE = -100.0, 55.0, 35.0, 8.0

# outline of the trunk by height: z, half width, front, back [mm]
OUTLINE = np.array(
    [
        (-140, 178, -78, 98),
        (-100, 182, -78, 106),
        (-60, 186, -80, 118),
        (-20, 187, -84, 125),
        (20, 185, -92, 126),
        (60, 180, -102, 122),
        (100, 173, -110, 116),
        (140, 165, -113, 110),
        (180, 160, -113, 108),
        (240, 162, -112, 108),
    ]
)


def extent(patient: Patient) -> tuple[tuple[float, float], tuple[float, float]]:
    """Corners (x, y) [mm] of a box that holds the body, with 8 mm of air around it."""
    s, extra = patient.size, patient.fat - 20
    half = OUTLINE[:, 1].max() * s * patient.wide + extra + 8
    z = OUTLINE[(OUTLINE[:, 0] > -110) & (OUTLINE[:, 0] < 210)]
    shift = _shift(patient, z[:, 0] * s)
    front = (z[:, 2] * s * patient.deep + shift).min() - 0.6 * extra - 8
    back = (z[:, 3] * s * patient.deep + shift).max() + 0.6 * extra + 8
    return (-half, front), (half, back)


def _shift(patient: Patient, z: NDArray) -> NDArray:
    """The trunk leans with the pelvis [mm along y]."""
    return -0.8 * np.sin(np.deg2rad(patient.tilt)) * np.maximum(z, 0)


def outline(patient: Patient, field: Field) -> Array:
    """Distance [mm] to the skin, negative inside: a trunk of super-ellipses, and two thighs below the perineum."""
    from scipy.interpolate import PchipInterpolator  # here, as it takes a while and few need a phantom

    s, extra = patient.size, patient.fat - 20
    half, front, back = (PchipInterpolator(OUTLINE[:, 0] * s, OUTLINE[:, i] * s) for i in (1, 2, 3))
    x, y, z = field.coordinates()
    shift = _shift(patient, z)
    a = (half(z) * patient.wide + extra).astype(np.float32)
    low, high = front(z) * patient.deep + shift - 0.6 * extra, back(z) * patient.deep + shift + 0.6 * extra
    b, c = ((high - low) / 2).astype(np.float32), ((high + low) / 2).astype(np.float32)
    level = ((np.abs(x) / a) ** 2.5 + (np.abs(y - c) / b) ** 2.5) ** np.float32(0.4)
    trunk = (level - 1) * np.minimum(a, b)
    between = np.abs(x) - np.float32(6) + np.maximum(z + np.float32(112 * s), -60) * np.float32(0.9)
    trunk = smooth_max(trunk, -0.7 * between, 18)
    furrow = np.sqrt(x**2 + (0.5 * (y - (c + b))) ** 2) - np.float32(9) + np.maximum(z - np.float32(30 * s), 0) * np.float32(0.6)
    return smooth_max(trunk, -furrow, 14)


def paint_soft_tissue(canvas: HuCanvas, patient: Patient, rng: np.random.Generator) -> None:
    """Fill the canvas from the skin inwards: fat, muscle, the abdominal cavity with its loops, the bladder."""
    low, high = (np.array([axis[i] for axis in canvas.axes]) for i in (0, -1))
    field = Field(low - 3, high + 3, spacing=3.0)
    skin = outline(patient, field)
    targets = canvas.axes
    canvas.hu = sample(_inner_tissue(canvas, patient, field, skin, rng), field.axes, targets)
    texture = canvas.texture("fine", (slice(None),) * 3)
    texture *= np.float32(9)
    canvas.hu += texture
    inside = sample(skin, field.axes, targets)
    inside *= np.float32(-1 / max(canvas.spacing, 1.0))
    inside += np.float32(0.5)
    np.clip(inside, 0, 1, out=inside)
    canvas.hu -= np.float32(AIR)
    canvas.hu *= inside
    canvas.hu += np.float32(AIR)


def _inner_tissue(canvas: HuCanvas, patient: Patient, field: Field, skin: Array, rng: np.random.Generator) -> Array:
    """HU on the lattice of the field; its distances are only used as scratch."""
    s, trunk = patient.size, patient.trunk()
    bands = canvas.texture_on("coarse", field.axes)
    hu = np.full(skin.shape, FAT, np.float32)
    _, y, _ = field.coordinates()
    # subcutaneous fat is thinnest in front and thickest over the buttocks
    fascia = skin + np.float32(patient.fat) * (0.75 + 0.35 * np.clip(y / 100, -0.6, 1)).astype(np.float32)
    _mix(hu, MUSCLE, fascia)
    # planes of fat between the muscles
    bundles = canvas.texture_on("coarse", [0.4 * axis for axis in field.axes])
    hu += np.clip(1.2 - np.abs(bundles) / np.float32(0.13), 0, 1) * (fascia < -4) * (FAT - hu) * np.float32(0.6)

    abdomen = field.ellipsoid(trunk([0, -22, 120]), np.array([122, 72, 150]) * s)
    small_pelvis = field.ellipsoid(trunk([0, 8, 8]), np.array([56, 44, 62]) * s)
    cavity = np.maximum(smooth_min(abdomen, small_pelvis, 30), fascia + 16)
    _mix(hu, FAT + 5, cavity)
    loops = np.clip((bands + 0.25) * 1.6, 0, 1) * np.clip(-cavity / 8, 0, 1)
    hu += loops * (ORGAN - hu)

    for side in SIDES:
        place = patient.side(side)
        psoas = [
            (36, 8, 215, 20),
            (42, 4, 170, 23),
            (52, -4, 125, 25),
            (68, -22, 78, 22),
            (82, -36, 40, 17),
            (93, -34, 2, 14),
            (108, -8, -40, 10),
        ]
        field.curve(place(psoas))
        field.curve(place([(34, 62, 220, 26), (33, 62, 160, 25), (30, 78, 110, 18)]))  # erector spinae
    _mix(hu, MUSCLE + 5, np.maximum(field.distance, fascia))

    radii = np.array([36, 27, 26]) * s * rng.uniform(0.8, 1.15)
    bladder = field.ellipsoid(trunk([rng.uniform(-5, 5), -22, 8]), radii)
    _mix(hu, MUSCLE - 15, bladder - 4)
    _mix(hu, URINE, bladder)
    _mix(hu, 20.0, -(skin + np.float32(0.5)), width=3.0)  # the skin itself
    return hu


def _mix(hu: Array, value: float, distance: Array, *, width: float = 4.0) -> None:
    """Blend `value` in where the distance is negative."""
    hu += np.clip(0.5 - distance / np.float32(width), 0, 1) * (np.float32(value) - hu)
