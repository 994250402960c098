"""A steel rod in the beam, such as an instrument."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from xrcore.geometry import CArm, camera_rays, ray_origins

STEEL = 7.9  # [g/cm3]


def rod_area_density(carm: CArm, diameter: float, generator: np.random.Generator) -> Float[NDArray, "H W"]:
    """Area density [g/cm2] of a steel rod that ends near the isocentre and comes in from outside the field.

    diameter: [mm]. Its tip, direction and tilt are drawn from `generator`.
    """
    tip, axis, length = place_rod(carm, generator)
    return STEEL / 10 * chords(camera_rays(carm).numpy(), tip - ray_origins(carm).numpy(), axis, length, diameter / 2)


def place_rod(carm: CArm, generator: np.random.Generator) -> tuple[Float[NDArray, "3"], Float[NDArray, "3"], float]:
    """Tip [mm], direction and length [mm] of a rod in the camera's frame."""
    # half the field's smaller side, at the isocentre's depth
    reach = min(n * s for n, s in zip(carm.shape, carm.spacing_at(carm.source_to_isocenter), strict=True)) / 2
    tip = np.array([*generator.uniform(-0.4 * reach, 0.4 * reach, 2), carm.source_to_isocenter + generator.uniform(-50, 50)])
    turn, tilt = generator.uniform(0, 2 * math.pi), generator.uniform(-0.5, 0.5)
    axis = np.array([math.cos(turn) * math.cos(tilt), math.sin(turn) * math.cos(tilt), math.sin(tilt)])
    return tip, axis, 4 * reach


def chords(
    rays: Float[NDArray, "H W 3"], tip: Float[NDArray, "*rays 3"], axis: NDArray, length: float, radius: float
) -> Float[NDArray, "H W"]:
    """Length [mm] of each ray inside a rod, whose ends are cut where the axis is nearest to the ray; tip: from the ray's origin."""
    u = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    cross = np.cross(u, axis)
    sine = np.maximum(np.linalg.norm(cross, axis=-1), 1e-6)
    distance = np.abs((cross * tip).sum(-1)) / sine
    cosine = u @ axis
    along = (cosine * (u * tip).sum(-1) - tip @ axis) / sine**2
    inside = (distance < radius) & (along >= 0) & (along <= length)
    return np.where(inside, 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0.0)) / sine, 0.0)
