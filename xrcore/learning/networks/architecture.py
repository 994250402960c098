"""Architecture: the paper's network as switches, and every choice it leaves open as a named field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from xrcore._util.errors import require

_CHOICES = {
    "pooling": ("flatten", "average"),
    "normalisation": ("standard", "min-max"),
    "norm_layer": ("batch", "group"),
}


_require = partial(require, "Architecture")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The regression network of Zhang et al., MICCAI 2023. The ablation's rows are settings of `autoencoder` and `attention`.

    A, the EfficientNet-b0 encoder, is always there.
    autoencoder: B, a decoder from the bottleneck to the gradient-magnitude image, trained along. It is not needed for predictions.
    attention: C, multi-head self-attention over the stride-8 grid, a learnable 2D position embedding added after it, an MLP per token.

    Left open by the paper, and how it is chosen here:
    pixels: side of the square input. 128, where a laptop learns; the paper's is 256.
    normalisation: of the input. "standard": zero mean, unit variance inside the field of view, zero outside, which burnt-in text and
        a bright tool move little; "min-max": the paper's, bone dark.
    norm_layer, norm_momentum: efficientnet-pytorch's BatchNorm averages over 100 steps (momentum 0.01), so that evaluation lags the
        training by as much; 0.1 is PyTorch's own. "group" does without averages.
    drop_connect, dropout: off. Every image is new, so there is nothing to over-fit, and both cost accuracy in a short training.
    pooling: of the bottleneck when attention is off. "flatten" keeps where things are, which a pose is made of; "average" does not.
    bottleneck: channels of the bottleneck. hidden: width of the MLPs.
    tokens, heads: width and heads of the attention. One layer, pre-normalised, with a residual.
    deep: the tokens also hold the bottleneck, spread over the stride-8 grid, and an MLP on the flattened bottleneck adds to their vote; the
        stride-8 features alone see too little of the image.
    decoder: channels of the decoder's first stage, halved with each doubling of the grid; edge_stride: input pixels to a pixel of the
            decoded image. `decoder` is also the width of Grimm's U-Net, which reads besides it pixels, normalisation and the norms.
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
        for name in ("pixels", "bottleneck", "hidden", "tokens", "heads", "decoder", "edge_stride"):
            _require(name, getattr(self, name), _is(getattr(self, name), int), "a whole number")
        for name in ("norm_momentum", "drop_connect", "dropout"):
            _require(name, getattr(self, name), _is(getattr(self, name), int, float), "a number")
        for name, choices in _CHOICES.items():
            _require(name, getattr(self, name), getattr(self, name) in choices, f"one of {', '.join(choices)}")
        _require("pixels", self.pixels, self.pixels >= 32 and self.pixels % 8 == 0, "a multiple of 8, at least 32")
        for name in ("bottleneck", "hidden", "tokens", "heads", "decoder"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _require("heads", self.heads, self.tokens % self.heads == 0, f"a divisor of tokens ({self.tokens})")
        _require("edge_stride", self.edge_stride, self.edge_stride in (1, 2, 4, 8), "1, 2, 4 or 8")
        for name in ("drop_connect", "dropout"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        _require("norm_momentum", self.norm_momentum, 0 < self.norm_momentum <= 1, "above 0, at most 1")


def _is(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
