"""Changes of what the beam passes through: soft tissue, things in the way, collimators that leak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore.simulation.clinical.changes import ClinicalChanges
from xrcore.simulation.clinical.pages import UNIT


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
        A new tensor.
    """
    images = images.clone()
    if chosen := [i for i, c in enumerate(changes) if c.tissue is not None]:
        grid = on_device(np.stack([changes[i].tissue for i in chosen]), images.device)
        images[chosen] *= 1 + F.interpolate(grid[:, None], size=images.shape[1:], mode="bicubic", align_corners=True)[:, 0]
    if chosen := [i for i, c in enumerate(changes) if c.obstacles is not None]:
        images[chosen] += UNIT * on_device(np.stack([changes[i].obstacles for i in chosen]), images.device)
    if chosen := [i for i, c in enumerate(changes) if c.blades is not None and not c.known and c.leak > 0]:
        images[chosen] += on_device(np.stack([np.float32(changes[i].leak) * changes[i].blades for i in chosen]), images.device)
    if chosen := [i for i, c in enumerate(changes) if any(c.shading)]:
        rows, cols = (torch.linspace(-1, 1, n, device=images.device) for n in images.shape[1:])
        shapes = torch.stack([cols.expand(images.shape[1:]), rows[:, None].expand(images.shape[1:]), rows[:, None] ** 2 + cols**2])
        amounts = on_device(np.array([changes[i].shading for i in chosen], dtype=np.float32), images.device)
        images[chosen] += torch.einsum("bk,khw->bhw", amounts, shapes)
    return images
