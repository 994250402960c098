"""Mutual information of whole images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.registration.similarities.parzen import ParzenFit, ParzenOptions


@dataclass(frozen=True, kw_only=True)
class MutualInformation(ParzenOptions):
    """Mutual information [nats]: how well one image's grey values predict the other's, by whatever relation.

    Parameters
    ----------
    bins : int
        Of each axis of the joint histogram.
    window : str
        "cubic" or "linear" B-spline that spreads a moving pixel over bins.
    normalised : bool
        Divide by the joint entropy, giving [0, 1], less dependent on overlap.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Viola and Wells, "Alignment by maximization of mutual information", IJCV 1997; histogram of Mattes et al., "PET-CT image
    registration in the chest using free-form deformations", IEEE TMI 2003; normalisation of Studholme et al., "An overlap
    invariant entropy measure of 3D medical image alignment", Pattern Recognition 1999.
    """

    name: ClassVar[str] = "mutual-information"

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> ParzenFit:
        """Bin the fixed image's pixels inside the mask.

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
        return ParzenFit(self, fixed, mask, torch.zeros(fixed.shape, dtype=torch.long), weighted=False)
