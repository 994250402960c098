"""Architecture: configuration flags of the paper's network, and every choice it leaves open as a named field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from xrcore._util.errors import is_number, is_whole, require

_CHOICES = {
    "pooling": ("flatten", "average"),
    "normalisation": ("standard", "min-max", "rank"),
    "norm_layer": ("batch", "group"),
}

LARGEST_SIDE = 2048  # pixels of the input
LARGEST_WIDTH = 4096  # channels or features of a layer

_require = partial(require, "Architecture")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Describe the regression network of Zhang et al., MICCAI 2023.

    The ablation's rows are settings of `autoencoder` (B) and `attention` (C); A, the EfficientNet-b0 encoder, is always there.
    The other fields are choices that the paper leaves open. The other methods read some of them: Grimm's U-Net reads `pixels`,
    `normalisation`, `decoder` and the norms, Salehi's network `pixels` and `normalisation`, the TransPoseNet-like one besides these
    `norm_momentum` and `dropout`.

    Parameters
    ----------
    autoencoder : bool
        B: a decoder from the bottleneck to the gradient-magnitude image, trained along. It is not needed for predictions.
    attention : bool
        C: multi-head self-attention over the stride-8 grid, a learnable 2D position embedding added after it, an MLP per token.
    pixels : int
        Side of the square input [pixels]. 128, where a laptop learns; the paper's is 256.
    normalisation : str
        Of the input. "standard": zero mean, unit variance inside the field of view, zero outside, which burnt-in text and a bright
        tool move little; "min-max": the paper's, bone dark; "rank": each pixel's rank among those of the field of view, which no
        monotone curve changes, with zero mean and unit variance.
    norm_layer : str
        "batch", or "group", which does without running averages.
    norm_momentum : float
        Of BatchNorm in the encoder (Grimm's: in the whole network). efficientnet-pytorch has 0.01; 0.1 is PyTorch's own. Networks whose
        statistics are measured before they are judged (`BatchStatistics`) do not depend on it.
    drop_connect : float
        Probability of dropping a block of the encoder. Off: where every image is new there is nothing to over-fit, and both kinds of
        dropout cost accuracy in a short training.
    dropout : float
        Of the MLPs, likewise off.
    pooling : str
        Of the bottleneck when attention is off. "flatten" keeps where things are, which a pose is made of; "average" does not.
    bottleneck : int
        Channels of the bottleneck.
    hidden : int
        Width of the MLPs.
    tokens : int
        Width of the attention: one layer, pre-normalised, with a residual.
    heads : int
        Of the attention; a divisor of `tokens`.
    deep : bool
        The tokens also hold the bottleneck, spread over the stride-8 grid, and an MLP on the flattened bottleneck adds to their vote;
        the stride-8 features alone see too little of the image.
    decoder : int
        Channels of the decoder's first stage, halved with each doubling of the grid.
    edge_stride : int
        Input pixels to a pixel of the decoded image: 1, 2, 4 or 8.

    Raises
    ------
    XrcoreError
        If a field makes no sense; the message names it.

    References
    ----------
    Zhang et al., *A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration*, MICCAI 2023.
    """

    autoencoder: bool = True
    attention: bool = True
    pixels: int = 128
    normalisation: str = "standard"
    norm_layer: str = "batch"
    norm_momentum: float = 0.1
    drop_connect: float = 0.0
    dropout: float = 0.0
    pooling: str = "flatten"
    bottleneck: int = 128
    hidden: int = 256
    tokens: int = 64
    heads: int = 4
    deep: bool = True
    decoder: int = 64
    edge_stride: int = 4

    def __post_init__(self) -> None:
        for name in ("autoencoder", "attention", "deep"):
            _require(name, getattr(self, name), isinstance(getattr(self, name), bool), "True or False")
        for name in ("bottleneck", "hidden", "tokens", "heads", "decoder"):
            value = getattr(self, name)
            _require(name, value, is_whole(value) and 1 <= value <= LARGEST_WIDTH, f"a whole number, 1 to {LARGEST_WIDTH}")
        for name, choices in _CHOICES.items():
            _require(name, getattr(self, name), getattr(self, name) in choices, f"one of {', '.join(choices)}")
        sized = is_whole(self.pixels) and 32 <= self.pixels <= LARGEST_SIDE and self.pixels % 8 == 0
        _require("pixels", self.pixels, sized, f"a multiple of 8, 32 to {LARGEST_SIDE}")
        _require("heads", self.heads, self.tokens % self.heads == 0, f"a divisor of tokens ({self.tokens})")
        _require("edge_stride", self.edge_stride, is_whole(self.edge_stride) and self.edge_stride in (1, 2, 4, 8), "1, 2, 4 or 8")
        for name in ("drop_connect", "dropout"):
            value = getattr(self, name)
            _require(name, value, is_number(value) and 0 <= value < 1, "at least 0 and below 1")
        _require("norm_momentum", self.norm_momentum, is_number(self.norm_momentum) and 0 < self.norm_momentum <= 1, "above 0, at most 1")
