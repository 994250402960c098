"""The paper's regression network, its parts switchable."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xrcore._util.errors import XrcoreError
from xrcore.learning.networks.architecture import Architecture
from xrcore.learning.networks.blocks import Decoder, Encoder, TokenAttention, group_norms


@dataclass(frozen=True)
class Output:
    """What a regression network says about a batch.

    pose: (B, 6), each number as a share of its training range. edges: the decoded gradient image, where there is a decoder.
    attention: (B, heads, N, N), query by key over the stride-8 grid, where asked for.
    """

    pose: Float[Tensor, "B 6"]
    edges: Float[Tensor, "B 1 h w"] | None = None
    attention: Float[Tensor, "B heads N N"] | None = None


class PatientNetwork(nn.Module):
    """X-ray -> EfficientNet-b0 -> bottleneck -> (decoder: gradient image) and (attention, position, MLP: pose).

    Source: Zhang et al., MICCAI 2023, Fig. 1; where the paper is silent, see `Architecture`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        if a.pixels % 32:
            raise XrcoreError(f"Architecture: pixels must be a multiple of 32 for the paper's network, got {a.pixels}")
        self.architecture = a
        self.encoder = Encoder(a.pixels, momentum=a.norm_momentum, drop_connect=a.drop_connect)
        self.bottleneck = nn.Sequential(nn.Conv2d(Encoder.last, a.bottleneck, 1, bias=False), nn.BatchNorm2d(a.bottleneck), nn.SiLU())
        side, coarse = a.pixels // 8, a.pixels // 32
        if a.attention:
            self.tokens = nn.Conv2d(Encoder.middle, a.tokens, 1)
            self.deep = nn.Conv2d(a.bottleneck, a.tokens, 1) if a.deep else None
            self.attention = TokenAttention(a.tokens, a.heads, side)
            # six numbers and one weight a token: a mean of tokens before the MLP would reduce the position embedding to a constant
            self.head = _mlp(a.tokens, a.hidden, 7, a.dropout)
            self.direct = _mlp(a.bottleneck * coarse**2, a.hidden, 6, a.dropout) if a.deep else None
        else:
            flat = a.bottleneck * (coarse**2 if a.pooling == "flatten" else 1)
            self.head = _mlp(flat, a.hidden, 6, a.dropout)
        self.decoder = Decoder(a.bottleneck, a.decoder, (32 // a.edge_stride).bit_length() - 1) if a.autoencoder else None
        if a.attention and not a.deep and not a.autoencoder:
            # nothing asks these; processes that share gradients would wait for theirs
            for unused in (self.encoder.deeper, self.bottleneck):
                unused.requires_grad_(False)
        if a.norm_layer == "group":
            group_norms(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Float[Tensor, "B 1 H W"], *, attention: bool = False) -> Output:
        """Poses of images as `inputs.standardised` makes them; edges only while training, attention where asked for."""
        middle, last = self.encoder(images.contiguous(memory_format=torch.channels_last))
        bottleneck = self.bottleneck(last)
        edges = self.decoder(bottleneck).float() if self.decoder is not None and self.training else None
        if not self.architecture.attention:
            pooled = bottleneck if self.architecture.pooling == "flatten" else bottleneck.mean((2, 3))
            return Output(self.head(pooled.flatten(1)).float(), edges)
        grid = self.tokens(middle)
        if self.deep is not None:
            grid = grid + F.interpolate(self.deep(bottleneck), size=grid.shape[2:], mode="nearest")
        tokens, weights = self.attention(grid.flatten(2).mT, keep=attention)
        votes = self.head(tokens).float()  # (B, N, 7)
        pose = (votes[..., 6:].softmax(1) * votes[..., :6]).sum(1)
        if self.direct is not None:
            pose = pose + self.direct(bottleneck.flatten(1)).float()
        return Output(pose, edges, weights)


def _mlp(width: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, out))
