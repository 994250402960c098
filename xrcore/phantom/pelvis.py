"""The procedural pelvis: a patient without a download."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xrcore._util.errors import is_number, is_whole, require
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct import Volume, volume_from_hu
from xrcore.phantom.bowel import paint_bowel
from xrcore.phantom.hip import HIP_CENTER, wing
from xrcore.phantom.hu_canvas import AIR, HuCanvas
from xrcore.phantom.patient import SIDES, Patient
from xrcore.phantom.shapes import sample
from xrcore.phantom.skeleton import bones_by_name, paint_skeleton
from xrcore.phantom.soft_tissue import extent, paint_soft_tissue
from xrcore.phantom.spine import COCCYX, ENDPLATE

BOTTOM, TOP = -102.0, 198.0  # of the scan, from the hip centres [mm]


@memory_advice("phantom.pelvis", "a larger spacing needs less")
def pelvis(seed: int = 0, spacing: float = 1.5, implant: bool = False) -> Volume:
    """Make a pelvis with lumbar spine and proximal femora from a seed.

    Parameters
    ----------
    seed : int
        Which patient, 0 or more; see `pelvis_hu`.
    spacing : float
        Voxel size [mm], 0.5 to 10.
    implant : bool
        Whether one side has a total hip replacement.

    Returns
    -------
    Volume
        The patient, the body's middle near the world's origin.

    Examples
    --------
    >>> import xrcore as xr
    >>> volume = xr.phantom.pelvis(spacing=8)
    >>> volume.materials
    ('soft', 'bone')
    """
    hu, world_from_voxel = pelvis_hu(seed, spacing, implant)
    return volume_from_hu(hu, world_from_voxel, spacing=None)


def pelvis_hu(seed: int = 0, spacing: float = 1.5, implant: bool = False) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Make the CT behind `pelvis`.

    Bones are signed distances, smoothly joined, in anatomical proportions; the model is for simulation, not for diagnosis.

    Parameters
    ----------
    seed : int
        Which patient, 0 or more: size, sex, pose of pelvis, spine and femora, bone density, fat and bowel gas, and a texture.
    spacing : float
        Voxel size [mm], 0.5 to 10; the same seed is the same patient at every spacing.
    implant : bool
        Whether one side has a total hip replacement, whose metal has 6000 HU.

    Returns
    -------
    hu : Int16[ndarray, "D H W"]
        Hounsfield units, axes (z, y, x).
    world_from_voxel : Float64[ndarray, "4 4"]
        From (x-, y-, z-index, 1) to LPS [mm], the body's middle near the origin.

    Raises
    ------
    XrcoreError
        If seed or spacing is none of these.
    """
    require("pelvis", "spacing", spacing, is_number(spacing) and 0.5 <= spacing <= 10, "within 0.5 to 10 mm")
    rng, patient, side = _patient(seed)
    low, high = _extent(patient)
    canvas = HuCanvas(low, high, spacing, rng)
    paint_soft_tissue(canvas, patient, rng)
    paint_bowel(canvas, patient, rng)
    paint_skeleton(canvas, patient, side if implant else None)
    return np.rint(np.maximum(canvas.hu, AIR)).astype(np.int16), _grid(canvas, spacing)


def pelvis_landmarks(seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Name the anatomical landmarks of `pelvis(seed)`.

    Parameters
    ----------
    seed : int
        Which patient, 0 or more.

    Returns
    -------
    dict of str to Float64[ndarray, "3"]
        LPS [mm] by name, in the phantom's world; "left" is the patient's.
    """
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


def pelvis_labels(
    seed: int = 0, spacing: float = 1.5, implant: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float64], dict[str, int]]:
    """Label the bones of `pelvis(seed)`.

    Parameters
    ----------
    seed : int
        Which patient, 0 or more.
    spacing : float
        Voxel size [mm], 0.5 to 10.
    implant : bool
        Whether one side has a total hip replacement, whose femur lacks its head.

    Returns
    -------
    labels : UInt8[ndarray, "D H W"]
        On the grid of `pelvis_hu` at this spacing; 0 outside the bones.
    world_from_voxel : Float64[ndarray, "4 4"]
        As of `pelvis_hu`.
    values : dict of str to int
        The label of each bone by name; "left" is the patient's.

    Raises
    ------
    XrcoreError
        If seed or spacing is none of these.
    """
    require("pelvis_labels", "spacing", spacing, is_number(spacing) and 0.5 <= spacing <= 10, "within 0.5 to 10 mm")
    rng, patient, replaced = _patient(seed)
    low, high = _extent(patient)
    canvas = HuCanvas(low, high, spacing, rng)
    bones = bones_by_name(patient, replaced if implant else None)
    labels = np.zeros(canvas.hu.shape, np.uint8)
    for number, fields in enumerate(bones.values(), 1):
        for field in fields:
            box = canvas.box(field)
            if all(part.stop > part.start for part in box):
                labels[box][sample(field.distance, field.axes, canvas.targets(box)) < 0] = number
    return labels, _grid(canvas, spacing), {name: number for number, name in enumerate(bones, 1)}


def _grid(canvas: HuCanvas, spacing: float) -> NDArray[np.float64]:
    """world_from_voxel: the body's middle at the origin."""
    world_from_voxel = np.diag([spacing, spacing, spacing, 1.0])
    world_from_voxel[:3, 3] = [-(len(axis) - 1) / 2 * spacing for axis in canvas.axes]
    return world_from_voxel


def _patient(seed: int) -> tuple[np.random.Generator, Patient, int]:
    require("pelvis", "seed", seed, is_whole(seed) and seed >= 0, "a whole number, 0 or more")
    rng = np.random.default_rng(seed)
    patient = Patient.random(rng)
    return rng, patient, SIDES[int(rng.integers(2))]


def _extent(patient: Patient) -> tuple[NDArray, NDArray]:
    low, high = extent(patient)
    return np.array([*low, BOTTOM]), np.array([*high, TOP])
