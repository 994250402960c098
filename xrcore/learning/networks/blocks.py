"""Pieces of the networks."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from efficientnet_pytorch import EfficientNet
from jaxtyping import Float
from torch import Tensor, nn

from xrcore.learning.networks.depthwise import quicken


class Encoder(nn.Module):
    """EfficientNet-b0 without its classifier (Tan, Le, ICML 2019), for one input channel; the blocks are the library's.

    Returns the stride-8 features (40 channels) and the stride-32 features (320 channels).
    """

    middle, last = 40, 320

    def __init__(self, pixels: int, *, momentum: float, drop_connect: float) -> None:
        super().__init__()
        whole = EfficientNet.from_name(
            "efficientnet-b0", in_channels=1, image_size=pixels, batch_norm_momentum=1 - momentum, drop_connect_rate=drop_connect or None
        )
        self.stem, self.stem_norm, self.blocks = whole._conv_stem, whole._bn0, whole._blocks
        self.drop_connect = drop_connect
        for module in self.modules():
            # the library's swish computes its sigmoid twice to save memory
            if hasattr(module, "_swish"):
                module._swish = nn.SiLU()
        quicken(self)

    @property
    def deeper(self) -> nn.ModuleList:
        """The blocks behind the stride-8 features."""
        first = 1 + max(i for i, block in enumerate(self.blocks) if block._block_args.output_filters == self.middle)
        return self.blocks[first:]

    def forward(self, x: Float[Tensor, "B 1 H W"]) -> tuple[Float[Tensor, "B 40 h w"], Float[Tensor, "B 320 u v"]]:
        x = F.silu(self.stem_norm(self.stem(x)))
        middle = x
        for index, block in enumerate(self.blocks):
            x = block(x, drop_connect_rate=self.drop_connect * index / len(self.blocks) or None)
            if x.shape[1] == self.middle:
                middle = x
        return middle, x


class TokenAttention(nn.Module):
    """Multi-head self-attention over a grid, then a learnable position embedding, *added after* it (Zhang et al., MICCAI 2023)."""

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
        batch, count, width = tokens.shape
        parts = self.inward(self.norm(tokens)).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, heads, N, C / heads) each
        weights = None
        if keep:
            weights = ((query @ key.mT) / query.shape[-1] ** 0.5).float().softmax(-1)
            mixed = weights.to(value.dtype) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.outward(mixed.transpose(1, 2).reshape(batch, count, width))
        return tokens + self.position, weights


class Decoder(nn.Module):
    """From the bottleneck to one channel at `doublings` times twice its side."""

    def __init__(self, channels: int, width: int, doublings: int) -> None:
        super().__init__()
        widths = [max(8, width >> n) for n in range(doublings + 1)]
        self.first = nn.Conv2d(channels, widths[0], 1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.SiLU()) for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 H W"]:
        x = self.first(x)
        for stage in self.stages:
            x = stage(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(x)


def group_norms(network: nn.Module) -> None:
    """Replace every BatchNorm by a GroupNorm of 8 groups (Wu, He, ECCV 2018), or of fewer where 8 do not divide the channels."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, nn.GroupNorm(math.gcd(8, child.num_features), child.num_features))
        else:
            group_norms(child)
