"""Heat maps of landmarks: the loss they are trained by, and how their peaks are read."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.learning.networks.unet import STRIDE

_SIGMA = 1.0  # of the heat maps that are asked for [cells]
_RADIUS = 3  # cells about a peak that belong to it
_TINY = 1e-30


def heat_map_loss(logits: Float[Tensor, "B L h w"], pixels: Float[Tensor, "B L 2"], visible: Bool[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Compare each landmark's heat map with a Gaussian about its pixel or, where it is not visible, with an empty map.

    A heat map is the softmax over its cells and one more of logit 0, "not in the image": it sums to at most 1, and to 0 when empty.

    Parameters
    ----------
    logits : Float[Tensor, "B L h w"]
        As `UNet` returns them.
    pixels : Float[Tensor, "B L 2"]
        Where the landmarks are in the input (row, col) [pixels].
    visible : Bool[Tensor, "B L"]
        Which of them are in the image.

    Returns
    -------
    Float[Tensor, "B L"]
        Cross-entropies.
    """
    with torch.no_grad():
        rows, cols = (
            torch.softmax(-0.5 * ((_centres(size, logits) - pixels[..., i, None]) / (_SIGMA * STRIDE)) ** 2, -1)
            for i, size in enumerate(logits.shape[2:])
        )  # (B, L, h) and (B, L, w)
    everything = torch.logsumexp(F.pad(logits.flatten(2), (0, 1)), -1)
    wanted = ((logits * rows[..., None]).sum(2) * cols).sum(-1)
    return everything - torch.where(visible, wanted, 0.0)


def peaks(logits: Float[Tensor, "B L h w"]) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L"]]:
    """Locate each heat map's peak: the centre of mass of the cells about its maximum.

    Parameters
    ----------
    logits : Float[Tensor, "B L h w"]
        As `UNet` returns them.

    Returns
    -------
    tuple
        Peaks (B, L, 2) in the input (row, col) [pixels], and the mass about them (B, L), 0 to 1.
    """
    width = logits.shape[3]
    heat = torch.softmax(F.pad(logits.float().flatten(2), (0, 1)), -1)[..., :-1]
    best = heat.argmax(-1)
    heat = heat.reshape(logits.shape)
    near_row, near_col = (
        (torch.arange(size, device=logits.device) - at[..., None]).abs() <= _RADIUS
        for size, at in zip(logits.shape[2:], (best // width, best % width), strict=True)
    )
    heat = heat * near_row[..., None] * near_col[..., None, :]
    mass = heat.sum((2, 3))
    row, col = ((heat.sum(5 - axis) * _centres(logits.shape[axis], logits)).sum(-1) / mass.clamp_min(_TINY) for axis in (2, 3))
    return torch.stack([row, col], -1), mass


def _centres(size: int, like: Tensor) -> Tensor:
    """Centres of the cells, in pixels of the input."""
    return STRIDE * torch.arange(size, dtype=torch.float32, device=like.device) + (STRIDE - 1) / 2
