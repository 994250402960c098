"""A TransPoseNet-like network: two transformer encoders over EfficientNet features, one for the translation, one for the rotation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xrcore._util.errors import require
from xrcore.learning.networks.architecture import Architecture
from xrcore.learning.networks.blocks import Encoder, attend

_WIDTH, _HEADS, _LAYERS, _FEEDFORWARD, _HIDDEN = 256, 4, 6, 256, 1024


class PoseTransformer(nn.Module):
    """X-ray -> EfficientNet-b0 -> a transformer encoder on stride 16 (translation) and one on stride 8 (rotation) -> a pose.

    Each encoder has width 256, 4 heads, 6 pre-normalised layers with GELU, learned row and column embeddings added to queries and
    keys, and a learned pose token that its head reads. It takes images of one size.

    Parameters
    ----------
    architecture : Architecture
        Of which `pixels`, `norm_momentum`, `drop_connect` and `dropout` are read.

    Raises
    ------
    XrcoreError
        If `pixels` is no multiple of 32.

    References
    ----------
    Shavit, Ferens, Keller, *Paying attention to activation maps in camera pose regression*, arXiv 2103.11477, 2021.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        require("Architecture", "pixels", a.pixels, a.pixels % 32 == 0, "a multiple of 32 for the TransPoseNet-like network")
        self.encoder = Encoder(a.pixels, momentum=a.norm_momentum, drop_connect=a.drop_connect)
        # nothing asks these; processes that share gradients would wait for theirs
        self.encoder.blocks_after(Encoder.deep).requires_grad_(False)
        self.translation = PoseBranch(Encoder.deep, a.pixels // 16, a.dropout)
        self.rotation = PoseBranch(Encoder.middle, a.pixels // 8, a.dropout)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, images: Float[Tensor, "B 1 H W"], *, attention: bool = False
    ) -> tuple[Float[Tensor, "B 6"], Float[Tensor, "B heads N N"] | None]:
        """Predict the poses of a batch.

        Parameters
        ----------
        images : Float[Tensor, "B 1 H W"]
            Standardised images.
        attention : bool
            Return attention weights of the rotation's encoder too.

        Returns
        -------
        tuple
            Poses (B, 6), each number as a share of its training range, and weights of the last layer but one, query by key over the
            stride-8 grid (the pose token left out), or None. Of the last layer only the pose token is read, so that no query of the
            grid learns there.
        """
        middle, deep, _ = self.encoder(images.contiguous(memory_format=torch.channels_last))
        translation, _ = self.translation(deep)
        rotation, weights = self.rotation(middle, keep=attention)
        return torch.cat([rotation, translation], 1).float(), weights


class PoseBranch(nn.Module):
    """A grid of features -> three numbers, by a transformer encoder whose first token is read.

    Parameters
    ----------
    channels : int
        Of the features.
    side : int
        Of their square grid.
    dropout : float
        In the encoder.
    """

    def __init__(self, channels: int, side: int, dropout: float) -> None:
        super().__init__()
        self.inward = nn.Conv2d(channels, _WIDTH, 1)
        self.token = nn.Parameter(torch.zeros(1, _WIDTH))
        self.rows, self.columns = (nn.Parameter(torch.rand(side, _WIDTH // 2)) for _ in range(2))
        self.place = nn.Parameter(torch.rand(1, _WIDTH))  # the pose token's embedding
        self.layers = nn.ModuleList(EncoderLayer(dropout) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Sequential(nn.Linear(_WIDTH, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, 3))
        for parameter in (*self.layers.parameters(), *self.head.parameters()):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, grid: Float[Tensor, "B C h w"], *, keep: bool = False
    ) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B heads N N"] | None]:
        """Return the three numbers and, with `keep`, the attention weights of the last layer but one.

        Parameters
        ----------
        grid : Float[Tensor, "B C h w"]
            Features.
        keep : bool
            Compute the weights apart, which is slower.

        Returns
        -------
        tuple
            Numbers (B, 3), and weights (B, heads, N, N) among the grid's tokens, or None.
        """
        tokens = self.inward(grid).flatten(2).mT  # (B, N, C)
        tokens = torch.cat([self.token.expand(len(tokens), 1, -1).to(tokens.dtype), tokens], 1)
        side = len(self.rows)
        across, down = self.columns.expand(side, -1, -1), self.rows[:, None].expand(-1, side, -1)
        place = torch.cat([self.place, torch.cat([across, down], -1).flatten(0, 1)])
        weights = None
        for index, layer in enumerate(self.layers):
            tokens, kept = layer(tokens, place, keep=keep and index == _LAYERS - 2)
            if kept is not None:
                weights = kept[:, :, 1:, 1:]
                weights = weights / weights.sum(-1, keepdim=True)
        return self.head(self.norm(tokens[:, 0])), weights


class EncoderLayer(nn.Module):
    """A pre-normalised layer of a transformer encoder, the place of the tokens added to queries and keys.

    Parameters
    ----------
    dropout : float
        Of attention weights and of what each half adds.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.query_key, self.value, self.outward = nn.Linear(_WIDTH, 2 * _WIDTH), nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.feedforward = nn.Sequential(
            nn.Linear(_WIDTH, _FEEDFORWARD), nn.GELU(), nn.Dropout(dropout), nn.Linear(_FEEDFORWARD, _WIDTH), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "B N C"], place: Float[Tensor, "N C"], *, keep: bool = False
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, "B heads N N"] | None]:
        """Return the tokens and, with `keep`, the attention weights, query by key."""
        batch, count, width = tokens.shape
        normed = self.norm1(tokens)
        query, key = self.query_key(normed + place).chunk(2, -1)
        query, key, value = (x.reshape(batch, count, _HEADS, -1).transpose(1, 2) for x in (query, key, self.value(normed)))
        mixed, weights = attend(query, key, value, keep=keep, dropout=self.dropout.p if self.training else 0.0)
        tokens = tokens + self.dropout(self.outward(mixed.transpose(1, 2).reshape(batch, count, width)))
        return tokens + self.feedforward(self.norm2(tokens)), weights
