"""A patient with a metal ball, on which the projection distance is measured, as in the paper's pelvis phantom."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from companion.experiments.patients import Subject
from xrcore import Volume

STEEL = 7.9  # [g/cm3]
_PLACED_AT = 2.0  # [mm], spacing of the CT on which the ball's place is chosen
_SAMPLES = 4  # a voxel's side, for the share of it that the ball fills


class WithBall:
    """A subject whose CT holds a steel ball, fixed in a bone near the middle: the same place at every spacing.

    Other tissue gives way where the ball is. The number gains "o".

    Parameters
    ----------
    subject : Subject
        Whose CT.
    radius : float
        Of the ball [mm].
    """

    def __init__(self, subject: Subject, radius: float = 4.0) -> None:
        self.subject, self.radius = subject, radius
        self.number, self.name = f"{subject.number}o", f"{subject.name} with a ball"

    @cached_property
    def center(self) -> Float[Tensor, "3"]:
        """Centre of the ball, LPS [mm]: of the dense bone's landmarks the one nearest the isocentre, so that every view shows it."""
        volume = self.subject.volume(_PLACED_AT)
        points = volume.surface_points()
        return points[torch.linalg.norm(points - volume.isocenter, dim=1).argmin()]

    def volume(self, spacing: float) -> Volume:
        """Give the CT with the ball.

        Parameters
        ----------
        spacing : float
            Of the voxels [mm].

        Returns
        -------
        Volume
            The ball is its last material, "iron".
        """
        return insert_ball(self.subject.volume(spacing), self.center, self.radius)


def insert_ball(volume: Volume, center: Float[Tensor, "3"], radius: float) -> Volume:
    """Put a steel ball into a copy of a volume.

    Parameters
    ----------
    volume : Volume
        The patient.
    center : Float[Tensor, "3"]
        Of the ball, LPS [mm].
    radius : float
        Of the ball [mm].

    Returns
    -------
    Volume
        Each voxel holds the share of the ball that it covers.
    """
    share = coverage(volume, center, radius)
    density = torch.cat([volume.density * (1 - share), STEEL * share[None]])
    return replace(volume, density=density, materials=(*volume.materials, "iron"))


def coverage(volume: Volume, center: Float[Tensor, "3"], radius: float) -> Float[Tensor, "D H W"]:
    """Sample which share of each voxel is inside a ball.

    Parameters
    ----------
    volume : Volume
        Its voxels.
    center : Float[Tensor, "3"]
        Of the ball, LPS [mm].
    radius : float
        Of the ball [mm].

    Returns
    -------
    Float[Tensor, "D H W"]
        From 0 to 1.
    """
    inner = (torch.arange(_SAMPLES, dtype=torch.float64) + 0.5) / _SAMPLES - 0.5
    middle = volume.voxel_from_world[:3, :3] @ center.double() + volume.voxel_from_world[:3, 3]
    reach = radius / min(volume.spacing) + 1
    # only voxels about the ball
    low = [max(0, int(torch.floor(m - reach))) for m in middle]
    high = [min(n, int(torch.ceil(m + reach)) + 1) for m, n in zip(middle, reversed(volume.shape), strict=True)]
    axes = [(torch.arange(a, b, dtype=torch.float64)[:, None] + inner).flatten() for a, b in zip(low, high, strict=True)]
    z, y, x = torch.meshgrid(*reversed(axes), indexing="ij")
    offset = (torch.stack([x, y, z], -1) - middle) @ volume.world_from_voxel[:3, :3].T
    inside = (torch.linalg.norm(offset, dim=-1) <= radius).to(volume.density)
    share = torch.zeros(volume.shape, dtype=volume.density.dtype)
    pooled = torch.nn.functional.avg_pool3d(inside[None, None], _SAMPLES)[0, 0]
    share[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = pooled
    return share
