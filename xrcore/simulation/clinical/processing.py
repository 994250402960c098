"""What a workstation makes of an exposure: window, curve, local contrast, marks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.simulation.clinical.changes import SCALES, ClinicalChanges
from xrcore.simulation.clinical.subsets import Subset

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
    if some := Subset(changes, lambda c: c.blades is not None and c.known, images):
        masks = some.put(masks, some.of(masks) & torch.logical_not(some.stacked(lambda c: c.blades)))
    if some := Subset(changes, lambda c: c.processed, images):
        images = some.put(images, _displayed(some.of(images), some.of(masks), some))
    return images, masks


def _displayed(grey: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], all_of: Subset) -> Float[Tensor, "B H W"]:
    """Grey values as displayed, all of the images processed."""
    grey = _windowed(grey, masks, all_of.stacked(lambda c: c.window[0]), all_of.stacked(lambda c: c.window[1]))
    if some := Subset(all_of.changes, lambda c: c.gamma != 1, grey):
        grey = some.put(grey, some.of(grey) ** some.stacked(lambda c: c.gamma))
    if some := Subset(all_of.changes, lambda c: c.slope > 0, grey):
        grey = some.put(grey, torch.sigmoid(some.stacked(lambda c: c.slope) * (some.of(grey) - some.stacked(lambda c: c.middle))))
    if some := Subset(all_of.changes, lambda c: c.counts > 0, grey):
        grey = some.put(grey, -torch.expm1(-some.stacked(lambda c: c.counts) * some.of(grey)))
    for windows in SCALES:
        if some := Subset(all_of.changes, lambda c, n=windows: c.windows == n, grey):  # type: ignore[misc]
            part = some.of(grey)
            mean, deviation = _local(part, some.of(masks), windows)
            sharp = part + some.stacked(lambda c: c.sharpen) * (part - mean)
            alike = 0.5 + 0.2 * (part - mean) / (deviation + _FLAT)
            grey = some.put(grey, torch.lerp(sharp, alike, some.stacked(lambda c: c.equalise)))
    if some := Subset(all_of.changes, lambda c: c.blades is not None and not c.known and c.leak == 0, grey):
        part = some.of(grey)
        grey = some.put(grey, torch.where(some.stacked(lambda c: c.blades), _ends(part, some.of(masks))[0], part))
    if some := Subset(all_of.changes, lambda c: c.ink is not None, grey):
        part = some.of(grey)
        black, white = _ends(part, some.of(masks))
        ink = torch.lerp(white, black, some.stacked(lambda c: c.dark_ink))
        grey = some.put(grey, torch.lerp(part, ink.expand_as(part), some.stacked(lambda c: c.ink) / 255))
    return grey


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
    means = sums[:, 1:] / sums[:, :1].clamp_min(1e-3)
    mean, square = F.interpolate(means, size=grey.shape[1:], mode="bilinear", align_corners=False).unbind(1)
    return mean, (square - mean**2).clamp_min(0).sqrt()


def _ends(grey: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"]) -> tuple[Float[Tensor, "B 1 1"], Float[Tensor, "B 1 1"]]:
    """The darkest and the brightest grey value within the masks."""
    black = torch.where(masks, grey, torch.inf).amin((1, 2), keepdim=True)
    return black, torch.where(masks, grey, -torch.inf).amax((1, 2), keepdim=True)
