"""Where blocks of the X-ray lie on the DRR: how far each is from where the pose puts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter
from torch import Tensor

_SMALLEST, _LARGEST = 16, 32  # [pixels] of blocks, an eighth of the image between
_REACH = 6  # [pixels] of the search, or a quarter of a block
_SIGMA = 6.0  # [pixels] of what slow changes of grey value are taken out with
_FLOOR = 0.1  # of the image's contrast: flatter blocks say little
_LEAST_INSIDE = 0.5  # of a block within the mask


class BlockMatches(NamedTuple):
    """Result of `match_blocks`, one entry a block.

    Parameters
    ----------
    weight : Float[Tensor, "N"]
        How much of a block's contrast is above the floor in both images, 0 to 1.
    distance : Float[Tensor, "N"]
        How far its best match lies from where the pose puts it [pixels].
    here, best : Float[Tensor, "N"]
        ZNCC where the pose puts it, and of the best match.
    """

    weight: Float[Tensor, " N"]
    distance: Float[Tensor, " N"]
    here: Float[Tensor, " N"]
    best: Float[Tensor, " N"]

    def in_units(self, unit: float) -> BlockMatches:
        """The same with distances divided by so many pixels."""
        return self._replace(distance=self.distance / unit)

    @classmethod
    def cat(cls, parts: Sequence[BlockMatches]) -> BlockMatches:
        """Those of several images, their distances in the same unit."""
        return cls(*(torch.cat(each) for each in zip(*parts, strict=True)))

    @property
    def blocks(self) -> float:
        """How many blocks' worth of contrast there is; neighbours overlap by half."""
        return float(self.weight.sum())

    def agreement(self, near: float) -> float:
        """Share of the contrast in blocks whose best match is within `near` pixels of where the pose puts them."""
        return self._mean((self.distance <= near).to(self.weight.dtype))

    def displacement(self, near: float) -> float:
        """Median distance of those blocks [pixels]; `near` if there are none."""
        distance, order = self.distance.sort()
        weight = torch.where(distance <= near, self.weight[order], 0.0).cumsum(0)
        if len(weight) == 0 or weight[-1] <= 0:
            return near
        return float(distance[torch.searchsorted(weight, weight[-1:] / 2)])

    @property
    def likeness(self) -> float:
        """ZNCC where the pose puts the blocks, over that of their best matches: 1 where no block could do better elsewhere."""
        return self._mean(self.here.clamp_min(0)) / max(self._mean(self.best), 1e-6)

    def _mean(self, values: Tensor) -> float:
        return float((self.weight * values).sum() / self.weight.sum().clamp_min(1e-12))


def match_blocks(fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"], moving: Float[Tensor, "H W"]) -> BlockMatches:
    """Find the best match of each block of the fixed image in the moving one by ZNCC, to fractions of a pixel.

    Slow changes of grey value are taken out of both first. Blocks are an eighth of the image, 16 to 32 pixels, and overlap by half;
    those of images smaller than that are as large as the image. Blocks that are mostly outside the mask are left out.
    """
    side = min(max(min(fixed.shape) // 16 * 2, _SMALLEST), _LARGEST, *(n // 2 * 2 for n in fixed.shape))
    stride, reach = max(side // 2, 1), max(_REACH, side // 4)
    inside = mask.to(fixed.dtype)
    fixed = _without_slow_changes(torch.where(mask, fixed, 0.0), inside)  # what is masked may be anything, NaN too
    moving = _without_slow_changes(moving, torch.ones_like(inside))
    patches, within = (_blocks(image, side, stride) for image in (fixed, inside))  # (N, side^2)
    count = within.sum(1)
    kept = count >= _LEAST_INSIDE * side**2
    windows = _blocks(F.pad(moving[None, None], (reach,) * 4, mode="replicate")[0, 0], side + 2 * reach, stride)
    patches, within, count, windows = patches[kept], within[kept], count[kept], windows[kept]
    number = len(patches)
    if number == 0:
        nothing = fixed.new_zeros(0)
        return BlockMatches(nothing, nothing, nothing, nothing)
    centred = (patches - patches.sum(1, keepdim=True) / count[:, None]) * within
    variance = (centred**2).sum(1) / count
    square = windows.reshape(1, number, side + 2 * reach, side + 2 * reach)

    def sums(image: Tensor, kernel: Tensor) -> Float[Tensor, "N S S"]:
        return F.conv2d(image, kernel.reshape(number, 1, side, side), groups=number)[0] / count[:, None, None]

    moving_variance = (sums(square**2, within) - sums(square, within) ** 2).clamp_min(0)
    floors = [_FLOOR**2 * values.var() for values in (fixed[mask], moving[mask])]
    contrast = (variance + floors[0])[:, None, None] * (moving_variance + floors[1])
    correlation = sums(square, centred) / contrast.clamp_min(1e-24).sqrt()
    best, at = correlation.flatten(1).max(1)
    row, col = at // (2 * reach + 1), at % (2 * reach + 1)
    each = torch.arange(number)
    distance = torch.hypot(
        row - reach + _peak_offset(correlation[each, :, col], row), col - reach + _peak_offset(correlation[each, row], col)
    )
    there = moving_variance[:, reach, reach]
    weight = _share(variance, floors[0]) * _share(there, floors[1])
    return BlockMatches(weight, distance, correlation[:, reach, reach], best)


def _blocks(image: Float[Tensor, "H W"], side: int, stride: int) -> Float[Tensor, "N n"]:
    return image.unfold(0, side, stride).unfold(1, side, stride).reshape(-1, side**2)


def _share(variance: Float[Tensor, " N"], floor: Float[Tensor, ""]) -> Float[Tensor, " N"]:
    return variance / (variance + floor).clamp_min(1e-24)


def _peak_offset(line: Float[Tensor, "N S"], peak: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """How far a parabola through the largest value and its neighbours has its top from there; 0 at either end of the line."""
    inner = peak.clamp(1, line.shape[1] - 2)
    before, at, after = (line.gather(1, (inner + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    return torch.where((bend < 0) & (inner == peak), (before - after) / 2 / bend, 0.0)


def _without_slow_changes(image: Float[Tensor, "H W"], inside: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """The image less its Gaussian mean within the mask; 0 outside."""
    if inside.all():
        return image - _blur(image)
    mean = _blur(image * inside) / _blur(inside).clamp_min(1e-3)
    return (image - mean) * inside


def _blur(image: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    return torch.from_numpy(gaussian_filter(image.numpy(), _SIGMA, mode="nearest", truncate=3))
