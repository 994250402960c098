"""Changes of what the beam passes through: soft tissue, things in the way, collimators that leak."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xrcore.simulation.clinical.changes import ClinicalChanges
from xrcore.simulation.clinical.pages import UNIT
from xrcore.simulation.clinical.subsets import Subset


def attenuate(images: Float[Tensor, "B H W"], changes: Sequence[ClinicalChanges]) -> Float[Tensor, "B H W"]:
    """Add to attenuation images what else the beam passes through.

    Parameters
    ----------
    images : Float[Tensor, "B H W"]
        Attenuation of the patient.
    changes : Sequence of ClinicalChanges
        Of each.

    Returns
    -------
    Float[Tensor, "B H W"]
        The attenuation of all.
    """
    shape = images.shape[1:]
    if some := Subset(changes, lambda c: c.tissue is not None, images):
        grid = some.stacked(lambda c: c.tissue)
        change = F.interpolate(grid[:, None], size=shape, mode="bicubic", align_corners=True)[:, 0]
        images = some.put(images, some.of(images) * (1 + change).clamp_min(0.1))
    if some := Subset(changes, lambda c: c.obstacles is not None, images):
        images = some.put(images, some.of(images) + UNIT * some.stacked(lambda c: c.obstacles))
    if some := Subset(changes, lambda c: c.blades is not None and not c.known and c.leak > 0, images):
        images = some.put(images, some.of(images) + some.stacked(lambda c: c.leak) * some.stacked(lambda c: c.blades))
    if some := Subset(changes, lambda c: any(c.shading), images):
        y, x = (torch.linspace(-1, 1, n, device=images.device) for n in shape)
        right, bottom, corners = (some.stacked(lambda c, n=n: c.shading[n]) for n in range(3))  # type: ignore[misc]
        shade = right * x + bottom * y[:, None] + corners * (x**2 + y[:, None] ** 2)
        images = some.put(images, some.of(images) + shade - shade.amin((1, 2), keepdim=True))
    return images
