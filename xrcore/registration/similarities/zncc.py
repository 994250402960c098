"""Zero-normalised cross-correlation of whole images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.registration.similarities.standardised import Layout, StandardisedFit


class _WholeImage(Layout):
    """One group: the image."""

    def arrange(self, image: Tensor) -> Tensor:
        return image.flatten(1, 2).unsqueeze(1)

    def arrange_mask(self, mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "1 P"]:
        return mask.flatten().unsqueeze(0)


@dataclass(frozen=True, kw_only=True)
class ZNCC:
    """Zero-normalised cross-correlation, in [-1, 1]: the mean product of the standardised images.

    Maximising it is least squares of the standardised images' difference: |z_f - z_m|^2 / N = 2 (1 - ZNCC).

    References
    ----------
    Lewis, "Fast normalized cross-correlation", Vision Interface 1995; as a least-squares problem, Evangelidis and
    Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization", IEEE TPAMI 2008.
    """

    name: ClassVar[str] = "zncc"
    least_squares: ClassVar[bool] = True

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> StandardisedFit:
        """Standardise the fixed image over the mask.

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
        return StandardisedFit(self.name, fixed, mask, _WholeImage())
