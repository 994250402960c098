"""Rays of a view: one per pixel, from the source through the pixel's centre."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.geometry.carm import CArm


def camera_rays(carm: CArm, dtype: torch.dtype = torch.float64) -> Float[Tensor, "H W 3"]:
    """Directions in the camera frame, scaled to reach depth z = 1."""
    rows, cols = carm.shape
    k = carm.K
    y = (torch.arange(rows, dtype=torch.float64) - k[1, 2]) / k[1, 1]
    x = (torch.arange(cols, dtype=torch.float64) - k[0, 2]) / k[0, 0]
    v, u = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1).to(dtype)
