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


def ray_twists(carm: CArm, device: torch.device | str = "cpu") -> Float[Tensor, "H W 6 3"]:
    """Give the motion of the camera that moves each pixel's ray as a change of the intrinsics does.

    With this the image's exact derivative by the intrinsics follows from that by the pose: a change of a ray's direction is a turn about
    its source, as what lies along the ray does not change the image.

    Parameters
    ----------
    carm : CArm
        The imaging system.
    device : torch.device or str
        Where they are made.

    Returns
    -------
    Float[Tensor, "H W 6 3"]
        Camera-frame twists (v, w) [mm, rad] per mm of `source_to_detector`, and per pixel of the row and column of `principal_point`.
    """
    rays, origins = camera_rays(carm, device=device), ray_origins(carm, device=device)
    turned, shifted = torch.zeros(2, *carm.shape, 3, 3, dtype=torch.float64, device=device)  # of directions and sources
    turned[..., :2, 0] = -rays[..., :2] / carm.source_to_detector
    for number, axis in ((1, 1), (2, 0)):  # rows move along y, columns along x
        turned[..., axis, number] = -1 / carm.focal_lengths[number - 1]
        shifted[..., axis, number] = -carm.source_steps[number - 1]
    w = torch.linalg.cross(rays.unsqueeze(-1).expand_as(turned), turned, dim=-2) / (rays**2).sum(-1)[..., None, None]
    v = shifted + torch.linalg.cross(origins.unsqueeze(-1).expand_as(w), w, dim=-2)
    return torch.cat([v, w], -2)


def _from_center(carm: CArm, device: torch.device | str) -> list[Tensor]:
    """Pixels from the principal point, of rows and of columns."""
    return [torch.arange(n, dtype=torch.float64, device=device) - c for n, c in zip(carm.shape, carm.center, strict=True)]
