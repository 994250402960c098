"""Rays of a view: one per pixel, from its source through the pixel's centre."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.geometry.carm import CArm


def camera_rays(carm: CArm, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Float[Tensor, "H W 3"]:
    """Give the direction of each pixel's ray in the camera frame.

    Parameters
    ----------
    carm : CArm
        The imaging system.
    dtype : torch.dtype
        Of the result; computed in float64.
    device : torch.device or str
        Where they are made.

    Returns
    -------
    Float[Tensor, "H W 3"]
        From the source through the pixel's centre, scaled to reach depth z = 1.
    """
    v, u = torch.meshgrid(*(line / f for line, f in zip(_from_center(carm, device), carm.focal_lengths, strict=True)), indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1).to(dtype)


def ray_origins(carm: CArm, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Float[Tensor, "H W 3"]:
    """Give the source of each pixel's ray in the camera frame: the origin, but for a slot scan.

    Parameters
    ----------
    carm : CArm
        The imaging system.
    dtype : torch.dtype
        Of the result; computed in float64.
    device : torch.device or str
        Where they are made.

    Returns
    -------
    Float[Tensor, "H W 3"]
        [mm].
    """
    v, u = torch.meshgrid(*(line * s for line, s in zip(_from_center(carm, device), carm.source_steps, strict=True)), indexing="ij")
    return torch.stack([u, v, torch.zeros_like(u)], -1).to(dtype)


def _from_center(carm: CArm, device: torch.device | str) -> list[Tensor]:
    """Pixels from the principal point, of rows and of columns."""
    return [torch.arange(n, dtype=torch.float64, device=device) - c for n, c in zip(carm.shape, carm.center, strict=True)]
