"""The procedural pelvis: a patient without a download."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume, volume_from_hu
from xrcore.phantom.bowel import paint_bowel
from xrcore.phantom.canvas import AIR, Canvas
from xrcore.phantom.hip_bone import HIP_CENTER, wing
from xrcore.phantom.patient import SIDES, Patient
from xrcore.phantom.skeleton import paint_skeleton
from xrcore.phantom.soft_tissue import extent, paint_soft_tissue
from xrcore.phantom.spine import COCCYX, ENDPLATE

BOTTOM, TOP = -102.0, 198.0  # of the scan, from the hip centres [mm]


def pelvis(seed: int = 0, spacing: float = 1.5, implant: bool = False) -> Volume:
    """A pelvis with lumbar spine and proximal femora, made from its seed; see `pelvis_hu`."""
    hu, world_from_voxel = pelvis_hu(seed, spacing, implant)
    return volume_from_hu(hu, world_from_voxel, spacing=None)


def pelvis_hu(seed: int = 0, spacing: float = 1.5, implant: bool = False) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """The CT behind `pelvis`: HU (z, y, x) and world_from_voxel (4 x 4, LPS mm), the body's middle near the origin.

    seed: which patient: size, sex, pose of pelvis, spine and femora, bone density, fat and bowel gas, and a texture.
    spacing: voxel size [mm], 0.5 to 10; the same seed is the same patient at every spacing.
    implant: a total hip replacement on one side, whose metal has 6000 HU.
    Bones are signed distances, smoothly joined, in anatomical proportions; the model is for simulation, not for diagnosis.
    """
    if not 0.5 <= spacing <= 10:
        raise XrcoreError(f"pelvis: spacing must lie within 0.5 to 10 mm, got {spacing!r}")
    rng, patient, side = _patient(seed)
    low, high = _extent(patient)
    canvas = Canvas(low, high, spacing, rng)
    paint_soft_tissue(canvas, patient, rng)
    paint_bowel(canvas, patient, rng)
    paint_skeleton(canvas, patient, side if implant else None)
    world_from_voxel = np.diag([spacing, spacing, spacing, 1.0])
    world_from_voxel[:3, 3] = [-(len(axis) - 1) / 2 * spacing for axis in canvas.axes]
    return np.rint(np.maximum(canvas.hu, AIR)).astype(np.int16), world_from_voxel


def pelvis_landmarks(seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Anatomical landmarks of `pelvis(seed)` by name, LPS [mm], in its world; "left" is the patient's."""
    _, patient, _ = _patient(seed)
    plate = wing(patient.female)
    paired: dict[str, ArrayLike] = {
        "hip center": HIP_CENTER,
        "anterior superior iliac spine": plate[0, -1, :3],
        "anterior inferior iliac spine": plate[0, 0, :3],
        "iliac crest": plate[3, -1, :3],
        "posterior superior iliac spine": plate[-1, 2, :3],
        "ischial spine": (46, 50, -14),
        "ischial tuberosity": (60, 31, -71),
        "pubic tubercle": (25, -56, -14),
        "obturator foramen": (42, -18, -42),
    }
    points = {f"{name} {word}": patient.side(s)(p) for name, p in paired.items() for s, word in zip(SIDES, ("left", "right"), strict=True)}
    points |= {name: patient.trunk()(p) for name, p in {"sacral endplate": ENDPLATE, "coccyx": COCCYX[-1, :3]}.items()}
    low, high = _extent(patient)
    return {name: point - (low + high) / 2 for name, point in points.items()}


def _patient(seed: int) -> tuple[np.random.Generator, Patient, int]:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise XrcoreError(f"pelvis: seed must be a whole number, 0 or more, got {seed!r}")
    rng = np.random.default_rng(seed)
    patient = Patient.random(rng)
    return rng, patient, SIDES[int(rng.integers(2))]


def _extent(patient: Patient) -> tuple[NDArray, NDArray]:
    low, high = extent(patient)
    return np.array([*low, BOTTOM]), np.array([*high, TOP])
