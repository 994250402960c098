"""Corners of a box in a volume's grid."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.ct.volume import Volume
from xrcore.geometry.rigid import apply


def corners(volume: Volume, low: float = 0.25, high: float = 0.75) -> Float[Tensor, "8 3"]:
    """Corners of a box within the grid, by default its middle half: a stand-in for landmarks where only displacements matter.

    Parameters
    ----------
    volume : Volume
        The CT.
    low, high : float
        Where along each edge of the grid, as shares from the first voxel to the last; default the middle half.

    Returns
    -------
    Float[Tensor, "8 3"]
        World points [mm].
    """
    z, y, x = volume.shape
    unit = torch.cartesian_prod(*[torch.tensor([low, high], dtype=torch.float64)] * 3)
    index = unit * torch.tensor([x - 1, y - 1, z - 1], dtype=torch.float64)
    return apply(volume.world_from_voxel, index)
