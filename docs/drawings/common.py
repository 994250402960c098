"""What the pictures share: the patient, a look, and bones to draw."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

import xrcore as xr
from xrcore.figures.colours import BLUE, DARK, GREEN, MUTED, ORANGE, PURPLE
from xrcore.geometry.presets import PAPER_CARM

__all__ = ["BLUE", "CARM", "DARK", "GREEN", "MUTED", "ORANGE", "PURPLE", "grey", "new_figure", "patient", "screen", "show", "source"]

CARM = PAPER_CARM
WIDTH, DPI = 8.0, 180  # inches and pixels an inch: 1440 pixels


@cache
def patient(implant: bool = True) -> xr.Volume:
    """The built-in patient; a hip replacement on one side tells left from right."""
    return xr.phantom.pelvis(0, 1.5, implant=implant)


def new_figure(height: float) -> Figure:
    """height: [inches]."""
    return Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")


def screen(pose: xr.Pose, *, carm: xr.CArm = CARM, volume: xr.Volume | None = None) -> Float[NDArray, "H W"]:
    """The DRR that a view shows."""
    image: Tensor = xr.render(patient() if volume is None else volume, carm, pose)[0]
    return image.numpy()


def grey(image: Float[NDArray, "H W"]) -> Float[NDArray, "H W"]:
    """In [0, 1], without the few brightest pixels setting the scale; metal would leave the bone dark."""
    low, high = np.percentile(image, (0.5, 99.2))
    return np.clip((image - low) / (high - low), 0, 1) ** 0.9


def show(axes: Axes, image: Float[NDArray, "H W"]) -> None:
    axes.imshow(grey(image), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
    axes.set_axis_off()


def source(pose: xr.Pose, carm: xr.CArm = CARM) -> Float[NDArray, "3"]:
    """Of the rays, relative to the isocentre: LPS [mm]."""
    centre = patient().isocenter
    return (pose.world_from_camera(carm, centre)[0, :3, 3] - centre).numpy()


def bone(volume: xr.Volume) -> xr.Volume:
    """The same patient, flesh removed."""
    density = volume.density * torch.tensor([float(m != "soft") for m in volume.materials])[:, None, None, None]
    return xr.Volume(density=density, materials=volume.materials, world_from_voxel=volume.world_from_voxel, isocenter=volume.isocenter)
