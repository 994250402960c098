"""Weighted local mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import is_whole, require
from xrcore.registration.similarities.parzen import ParzenFit, ParzenOptions


@dataclass(frozen=True, kw_only=True)
class WLMI(ParzenOptions):
    """Weighted local mutual information [nats]: sum_k w_k MI_k / sum_k w_k over square patches, w_k the fixed patch's entropy.

    Bins span the whole image's grey values, so that patches with little contrast have little entropy and little weight.

    Parameters
    ----------
    bins : int
        As in `MutualInformation`; fewer, since a patch has fewer pixels.
    window : str
        As in `MutualInformation`.
    normalised : bool
        As in `MutualInformation`.
    patch : int
        Side of the patches [pixels], which do not overlap; those mostly outside the mask do not count.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    In the style of Meng et al., "Weighted local mutual information for 2D-3D registration in vascular interventions",
    IEEE Access 2019; its exact weights and patches are our choice.
    """

    name: ClassVar[str] = "wlmi"
    patch: int = 32
    bins: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.name, "patch", self.patch, is_whole(self.patch) and self.patch >= 4, "4 pixels or more")

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> ParzenFit:
        """Bin the fixed image's pixels inside the mask and weigh its patches.

        Parameters
        ----------
        fixed : Float[Tensor, "H W"]
            The X-ray.
        mask : Bool[Tensor, "H W"]
            What counts of it.

        Returns
        -------
        ParzenFit
            What judges moving images.

        Raises
        ------
        XrcoreError
            If nothing of the fixed image can be compared.
        """
        rows, columns = fixed.shape[0], fixed.shape[-1]
        across = -(-columns // self.patch)
        region = (torch.arange(rows) // self.patch)[:, None] * across + torch.arange(columns) // self.patch
        return ParzenFit(self, fixed, mask, region, weighted=True)
