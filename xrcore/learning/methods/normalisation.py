"""Normalisation of X-rays for a network."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_CLIP = 5.0  # standard deviations
_SAMPLES = 32  # along each side, of the pixels among which ranks are counted


def normalise(images: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], normalisation: str) -> Float[Tensor, "B 1 H W"]:
    """Normalise images within their masks.

    Parameters
    ----------
    images : Float[Tensor, "B H W"]
        Attenuation, bone bright.
    masks : Bool[Tensor, "B H W"]
        True inside the field of view.
    normalisation : str
        "standard": zero mean, unit variance, clipped at 5; "min-max": 1 - (0 to 1), bone dark; "rank": uniform from -sqrt(3) to sqrt(3).

    Returns
    -------
    Float[Tensor, "B 1 H W"]
        Network input, zero outside the mask.
    """
    if normalisation == "rank":
        return _ranks(images, masks)[:, None]
    inside = masks.to(images.dtype)
    count = inside.sum((1, 2), keepdim=True).clamp_min(1)
    seen = torch.where(masks, images, 0.0)
    if normalisation == "standard":
        mean = seen.sum((1, 2), keepdim=True) / count
        deviation = ((seen - mean) * inside).square().sum((1, 2), keepdim=True).div(count).sqrt().clamp_min(1e-6)
        return (((seen - mean) / deviation).clamp(-_CLIP, _CLIP) * inside)[:, None]
    low = torch.where(masks, images, torch.inf).amin((1, 2), keepdim=True)
    high = torch.where(masks, images, -torch.inf).amax((1, 2), keepdim=True)
    return ((1 - (seen - low) / (high - low).clamp_min(1e-6)) * inside)[:, None]


def _ranks(images: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """Share of the masks' pixels that are darker, alike ones counted half, with unit variance; counted on some of the pixels."""
    every = slice(None, None, max(1, min(images.shape[1:]) // _SAMPLES))
    among = masks[:, every, every].flatten(1)
    ascending = torch.where(among, images[:, every, every].flatten(1), torch.inf).sort(1).values
    values = torch.where(masks, images, 0.0).flatten(1)
    below, up_to = (torch.searchsorted(ascending, values, side=side) for side in ("left", "right"))
    count = among.sum(1, keepdim=True).clamp_min(1)
    ranks = (below + up_to) / count - 1
    return torch.where(masks, (3**0.5 * ranks).reshape(images.shape), 0.0).to(images.dtype)
