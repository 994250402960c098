"""Weighted local mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.registration.similarities.parzen import ParzenFit, check_options


@dataclass(frozen=True, kw_only=True)
class WLMI:
    """Weighted local mutual information [nats]: sum_k w_k MI_k / sum_k w_k over square patches, w_k the fixed patch's entropy.

    patch: side [pixels] of the patches, which do not overlap; those mostly outside the mask do not count. bins, window,
    normalised: as in `MutualInformation`; fewer bins, since a patch has fewer pixels. Bins span the whole image's grey values, so
    that patches with little contrast have little entropy and little weight.
    Source: in the style of Meng et al., "Weighted local mutual information for 2D-3D registration in vascular interventions",
    IEEE Access 2019; its exact weights and patches are our choice.
    """

    name: ClassVar[str] = "wlmi"
    least_squares: ClassVar[bool] = False
    patch: int = 32
    bins: int = 16
    window: str = "cubic"
    normalised: bool = False

    def __post_init__(self) -> None:
        check_options(self.name, self.bins, self.window)
        if self.patch < 4:
            raise XrcoreError(f"{self.name}: patch must be 4 pixels or more, got {self.patch}")

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> ParzenFit:
        """Bin the fixed image's pixels inside the mask and weigh its patches."""
        rows, columns = fixed.shape[0], fixed.shape[-1]
        across = -(-columns // self.patch)
        region = (torch.arange(rows) // self.patch)[:, None] * across + torch.arange(columns) // self.patch
        return ParzenFit(self.name, fixed, mask, region, bins=self.bins, window=self.window, normalised=self.normalised, weighted=True)
