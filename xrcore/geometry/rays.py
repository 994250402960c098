"""Rays of a view: one per pixel, from the source through the pixel's centre."""

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
    steps = zip(carm.shape, carm.center, carm.spacing, strict=True)
    lines = [(torch.arange(n, dtype=torch.float64, device=device) - c) * (s / carm.source_to_detector) for n, c, s in steps]
    v, u = torch.meshgrid(*lines, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1).to(dtype)
