"""Joint histograms by Parzen windows, shared by whole-image and patch-wise mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore.registration.similarities.base import MovableFit, NormalEquations, check_moving, flat_tolerance, masked_fixed

WINDOWS = {"linear": 1, "cubic": 3}  # B-spline orders


@dataclass(frozen=True, kw_only=True)
class ParzenOptions:
    """Shared options of similarities by mutual information: bins, window, normalised as in `MutualInformation`."""

    name: ClassVar[str]
    least_squares: ClassVar[bool] = False
    bins: int = 32
    window: str = "cubic"
    normalised: bool = False

    def __post_init__(self) -> None:
        require(self.name, "window", self.window, isinstance(self.window, str) and self.window in WINDOWS, f"one of {', '.join(WINDOWS)}")
        require(self.name, "bins", self.bins, is_whole(self.bins) and 5 <= self.bins <= 1024, "between 5 and 1024")


def _plogp(p: Tensor) -> Tensor:
    """p log p, with 0 log 0 = 0 and a finite derivative there."""
    return p * p.clamp_min(1e-30).log()


class ParzenFit(MovableFit):
    """Mutual information [nats] with a fixed image, weighted over regions of it (one region: the ordinary one).

    Fixed pixels fall into equal bins between the image's extremes (zero-order window); moving pixels, scaled between their own
    extremes inside the mask, are spread over bins by a B-spline window, which makes the histogram differentiable. Both as in
    Mattes et al. 2003, except that every pixel counts and that the range follows each moving image (derivative included), so that
    gain and offset do not matter.

    region: (H, W), the number of each pixel's region. weighted: weigh regions by the fixed image's entropy in them; otherwise equally.
    options.normalised: mutual information / joint entropy, in [0, 1], instead of nats; Studholme's normalised mutual information less 1.
    """

    def __init__(
        self, options: ParzenOptions, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"], region: Int[Tensor, "H W"], *, weighted: bool
    ) -> None:
        name, bins = options.name, options.bins
        fixed = masked_fixed(name, fixed, mask)
        if not bool(mask.any()):
            raise XrcoreError(f"{name}: the mask leaves no pixel")
        self.name, self.shape = name, fixed.shape
        self._bins, self._order, self._normalised = bins, WINDOWS[options.window], options.normalised
        self._pixels = None if bool(mask.all()) else mask.flatten().nonzero().squeeze(1)
        seen, region = fixed[mask].double(), region.to(fixed.device)[mask]
        low, high = seen.min(), seen.max()
        if not (high - low) ** 2 > flat_tolerance(fixed.dtype) * seen.square().mean():
            raise XrcoreError(f"{name}: the fixed image is constant inside the mask; check image and mask")
        fixed_bin = ((seen - low) / (high - low) * bins).long().clamp_max(bins - 1)

        area = torch.bincount(region)
        kept = area >= 0.25 * area.max()  # slivers at the mask's border have too few pixels for a histogram
        self._regions = int(kept.sum())
        renumbered = (kept.cumsum(0) - 1).where(kept, self._regions)  # one spare region at the end collects what does not count
        self._row = renumbered[region] * bins + fixed_bin  # (N,) row of each pixel in the stacked joint histograms
        histogram = torch.bincount(self._row, minlength=(self._regions + 1) * bins).double().view(-1, bins)[:-1]
        self._area = histogram.sum(1)  # (K,)
        self._fixed_entropy = -_plogp(histogram / self._area[:, None]).sum(1)
        weight = self._fixed_entropy if weighted else torch.ones_like(self._fixed_entropy)
        self._weight = weight / weight.sum()

    def _scaled(self, moving: Float[Tensor, "B H W"]) -> tuple[Float[Tensor, "B N"], Bool[Tensor, " B"]]:
        """Moving pixels in bins from the first centre whose window fits to the last, and whether they vary at all."""
        pixels = moving.flatten(1)
        if self._pixels is not None:
            pixels = pixels[:, self._pixels]
        low, high = pixels.amin(1, keepdim=True), pixels.amax(1, keepdim=True)
        span = high - low
        varied = span.detach() ** 2 > flat_tolerance(moving.dtype) * pixels.detach().square().mean(1, keepdim=True)
        margin = (self._order - 1) // 2
        scaled = (pixels - low) / torch.where(varied, span, 1.0) * (self._bins - 1 - 2 * margin) + margin
        return scaled, varied.squeeze(1)

    def _joint(self, scaled: Float[Tensor, "B N"]) -> Float[Tensor, "B K F M"]:
        """Joint probabilities of each region."""
        batch, bins, margin = scaled.shape[0], self._bins, (self._order - 1) // 2
        first = scaled.detach().floor().clamp_(margin, bins - 2 - margin)
        u = scaled - first
        if self._order == 1:
            windows = [1 - u, u]
        else:
            v, u2 = 1 - u, u * u
            windows = [v * v * v / 6, (u2 * (3 * u - 6) + 4) / 6, (u * (3 + 3 * u - 3 * u2) + 1) / 6, u2 * u / 6]
        size = (self._regions + 1) * bins * bins
        start = torch.arange(batch, device=scaled.device).unsqueeze(1) * size + self._row * bins + first.long() - margin
        joint = torch.zeros(batch * size, dtype=torch.float64, device=scaled.device)
        for i, w in enumerate(windows):
            joint = joint.index_add(0, (start + i).flatten(), w.flatten().double())
        return joint.view(batch, -1, bins, bins)[:, :-1] / self._area[:, None, None]

    def value(self, moving: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
        """Weighted mean of the regions' mutual information."""
        check_moving(self.name, self.shape, moving)
        scaled, varied = self._scaled(moving)
        joint = self._joint(scaled)
        joint_entropy = -_plogp(joint).sum((2, 3))
        information = self._fixed_entropy - _plogp(joint.sum(2)).sum(2) - joint_entropy
        if self._normalised:
            information = information / joint_entropy.clamp_min(1e-12)
        return torch.where(varied, information @ self._weight, 0.0).to(moving.dtype)

    def normal_equations(self, moving: Float[Tensor, "B H W"], jacobian: Float[Tensor, "B H W 6"]) -> NormalEquations:
        """Raises XrcoreError: mutual information is no sum of squares."""
        raise XrcoreError(f"{self.name} has no least-squares residual; choose a similarity of the ZNCC family or a method without one")
