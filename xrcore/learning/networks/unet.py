"""A U-Net that draws heat maps."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xrcore.learning.networks.batch_norm import ConvolutionNormSilu
from xrcore.learning.networks.blocks import replace_batch_norms

STRIDE = 2  # input pixels to a cell of a heat map


class UNet(nn.Module):
    """Image -> one map of logits per landmark, at half the image's resolution, from features down to stride 32.

    BatchNorm, SiLU and the first step to stride 2 are choices of this project.

    Parameters
    ----------
    maps : int
        Landmarks.
    width : int
        Channels at stride 4; half as many at stride 2, twice as many below.
    momentum : float
        As `norm_momentum` of `Architecture`.
    norm_layer : str
        As in `Architecture`.

    References
    ----------
    Ronneberger, Fischer, Brox, *U-Net: convolutional networks for biomedical image segmentation*, MICCAI 2015.
    """

    def __init__(self, maps: int, width: int, *, momentum: float, norm_layer: str) -> None:
        super().__init__()
        # a multiple of the groups of `replace_batch_norms`
        width = 16 * max(1, round(width / 16))
        widths = (width // 2, width, 2 * width, 2 * width, 2 * width)
        # an even kernel, whose middle is the middle of a cell
        self.stem = _convolution(1, widths[0], momentum, kernel=4, stride=STRIDE)
        self.down = nn.ModuleList(_pair(a, b, momentum) for a, b in zip((widths[0], *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_pair(a + b, a, momentum) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], maps, 1)
        if norm_layer == "group":
            replace_batch_norms(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B L h w"]:
        """The logits of each landmark's map."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        kept: list[Tensor] = []
        for stage in self.down:
            x = stage(F.max_pool2d(x, 2, ceil_mode=True) if kept else x)
            kept.append(x)
        for stage, skip in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = stage(torch.cat([F.interpolate(x, size=skip.shape[2:], mode="nearest"), skip], 1))
        return self.last(x).float()


def _convolution(inward: int, outward: int, momentum: float, *, kernel: int = 3, stride: int = 1) -> ConvolutionNormSilu:
    convolution = nn.Conv2d(inward, outward, kernel, stride, padding=1, bias=False)
    return ConvolutionNormSilu(convolution, nn.BatchNorm2d(outward, momentum=momentum))


def _pair(inward: int, outward: int, momentum: float) -> nn.Sequential:
    return nn.Sequential(_convolution(inward, outward, momentum), _convolution(outward, outward, momentum))
