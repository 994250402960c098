"""A U-Net that draws heat maps, what it is trained on, and how its peaks are read."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xrcore.learning.networks.blocks import group_norms

STRIDE = 2  # input pixels to a cell of a heat map
_SIGMA = 1.0  # of the heat maps that are asked for [cells]
_REACH = 3  # cells about a peak that belong to it
_TINY = 1e-30


class UNet(nn.Module):
    """Image -> one map of logits per landmark, at half the image's resolution, from features down to stride 32.

    maps: landmarks. width: channels at stride 4; half as many at stride 2, twice as many below. momentum, norm_layer: as in `Architecture`.
    Source: Ronneberger, Fischer, Brox, *U-Net*, MICCAI 2015; BatchNorm, SiLU and the first step to stride 2 are ours.
    """

    def __init__(self, maps: int, width: int, *, momentum: float, norm_layer: str) -> None:
        super().__init__()
        # whole groups for `group_norms`
        width = 16 * max(1, round(width / 16))
        widths = (width // 2, width, 2 * width, 2 * width, 2 * width)
        # an even kernel, whose middle is the middle of a cell
        self.stem = _convolution(1, widths[0], momentum, kernel=4, stride=STRIDE)
        self.down = nn.ModuleList(_pair(a, b, momentum) for a, b in zip((widths[0], *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_pair(a + b, a, momentum) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], maps, 1)
        if norm_layer == "group":
            group_norms(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B L h w"]:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        kept: list[Tensor] = []
        for stage in self.down:
            x = stage(F.max_pool2d(x, 2, ceil_mode=True) if kept else x)
            kept.append(x)
        for stage, skip in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = stage(torch.cat([F.interpolate(x, size=skip.shape[2:], mode="nearest"), skip], 1))
        return self.last(x).float()


def _convolution(inward: int, outward: int, momentum: float, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inward, outward, kernel, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outward, momentum=momentum), nn.SiLU())


def _pair(inward: int, outward: int, momentum: float) -> nn.Sequential:
    return nn.Sequential(_convolution(inward, outward, momentum), _convolution(outward, outward, momentum))


def heat_map_loss(logits: Float[Tensor, "B L h w"], pixels: Float[Tensor, "B L 2"], visible: Bool[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Cross-entropy of each landmark's heat map against a Gaussian about `pixels` (row, col) or, where not visible, against an empty map.

    A heat map is the softmax over its cells and one more of logit 0, "not in the image": it sums to at most 1, and to 0 when empty.
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
    """Pixels (row, col) of each heat map's peak, the centre of mass of the cells about its maximum, and the mass there, 0 to 1."""
    width = logits.shape[3]
    heat = torch.softmax(F.pad(logits.float().flatten(2), (0, 1)), -1)[..., :-1]
    best = heat.argmax(-1)
    heat = heat.reshape(logits.shape)
    near_row, near_col = (
        (torch.arange(size, device=logits.device) - at[..., None]).abs() <= _REACH
        for size, at in zip(logits.shape[2:], (best // width, best % width), strict=True)
    )
    heat = heat * near_row[..., None] * near_col[..., None, :]
    mass = heat.sum((2, 3))
    row, col = ((heat.sum(5 - axis) * _centres(logits.shape[axis], logits)).sum(-1) / mass.clamp_min(_TINY) for axis in (2, 3))
    return torch.stack([row, col], -1), mass


def _centres(size: int, like: Tensor) -> Tensor:
    """Of cells, in pixels of the input, whose centres are at integers."""
    return STRIDE * torch.arange(size, dtype=torch.float32, device=like.device) + (STRIDE - 1) / 2
