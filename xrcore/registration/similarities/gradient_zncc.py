"""Zero-normalised cross-correlation of image gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from xrcore._util.errors import XrcoreError, is_number, require
from xrcore.registration.similarities.standardised import Layout, StandardisedFit

OPERATORS = ("sobel", "central")


class _Gradients(Layout):
    """Two groups: the gradient along columns and along rows, where the whole stencil lies in the image."""

    def __init__(self, operator: str, sigma: float) -> None:
        self._operator, self._sigma = operator, sigma
        self._radius = math.ceil(3 * sigma)

    def _smooth(self, image: Tensor) -> Tensor:
        """Gaussian-smoothed (B, H - 2 radius, W - 2 radius, ...)."""
        taps = [math.exp(-(i**2) / (2 * self._sigma**2)) for i in range(-self._radius, self._radius + 1)]
        for axis in (1, 2):
            length = image.shape[axis] - 2 * self._radius
            # not a convolution: a GPU's rounds to ten bits unless told otherwise, for the whole process
            image = sum(tap / sum(taps) * image.narrow(axis, i, length) for i, tap in enumerate(taps))  # type: ignore[assignment]
        return image

    def arrange(self, image: Tensor) -> Tensor:
        x = self._smooth(image) if self._radius else image
        pair = x.new_empty(x.shape[0], 2, x.shape[1] - 2, x.shape[2] - 2, *x.shape[3:])
        for i, (along, across) in enumerate(((2, 1), (1, 2))):
            length, width = x.shape[along] - 2, x.shape[across] - 2
            difference = x.narrow(along, 2, length) - x.narrow(along, 0, length)
            pair[:, i] = difference.narrow(across, 1, width)
            if self._operator == "sobel":
                pair[:, i].mul_(2).add_(difference.narrow(across, 0, width)).add_(difference.narrow(across, 2, width))
        return pair.flatten(2, 3)

    def arrange_mask(self, mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "2 P"]:
        outside = (~mask).float()[None, None]
        inside = F.max_pool2d(outside, 2 * self._radius + 3, stride=1).flatten() == 0
        return inside.expand(2, -1)


@dataclass(frozen=True, kw_only=True)
class GradientZNCC:
    """Gradient correlation, in [-1, 1]: the mean of the ZNCC of the horizontal and of the vertical image gradients.

    Edges count, slow shading (scatter, soft tissue, heel effect) does not.
    Pixels whose stencil leaves the image or the mask do not count. A component in which the fixed image is flat does not count.

    Parameters
    ----------
    operator : str
        "sobel" or "central" differences.
    sigma : float
        Of a Gaussian applied first, cut at 3 sigma [pixels]; 0 for none.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Penney et al., "A comparison of similarity measures for use in 2-D-3-D medical image registration", IEEE TMI 1998
    ("gradient correlation").
    """

    name: ClassVar[str] = "gradient-zncc"
    least_squares: ClassVar[bool] = True
    operator: str = "sobel"
    sigma: float = 0.0

    def __post_init__(self) -> None:
        require(self.name, "operator", self.operator, self.operator in OPERATORS, f"one of {', '.join(OPERATORS)}")
        require(self.name, "sigma", self.sigma, is_number(self.sigma) and self.sigma >= 0, "0 or more [pixels]")

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> StandardisedFit:
        """Filter and standardise the fixed image over the eroded mask.

        Parameters
        ----------
        fixed : Float[Tensor, "H W"]
            The X-ray.
        mask : Bool[Tensor, "H W"]
            What counts of it.

        Returns
        -------
        StandardisedFit
            What judges moving images.

        Raises
        ------
        XrcoreError
            If nothing of the fixed image can be compared.
        """
        least = 2 * math.ceil(3 * self.sigma) + 3
        if min(fixed.shape) < least:
            raise XrcoreError(f"{self.name}: image is {tuple(fixed.shape)}, smaller than the {least}-pixel stencil; lower sigma")
        return StandardisedFit(self.name, fixed, mask, _Gradients(self.operator, self.sigma))
