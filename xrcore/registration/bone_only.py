"""Tell volumes whose soft tissue is missing, such as a CT of which a label map keeps the bones."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from xrcore.ct.volume import Volume

_SPACING, _DEPTH = 4.0, 2  # [mm], [voxels] of the surface
_MASS = 0.3  # [g/cm3] of what is not air
_LEAST_BONE = 0.17  # of the surface's mass: 0 to 0.145 of trunks and heads with their skin, from 0.23 up where a label map keeps the bones


def is_bone_only(volume: Volume) -> bool:
    """Whether the surface of a body is bone, so that the soft tissue about it must be missing.

    Parameters
    ----------
    volume : Volume
        The CT.

    Returns
    -------
    bool
        Kept with the volume once found.
    """
    coarse = volume.coarser(_SPACING)
    return volume.derived("bone_only", lambda: _bone_share_of_surface(coarse) > _LEAST_BONE)


def is_implant(volume: Volume) -> bool:
    """Whether there is no tissue at all, so that whatever an X-ray shows beside the body is another thing."""
    return not {"soft", "water", "bone"} & set(volume.materials)


def _bone_share_of_surface(volume: Volume) -> float:
    if is_implant(volume):
        return 1.0
    if "bone" not in volume.materials:
        return 0.0
    mass = volume.density.sum(0)
    surface = (mass > _MASS) & ~_eroded(mass > _MASS)
    return float(volume.material("bone")[surface].sum() / mass[surface].sum().clamp_min(1e-9))


def _eroded(body: Bool[Tensor, "D H W"]) -> Bool[Tensor, "D H W"]:
    """The body without its outer voxels; where the grid cuts it, it goes on."""
    air = (~body).float()[None, None]
    return F.max_pool3d(air, 2 * _DEPTH + 1, stride=1, padding=_DEPTH)[0, 0] == 0
