"""How well a smooth function of one image predicts the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore.registration.similarities.base import MovableFit, NormalEquations, check_moving, flat_tolerance, masked_fixed

_RIDGE = 1e-4  # of the mean of the normal matrix's diagonal: keeps knots that no pixel is near from being undetermined


@dataclass(frozen=True, kw_only=True)
class CorrelationRatio:
    """Share of the X-ray's variance that the best smooth function of the DRR explains, in [0, 1].

    It does not depend on how grey values were mapped: logarithm or not, inverted, gamma, window. With a straight line in place of the
    function it would be the square of ZNCC.

    Parameters
    ----------
    knots : int
        Of the piecewise linear function, evenly spaced over the DRR's grey values.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Roche et al., "The correlation ratio as a new similarity measure for multimodal image registration", MICCAI 1998; as least squares
    by variable projection: Golub and Pereyra 1973, with the Jacobian of Kaufman 1975.
    """

    name: ClassVar[str] = "correlation-ratio"
    least_squares: ClassVar[bool] = True
    knots: int = 8

    def __post_init__(self) -> None:
        require(self.name, "knots", self.knots, is_whole(self.knots) and 2 <= self.knots <= 64, "a whole number, 2 to 64")

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> CorrelationRatioFit:
        """Centre the fixed image.

        Parameters
        ----------
        fixed : Float[Tensor, "H W"]
            The X-ray.
        mask : Bool[Tensor, "H W"]
            What counts of it.

        Returns
        -------
        CorrelationRatioFit
            What judges moving images.

        Raises
        ------
        XrcoreError
            If nothing of the fixed image can be compared.
        """
        return CorrelationRatioFit(self, fixed, mask)


class CorrelationRatioFit(MovableFit):
    """A fixed image whose variance is to be explained."""

    def __init__(self, options: CorrelationRatio, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> None:
        fixed = masked_fixed(options.name, fixed, mask)
        self.name, self.shape, self.knots = options.name, fixed.shape, options.knots
        self.kept = torch.nonzero(mask.flatten()).squeeze(-1)
        values = fixed.flatten()[self.kept]
        centred = values - values.mean()
        total = float((centred.double() ** 2).sum())
        if not total > flat_tolerance(fixed.dtype) * float((values.double() ** 2).sum()):
            raise XrcoreError(
                f"{options.name}: the fixed image is constant inside the mask, or too little of it is inside; check image and mask"
            )
        self.fixed = centred / total**0.5  # (P,), of unit length
        self.effective_count = float(len(self.kept))

    def _explained(self, values: Float[Tensor, "B P"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Explained part (B, P), slope of the function at each pixel (B, P), basis (B, P, K), its inverse normal matrix, share (B, P)."""
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        span = torch.where(high > low, high - low, 1.0)
        share = (values - low) / span
        place = share * (self.knots - 1)
        distance = place.unsqueeze(-1) - torch.arange(self.knots, dtype=values.dtype, device=values.device)
        basis = (1 - distance.abs()).clamp_min(0)  # sums to 1 at each pixel, so constants are among the functions
        gram = (basis.mT @ basis).double()
        ridge = _RIDGE * gram.diagonal(dim1=-2, dim2=-1).mean(-1)
        inverse, _ = torch.linalg.inv_ex(  # which, unlike inv, does not wait for a GPU
            gram + ridge[:, None, None] * torch.eye(self.knots, dtype=gram.dtype, device=gram.device)
        )
        height = (inverse @ (basis.mT @ self.fixed.to(values.dtype)).double().unsqueeze(-1)).to(values.dtype)
        rise = height.squeeze(-1).diff(dim=1) * (self.knots - 1) / span
        piece = place.detach().long().clamp(0, self.knots - 2)
        return (basis @ height).squeeze(-1), rise.gather(1, piece), basis, inverse, share

    def _varied(self, values: Float[Tensor, "B P"]) -> Bool[Tensor, " B"]:
        """Whether a moving image is more than constant but for rounding."""
        values = values.detach()
        return values.var(1, correction=0) > flat_tolerance(values.dtype) * (values**2).mean(1)

    def value(self, moving: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
        """Share of the variance explained."""
        check_moving(self.name, self.shape, moving)
        values = moving.flatten(1)[:, self.kept]
        left = ((self.fixed.to(values.dtype) - self._explained(values)[0]).double() ** 2).sum(1)
        return torch.where(self._varied(values), 1 - left, 0.0).to(moving.dtype)

    @torch.no_grad()
    def normal_equations(self, moving: Float[Tensor, "B H W"], jacobian: Float[Tensor, "B H W 6"]) -> NormalEquations:
        """See `NormalEquations`; the residual is sqrt(2) (fixed - explained)."""
        check_moving(self.name, self.shape, moving, jacobian)
        values, columns = moving.flatten(1)[:, self.kept], jacobian.flatten(1, 2)[:, self.kept]
        explained, slope, basis, inverse, share = self._explained(values)
        left = self.fixed.to(values.dtype) - explained
        lowest, highest = (at[:, None, None].expand(-1, 1, 6) for at in (values.argmin(1), values.argmax(1)))
        ends = columns.gather(1, lowest), columns.gather(1, highest)  # the knots move with the range of grey values
        columns = (columns - ends[0] - share.unsqueeze(-1) * (ends[1] - ends[0])) * slope.unsqueeze(-1)
        across = (basis.mT @ columns).double()  # the function follows what of the change it can
        gradient = -2 * (columns.mT @ left.unsqueeze(-1)).squeeze(-1).double()
        hessian = 2 * ((columns.mT @ columns).double() - across.mT @ inverse @ across)
        value = 1 - (left.double() ** 2).sum(1)
        varied = self._varied(values).double()
        return NormalEquations(value * varied, gradient * varied[:, None], hessian * varied[:, None, None], self.effective_count)
