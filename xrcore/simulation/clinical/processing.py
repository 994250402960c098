"""What a workstation makes of an exposure: window, curve, local contrast, marks, polarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore.simulation.clinical.changes import SCALES, ClinicalChanges

_STRIDE = 3  # of the pixels that a window is measured on
_FLAT = 0.04  # deviation of grey values below which equalisation lifts no more


def process(
    images: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], changes: Sequence[ClinicalChanges]
) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
    """Process exposed images as workstations do.

    Parameters
    ----------
    images : Float[Tensor, "B H W"]
        As exposed, bone bright.
    masks : Bool[Tensor, "B H W"]
        True inside the field of view.
    changes : Sequence of ClinicalChanges
        Of each.

    Returns
    -------
    images : Float[Tensor, "B H W"]
        Grey values, those of images that are not touched as they were.
    masks : Bool[Tensor, "B H W"]
        Without collimators that a file shows as such.
    """
    device = images.device
    if chosen := [i for i, c in enumerate(changes) if c.blades is not None and c.known]:
        masks = masks.clone()
        masks[chosen] &= ~on_device(np.stack([changes[i].blades for i in chosen]), device)
    touched = [i for i, c in enumerate(changes) if c.window != (0.0, 1.0)]
    if not touched:
        return images, masks
    some, inside = [changes[i] for i in touched], masks[touched]

    def column(values: Callable[[ClinicalChanges], float], among: Sequence[int] | None = None) -> Float[Tensor, "N 1 1"]:
        numbers = [values(c) for c in (some if among is None else [some[i] for i in among])]
        return on_device(np.array(numbers, dtype=np.float32)[:, None, None], device)

    grey = _windowed(images[touched], inside, column(lambda c: c.window[0]), column(lambda c: c.window[1]))
    if part := [i for i, c in enumerate(some) if c.gamma != 1]:
        grey[part] = grey[part] ** column(lambda c: c.gamma, part)
    if part := [i for i, c in enumerate(some) if c.slope]:
        grey[part] = torch.sigmoid(column(lambda c: c.slope, part) * (grey[part] - column(lambda c: c.middle, part)))
    if part := [i for i, c in enumerate(some) if c.counts]:
        grey[part] = -torch.expm1(-column(lambda c: c.counts, part) * grey[part])
    for windows in SCALES:
        if part := [i for i, c in enumerate(some) if c.windows == windows]:
            mean, deviation = _local(grey[part], inside[part], windows)
            beyond = grey[part] - mean
            weight = column(lambda c: c.equalise, part)
            alike = 0.5 + 0.2 * beyond / (deviation + _FLAT)
            grey[part] = torch.lerp(grey[part] + column(lambda c: c.sharpen, part) * beyond, alike, weight)
    if part := [i for i, c in enumerate(some) if c.blades is not None and not c.known and c.leak == 0]:
        shut = on_device(np.stack([some[i].blades for i in part]), device)
        grey[part] = torch.where(shut, torch.where(inside[part], grey[part], torch.inf).amin((1, 2), keepdim=True), grey[part])
    if part := [i for i, c in enumerate(some) if c.ink is not None]:
        coverage = on_device(np.stack([some[i].ink for i in part]), device) / 255
        seen = grey[part]
        black = torch.where(inside[part], seen, torch.inf).amin((1, 2), keepdim=True)
        white = torch.where(inside[part], seen, -torch.inf).amax((1, 2), keepdim=True)
        dark = column(lambda c: c.dark_ink, part)
        grey[part] = torch.lerp(seen, white + dark * (black - white), coverage)
    grey *= column(lambda c: -1 if c.inverted else 1)
    images = images.clone()
    images[touched] = grey
    return images, masks


def _windowed(
    images: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], low: Float[Tensor, "B 1 1"], high: Float[Tensor, "B 1 1"]
) -> Float[Tensor, "B H W"]:
    """Grey values from 0 to 1 between two quantiles within the masks."""
    every = slice(None, None, _STRIDE)
    inside = masks[:, every, every].flatten(1)
    ascending = torch.where(inside, images[:, every, every].flatten(1), torch.inf).sort(1).values
    last = (inside.sum(1, keepdim=True) - 1).clamp_min(0)
    black, white = (ascending.gather(1, (share[:, 0] * last).round().long())[..., None] for share in (low, high))
    return ((images - black) / (white - black).clamp_min(1e-6)).clamp(0, 1)


def _local(
    grey: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], windows: int
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Mean and deviation around each pixel, interpolated between `windows` windows along each side."""
    weight = masks.float()
    size = max(1, min(grey.shape[1:]) // windows)
    sums = F.avg_pool2d(torch.stack([weight, weight * grey, weight * grey**2], 1), size, ceil_mode=True)
    count = sums[:, :1].clamp_min(1e-3)
    means = F.interpolate(sums[:, 1:] / count, size=grey.shape[1:], mode="bilinear", align_corners=False)
    mean, square = means.unbind(1)
    return mean, (square - mean**2).clamp_min(0).sqrt()
