"""Blocks that networks are built of: the EfficientNet encoder, attention over a grid, the decoder."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from efficientnet_pytorch import EfficientNet
from jaxtyping import Float
from torch import Tensor, nn

from xrcore.learning.networks.batch_norm import ConvolutionNormSilu, norm_silu
from xrcore.learning.networks.mobile_block import MobileBlock


def attend(
    query: Float[Tensor, "B heads N C"],
    key: Float[Tensor, "B heads N C"],
    value: Float[Tensor, "B heads N C"],
    *,
    keep: bool = False,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "B heads N C"], Float[Tensor, "B heads N N"] | None]:
    """Mix the values by scaled dot-product attention.

    Parameters
    ----------
    query, key, value : Float[Tensor, "B heads N C"]
        Of each head.
    keep : bool
        Return the weights too, computed apart, which is slower and without dropout.
    dropout : float
        Probability of leaving out a weight.

    Returns
    -------
    tuple
        The mixed values (B, heads, N, C), and weights (B, heads, N, N), query by key, or None.
    """
    if not keep:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout), None
    weights = ((query @ key.mT) / query.shape[-1] ** 0.5).float().softmax(-1)
    return weights.to(value.dtype) @ value, weights


class Encoder(nn.Module):
    """EfficientNet-b0 without its classifier, for one input channel; layers and first weights are the library's.

    Parameters
    ----------
    pixels : int
        Side of the images [pixels], which decides how the library pads; multiples of 32 are all padded alike.
    momentum : float
        Of the BatchNorms.
    drop_connect : float
        Probability of dropping the last block, falling to 0 for the first.

    References
    ----------
    Tan, Le, *EfficientNet: rethinking model scaling for convolutional neural networks*, ICML 2019.
    """

    middle, deep, last = 40, 112, 320  # channels at strides 8, 16 and 32

    def __init__(self, pixels: int, *, momentum: float, drop_connect: float) -> None:
        super().__init__()
        whole = EfficientNet.from_name(
            "efficientnet-b0", in_channels=1, image_size=pixels, batch_norm_momentum=1 - momentum, drop_connect_rate=drop_connect or None
        )
        self.stem, self.stem_norm = whole._conv_stem, whole._bn0
        self.blocks = nn.ModuleList(MobileBlock(block) for block in whole._blocks)
        self.drop_connect = drop_connect

    def blocks_after(self, channels: int) -> nn.ModuleList:
        """Return the blocks behind the last one that puts out so many channels: `middle` or `deep`."""
        first = 1 + max(i for i, block in enumerate(self.blocks) if block.channels == channels)
        return self.blocks[first:]

    def forward(
        self, images: Float[Tensor, "B 1 H W"]
    ) -> tuple[Float[Tensor, "B 40 h w"], Float[Tensor, "B 112 u v"], Float[Tensor, "B 320 s t"]]:
        """Return the features at strides 8, 16 and 32.

        Parameters
        ----------
        images : Float[Tensor, "B 1 H W"]
            Standardised images.

        Returns
        -------
        tuple
            Features of 40, 112 and 320 channels.
        """
        x = norm_silu(self.stem_norm, self.stem(images))
        kept = {}
        for index, block in enumerate(self.blocks):
            x = block(x, self.drop_connect * index / len(self.blocks))
            kept[x.shape[1]] = x
        return kept[self.middle], kept[self.deep], kept[self.last]


class TokenAttention(nn.Module):
    """Multi-head self-attention over a grid, then a learnable position embedding, *added after* it (Zhang et al., MICCAI 2023).

    Parameters
    ----------
    width : int
        Channels of a token.
    heads : int
        Of the attention.
    side : int
        Of the square grid that the position embedding covers; for a grid of another size it is resampled.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)
        self.position = nn.Parameter(0.02 * torch.randn(side * side, width))

    def forward(
        self, tokens: Float[Tensor, "B N C"], *, keep: bool = False
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, "B heads N N"] | None]:
        """Return the tokens and, with `keep`, the attention weights, query by key.

        Parameters
        ----------
        tokens : Float[Tensor, "B N C"]
            A square grid, row by row.
        keep : bool
            Compute the weights apart, which is slower.

        Returns
        -------
        tuple
            Tokens (B, N, C) and weights (B, heads, N, N) or None.
        """
        batch, count, width = tokens.shape
        parts = self.inward(self.norm(tokens)).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, heads, N, C / heads) each
        mixed, weights = attend(query, key, value, keep=keep)
        tokens = tokens + self.outward(mixed.transpose(1, 2).reshape(batch, count, width))
        return tokens + self._position(count), weights

    def _position(self, count: int) -> Float[Tensor, "N C"]:
        """The embedding for a grid of `count` tokens."""
        if count == len(self.position):
            return self.position
        grid = self.position.T.reshape(1, -1, math.isqrt(len(self.position)), math.isqrt(len(self.position)))
        return resample(grid, math.isqrt(count))[0].flatten(1).T


class Decoder(nn.Module):
    """From the bottleneck to an image of one channel.

    Parameters
    ----------
    channels : int
        Of the bottleneck.
    width : int
        Channels of the first stage, halved with each doubling, at least 8.
    doublings : int
        Of the grid's side.
    """

    def __init__(self, channels: int, width: int, doublings: int) -> None:
        super().__init__()
        widths = [max(8, width >> n) for n in range(doublings + 1)]
        self.first = nn.Conv2d(channels, widths[0], 1)
        self.stages = nn.ModuleList(
            ConvolutionNormSilu(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b)) for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 H W"]:
        """The decoded image."""
        x = self.first(x)
        for stage in self.stages:
            x = stage(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(x)


def replace_batch_norms(network: nn.Module) -> None:
    """Replace, in place, every BatchNorm by a GroupNorm of 8 groups, or of fewer where 8 do not divide the channels.

    Parameters
    ----------
    network : nn.Module
        Any network.

    References
    ----------
    Wu, He, *Group normalization*, ECCV 2018.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, nn.GroupNorm(math.gcd(8, child.num_features), child.num_features))
        else:
            replace_batch_norms(child)


def resample(grid: Float[Tensor, "B C h w"], side: int) -> Float[Tensor, "B C side side"]:
    """Resample a grid of features bilinearly to `side` x `side` cells; the same grid where it has that size.

    Parameters
    ----------
    grid : Float[Tensor, "B C h w"]
        Features.
    side : int
        Cells along each axis.

    Returns
    -------
    Float[Tensor, "B C side side"]
        Features of the same place in the image.
    """
    if grid.shape[2:] == (side, side):
        return grid
    return F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)
