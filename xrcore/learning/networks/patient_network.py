"""The paper's regression network, its parts switchable."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xrcore._util.errors import require
from xrcore.learning.networks.architecture import Architecture
from xrcore.learning.networks.batch_norm import ConvolutionNormSilu
from xrcore.learning.networks.blocks import Decoder, Encoder, TokenAttention, replace_batch_norms, resample


@dataclass(frozen=True, eq=False)
class Output:
    """Output of a regression network for a batch.

    Parameters
    ----------
    pose : Float[Tensor, "B 6"]
        Each number as a share of its training range.
    edges : Float[Tensor, "B 1 h w"], optional
        The decoded gradient image, where there is a decoder, and the network is training or is asked for it.
    attention : Float[Tensor, "B heads N N"], optional
        Query by key over the stride-8 grid, where asked for.
    """

    pose: Float[Tensor, "B 6"]
    edges: Float[Tensor, "B 1 h w"] | None = None
    attention: Float[Tensor, "B heads N N"] | None = None


class PatientNetwork(nn.Module):
    """X-ray -> EfficientNet-b0 -> bottleneck -> (decoder: gradient image) and (attention, position, MLP: pose).

    Images of another size than the architecture's, likewise a multiple of 32, are taken too: the position embedding is resampled to
    their grid, and their bottleneck to the grid that is flattened. So a training may begin with small images and go on with large
    ones, all weights carried over.

    Parameters
    ----------
    architecture : Architecture
        Its switches and sizes.
    polarity : bool
        With a buffer `polarity`, weights of the middle features' channel statistics that tell an image from its negative; zero at first.

    Raises
    ------
    XrcoreError
        If `pixels` is no multiple of 32.

    References
    ----------
    Zhang et al., *A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration*, MICCAI 2023, Fig. 1; where the paper
    is silent, see `Architecture`.
    """

    polarity: Tensor

    def __init__(self, architecture: Architecture, *, polarity: bool = False) -> None:
        super().__init__()
        a = architecture
        require("Architecture", "pixels", a.pixels, a.pixels % 32 == 0, "a multiple of 32 for the paper's network")
        self.architecture = a
        self.encoder = Encoder(a.pixels, momentum=a.norm_momentum, drop_connect=a.drop_connect)
        self.bottleneck = ConvolutionNormSilu(nn.Conv2d(Encoder.last, a.bottleneck, 1, bias=False), nn.BatchNorm2d(a.bottleneck))
        self.coarse = a.pixels // 32  # side of the bottleneck's grid
        side, coarse = a.pixels // 8, self.coarse
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
            for unused in (self.encoder.blocks_after(Encoder.middle), self.bottleneck):
                unused.requires_grad_(False)
        if a.norm_layer == "group":
            replace_batch_norms(self)
        if polarity:
            self.register_buffer("polarity", torch.zeros(2 * Encoder.middle))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Float[Tensor, "B 1 H W"], *, attention: bool = False, edges: bool = False) -> Output:
        """Predict the poses of a batch.

        Parameters
        ----------
        images : Float[Tensor, "B 1 H W"]
            As `methods.normalisation.normalise` makes them; H = W, a multiple of 32.
        attention : bool
            Keep the attention weights.
        edges : bool
            Decode the gradient image while evaluating too.

        Returns
        -------
        Output
            With edges only while training or where asked for.
        """
        return self.regress(*self.encode(images), attention=attention, edges=edges)

    def encode(self, images: Float[Tensor, "B 1 H W"]) -> tuple[Float[Tensor, "B 40 h w"], Float[Tensor, "B 320 s t"]]:
        """Return the features that `regress` takes.

        Parameters
        ----------
        images : Float[Tensor, "B 1 H W"]
            As of `forward`.

        Returns
        -------
        tuple
            Those at strides 8 and 32.
        """
        middle, _, last = self.encoder(images.contiguous(memory_format=torch.channels_last))
        return middle, last

    def regress(
        self, middle: Float[Tensor, "B 40 h w"], last: Float[Tensor, "B 320 s t"], *, attention: bool = False, edges: bool = False
    ) -> Output:
        """Predict the poses from features.

        Parameters
        ----------
        middle, last : Float[Tensor, "B C h w"]
            Of `encode`.
        attention, edges : bool
            As of `forward`.

        Returns
        -------
        Output
            As of `forward`.
        """
        bottleneck = self.bottleneck(last)
        decoded = self.decoder(bottleneck).float() if self.decoder is not None and (self.training or edges) else None
        if not self.architecture.attention:
            pooled = resample(bottleneck, self.coarse) if self.architecture.pooling == "flatten" else bottleneck.mean((2, 3))
            return Output(self.head(pooled.flatten(1)).float(), decoded)
        grid = self.tokens(middle)
        if self.deep is not None:
            grid = grid + F.interpolate(self.deep(bottleneck), size=grid.shape[2:], mode="nearest")
        tokens, weights = self.attention(grid.flatten(2).mT, keep=attention)
        votes = self.head(tokens).float()  # (B, N, 7)
        pose = (votes[..., 6:].softmax(1) * votes[..., :6]).sum(1)
        if self.direct is not None:
            pose = pose + self.direct(resample(bottleneck, self.coarse).flatten(1)).float()
        return Output(pose, decoded, weights)


def _mlp(width: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, out))
