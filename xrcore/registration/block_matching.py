"""Where blocks of the X-ray lie on the DRR: how far each is from where the pose puts it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter
from torch import Tensor

_BLOCK, _STRIDE, _REACH = 16, 8, 6  # [pixels]
_SIGMA = 6.0  # [pixels] of what slow changes of grey value are taken out with
_FLOOR = 0.1  # of the image's contrast: flatter blocks say little
_LEAST_INSIDE = 0.5  # of a block within the mask
_NEAR = 1.5  # [pixels]


class BlockMatches(NamedTuple):
    """Result of `match_blocks`, one entry a block.

    Parameters
    ----------
    weight : Float[Tensor, "N"]
        How much of a block's contrast is above the floor, 0 to 1.
    distance : Float[Tensor, "N"]
        How far its best match lies from where the pose puts it [pixels].
    here, best : Float[Tensor, "N"]
        ZNCC where the pose puts it, and of the best match.
    """

    weight: Float[Tensor, " N"]
    distance: Float[Tensor, " N"]
    here: Float[Tensor, " N"]
    best: Float[Tensor, " N"]

    @property
    def blocks(self) -> float:
        """How many blocks' worth of contrast there is; neighbours overlap by half."""
        return float(self.weight.sum())

    @property
    def agreement(self) -> float:
        """Share of the contrast in blocks whose best match is within 1.5 pixels of where the pose puts them; by chance, a twentieth."""
        return self._mean((self.distance <= _NEAR).to(self.weight.dtype))

    @property
    def likeness(self) -> float:
        """ZNCC where the pose puts the blocks, over that of their best matches: 1 where no block could do better elsewhere."""
        return self._mean(self.here.clamp_min(0)) / max(self._mean(self.best), 1e-6)

    def _mean(self, values: Tensor) -> float:
        return float((self.weight * values).sum() / self.weight.sum().clamp_min(1e-12))


def match_blocks(fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"], moving: Float[Tensor, "H W"]) -> BlockMatches:
    """Find the best match of each block of the fixed image in the moving one, within 6 pixels along rows and columns, by ZNCC.

    Slow changes of grey value are taken out of both first. Blocks are 16 pixels wide and overlap by half; smaller images have smaller
    ones. Blocks that are mostly outside the mask are left out.
    """
    side = min(_BLOCK, *(n // 2 * 2 for n in fixed.shape))
    stride, reach = max(side // 2, 1), _REACH
    inside = mask.to(fixed.dtype)
    fixed = _without_slow_changes(torch.where(mask, fixed, 0.0), inside)  # what is masked may be anything, NaN too
    moving = _without_slow_changes(moving, torch.ones_like(inside))
    patches, within = (F.unfold(image[None, None], side, stride=stride)[0].T for image in (fixed, inside))  # (N, side^2)
    count = within.sum(1)
    kept = count >= _LEAST_INSIDE * side**2
    windows = F.unfold(F.pad(moving[None, None], (reach,) * 4, mode="replicate"), side + 2 * reach, stride=stride)[0].T
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
    shifts = 2 * reach + 1
    distance = torch.hypot((at // shifts - reach).to(fixed.dtype), (at % shifts - reach).to(fixed.dtype))
    return BlockMatches(variance / (variance + floors[0]).clamp_min(1e-24), distance, correlation[:, reach, reach], best)


def _without_slow_changes(image: Float[Tensor, "H W"], inside: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """The image less its Gaussian mean within the mask; 0 outside."""
    mean = _blur(image * inside) / _blur(inside).clamp_min(1e-3)
    return (image - mean) * inside


def _blur(image: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    return torch.from_numpy(gaussian_filter(image.numpy(), _SIGMA, mode="nearest", truncate=3))
