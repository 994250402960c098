"""The CTs that a start model is trained on: patients and phantoms, each in several variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from companion.experiments.patients import Patient, Phantom
from xrcore import Volume

VARIANTS = 6  # of each patient, the CT itself among them
PHANTOMS = 12
# largest changes
_ZOOM = 0.12  # of the whole body, and once more half as much of each axis
_ROTATION, _SHIFT = 4.0, 10.0  # [deg, mm], of the body about the isocentre
_DENSITY = 0.2  # of each material, in logarithms


def cohort(patients: Sequence[Patient], *, variants: int = VARIANTS, phantoms: int = PHANTOMS, spacing: float = 3.0) -> list[Volume]:
    """Make the CTs of a start model.

    Parameters
    ----------
    patients : Sequence[Patient]
        Whose CTs.
    variants : int
        Of each.
    phantoms : int
        Procedural patients beside them, every third with an implant.
    spacing : float
        Of the voxels [mm].

    Returns
    -------
    list of Volume
        For `xrcore.learning.train_start`.
    """
    volumes = []
    for number, patient in enumerate(patients):
        whole = without_air(patient.volume(spacing))
        volumes += [whole] + [varied(whole, number * variants + change) for change in range(1, variants)]
    return volumes + [without_air(Phantom(100 + seed, implant=seed % 3 == 0).volume(spacing)) for seed in range(phantoms)]


def varied(volume: Volume, seed: int) -> Volume:
    """Change a patient at random: size, proportions, left and right, how it lies, how dense its tissues are.

    Parameters
    ----------
    volume : Volume
        The CT.
    seed : int
        Of the changes.

    Returns
    -------
    Volume
        Another patient, of the same isocentre.
    """
    random = np.random.default_rng((seed, 17))
    zoom = np.exp(random.uniform(-_ZOOM, _ZOOM) + random.uniform(-_ZOOM / 2, _ZOOM / 2, 3))
    zoom[0] *= random.choice((-1, 1))  # left and right
    turn = np.radians(random.uniform(-_ROTATION, _ROTATION, 3))
    change = np.eye(4)
    change[:3, :3] = torch.linalg.matrix_exp(torch.tensor(np.cross(np.eye(3), turn))).numpy() @ np.diag(zoom)
    change[:3, 3] = random.uniform(-_SHIFT, _SHIFT, 3)
    center = np.eye(4)
    center[:3, 3] = volume.isocenter
    scales = torch.tensor(np.exp(random.uniform(-_DENSITY, _DENSITY, len(volume.materials))), dtype=torch.float32)
    matrix = torch.tensor(center @ change @ np.linalg.inv(center)) @ volume.world_from_voxel
    return replace(volume, density=volume.density * scales[:, None, None, None], world_from_voxel=matrix, isocenter=volume.isocenter)


def without_air(volume: Volume) -> Volume:
    """Cut off the empty margins of a CT.

    Parameters
    ----------
    volume : Volume
        The CT.

    Returns
    -------
    Volume
        The same body, of the same isocentre.
    """
    held = torch.nonzero(volume.density.sum(0))
    low, high = held.amin(0), held.amax(0) + 1
    density = volume.density[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]].clone()
    matrix = volume.world_from_voxel.clone()
    matrix[:3, 3] += matrix[:3, :3] @ low.flip(0).double()
    return replace(volume, density=density, world_from_voxel=matrix, isocenter=volume.isocenter)
