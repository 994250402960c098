"""Least squares of standardised pixels, shared by ZNCC of images, gradients and patches.

A similarity lays pixels out in groups g (the image; its two gradient components; its patches) of n_g pixels. With u the pixels of
a group, centred and scaled to |u| = 1, and weights w_g that sum to 1,

    value = sum_g w_g u_f . u_m,    r = (sqrt(w_g) (u_f - u_m))_g,    |r|^2 / 2 = 1 - value.

A contrast floor keeps nearly flat groups from being blown up to unit contrast: each group gets one more pixel, of size sqrt(n e),
where e = floor^2 x (variance of the whole image). With v the group's variance and q = v + e,

    u = (m - mean, sqrt(n e)) / sqrt(n q),    u_f . u_m = (cov + sqrt(e_f e)) / sqrt(q_f q),

still exactly 1 for equal images, and independent of the image's gain and offset.

With a tolerance t, the cost s = 1 - u_f . u_m of a group becomes s (1 + t) / (s + t): groups that differ by much more than t, such as
those with a tool or burnt-in text, pull little (Geman and McClure 1985). Gauss-Newton weighs each group by the cost's derivative.

All that Gauss-Newton needs are sums over pixels of J, m J, f J and J J^T, so that standardised Jacobians are never formed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.registration.similarities.base import MovableFit, NormalEquations, check_moving, flat_tolerance, masked_fixed


class Layout(ABC):
    """How pixels form groups. Cells partition the pixels; a group is one cell or, where groups overlap, several."""

    @abstractmethod
    def arrange(self, image: Tensor) -> Tensor:
        """Linear map of images (B, H, W, ...) to pixels in cells (B, C, P, ...)."""

    @property
    def grid(self) -> tuple[int, int]:
        """How the groups lie on the image, along rows and columns, where they do."""
        raise NotImplementedError

    @abstractmethod
    def arrange_mask(self, mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "C P"]:
        """Which pixels in cells depend on pixels inside the mask only."""

    def pool(self, sums: Tensor) -> Tensor:
        """Sums over cells (B, C, ...) to sums over groups (B, G, ...); the same where each cell is a group."""
        return sums


@dataclass(frozen=True, eq=False)
class _Moments:
    """Statistics of moving images: pixels less `centre` in cells; the rest per group, float64."""

    centred: Float[Tensor, "B C P"]
    mean: Float[Tensor, "B G"]  # of the centred pixels
    variance: Float[Tensor, "B G"]
    covariance: Float[Tensor, "B G"]  # with the fixed image
    floor: Float[Tensor, "B 1"]  # e
    total_mean: Float[Tensor, " B"]
    varied: Bool[Tensor, "B G"]  # False where constant but for rounding


class StandardisedFit(MovableFit):
    """A fixed image, standardised in groups.

    floor: contrast floor as a share of the whole image's standard deviation. tolerance: cost that a group may have before it loses
    weight. Groups weigh n v_f / (v_f + e_f); those that are flat, or lie mostly outside the mask (under a quarter of the largest
    group), weigh nothing. Raises XrcoreError if that leaves none.

    What the GPU's kernels read as well: fixed, inside (C, P), pixels in cells, centred and 0 outside the mask, and where they count (None:
    everywhere); weight, fixed_scale, fixed_extra (G,), float64, of the groups: w, 1 / sqrt(q_f), sqrt(e_f / q_f); variance_floor: floor^2;
    tolerance.
    """

    def __init__(
        self,
        name: str,
        fixed: Float[Tensor, "H W"],
        mask: Bool[Tensor, "H W"],
        layout: Layout,
        *,
        floor: float = 0.0,
        tolerance: float = math.inf,
    ) -> None:
        fixed = masked_fixed(name, fixed, mask)
        self.name, self.shape, self.layout, self.variance_floor = name, fixed.shape, layout, floor**2
        self.tolerance = tolerance
        inside = layout.arrange_mask(mask)  # (C, P)
        self._total = max(float(inside.sum()), 1.0)
        self.inside = None if bool(inside.all()) else inside.to(fixed.dtype)

        cells = layout.arrange(fixed.unsqueeze(0)).squeeze(0)
        pixels = cells if self.inside is None else cells * self.inside
        self._count = layout.pool(inside.sum(-1).double().unsqueeze(0)).squeeze(0).clamp_min(1.0)  # (G,)
        centre = self._centre(pixels.unsqueeze(0)).squeeze(0)  # (C or 1, 1)
        self.fixed = pixels - centre if self.inside is None else (pixels - centre) * self.inside

        def mean(x: Tensor) -> Tensor:
            return layout.pool(x.sum(-1).double().unsqueeze(0)).squeeze(0) / self._count

        self._fixed_mean = mean(self.fixed)
        variance = (mean(self.fixed**2) - self._fixed_mean**2).clamp_min(0.0)
        fixed_floor = self.variance_floor * float((self.fixed.double() ** 2).sum()) / self._total
        contrast = variance + fixed_floor
        varied = variance > flat_tolerance(fixed.dtype) * (variance + (self._fixed_mean + centre.squeeze(-1)) ** 2)
        whole = self._count >= 0.25 * self._count.max()
        weight = torch.where(varied & whole, self._count * variance / contrast.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
        if not weight.sum() > 0:
            raise XrcoreError(f"{name}: the fixed image is constant inside the mask, or too little of it is inside; check image and mask")
        self.weight = weight / weight.sum()  # (G,)
        self.fixed_scale = torch.where(varied, contrast, 1.0).rsqrt()
        self.fixed_extra = fixed_floor**0.5 * self.fixed_scale

        # pool is linear, so its adjoint, needed only here, comes from its gradient
        cell_count = inside.sum(-1).double()
        probe = torch.zeros(1, inside.shape[0], dtype=torch.float64, device=fixed.device, requires_grad=True)
        with torch.enable_grad():
            spread = (layout.pool(probe).squeeze(0) * (self.weight / self._count)).sum()
        (share,) = torch.autograd.grad(spread, probe)  # weight of one pixel in each cell, summed over its groups
        self.effective_count = float(1.0 / (cell_count * share[0] ** 2).sum())

    @cached_property
    def _inside6(self) -> Float[Tensor, "C P 6"] | None:
        """As often as the pose's Jacobian has columns, which multiplies faster than a broadcast."""
        return None if self.inside is None else self.inside.unsqueeze(-1).expand(*self.inside.shape, 6).contiguous()

    def _centre(self, pixels: Float[Tensor, "B C P"]) -> Float[Tensor, "B _ 1"]:
        """Mean to subtract first, to lose no digits: each cell's own, unless groups overlap or share a floor and need a common one."""
        if self.variance_floor > 0:
            return pixels.sum((1, 2), keepdim=True) / self._total
        return pixels.sum(2, keepdim=True) / self._count.to(pixels.dtype).unsqueeze(-1)

    def _moments(self, moving: Float[Tensor, "B H W"]) -> _Moments:
        pool, count, total = self.layout.pool, self._count, self._total
        fixed = self.fixed.to(moving.dtype)
        pixels = self.layout.arrange(moving)
        if self.inside is None:
            centre = self._centre(pixels)
            centred = pixels - centre
        else:
            inside = self.inside.to(moving.dtype)
            centre = self._centre(pixels * inside)
            centred = (pixels - centre) * inside
        first, second = centred.sum(-1).double(), (centred * centred).sum(-1).double()
        mean = pool(first) / count
        variance = pool(second) / count - mean * mean
        covariance = pool((centred * fixed).sum(-1).double()) / count - self._fixed_mean * mean
        total_mean = first.sum(1) / total
        floor = (self.variance_floor * (second.sum(1) / total - total_mean**2)).unsqueeze(1)
        offset = mean.detach() + centre.detach().squeeze(-1).double()
        varied = variance.detach() + floor.detach() > flat_tolerance(moving.dtype) * (variance.detach() + offset**2)
        return _Moments(centred, mean, variance, covariance, floor, total_mean, varied)

    def _correlation(self, s: _Moments) -> tuple[Float[Tensor, "B G"], Float[Tensor, "B G"], Float[Tensor, "B 1"]]:
        """u_f . u_m per group (0 where the moving image is flat), q and sqrt(e), both safe to divide by."""
        contrast = torch.where(s.varied, s.variance + s.floor, 1.0)
        root_floor = torch.where(s.floor > 0, s.floor, 1.0).sqrt()
        extra = torch.where(s.floor > 0, root_floor, 0.0) * self.fixed_extra
        correlation = (s.covariance * self.fixed_scale + extra) * contrast.rsqrt()
        return torch.where(s.varied, correlation, 0.0), contrast, root_floor

    def value(self, moving: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
        """Weighted mean correlation of the groups, at most 1."""
        check_moving(self.name, self.shape, moving)
        correlation, _, _ = self._correlation(self._moments(moving))
        return (self._tolerant(correlation)[0] @ self.weight).to(moving.dtype)

    def _tolerant(self, correlation: Float[Tensor, "B G"]) -> tuple[Tensor, Tensor | None]:
        """Value of each group, and the derivative of its cost 1 - value by 1 - correlation (None: 1)."""
        if math.isinf(self.tolerance):
            return correlation, None
        t, loss = self.tolerance, 1 - correlation
        return 1 - loss * (1 + t) / (t + loss), t * (1 + t) / (t + loss) ** 2

    def normal_equations(self, moving: Float[Tensor, "B H W"], jacobian: Float[Tensor, "B H W 6"]) -> NormalEquations:
        """See `NormalEquations`; from sums over pixels, without forming residuals."""
        return self.equations_by_group(moving, jacobian)[0]

    @torch.no_grad()
    def equations_by_group(
        self, moving: Float[Tensor, "B H W"], jacobian: Float[Tensor, "B H W n"], *, expected: bool = False
    ) -> tuple[NormalEquations, Float[Tensor, "B G n"]]:
        """The normal equations, and what each group contributes to their gradient; n is 6, or more with unknown intrinsics.

        expected: with the Hessian of the cost that is expected where the residual is noise, which is smaller than Gauss-Newton's. There
        u_f = c u_m + noise, so that 1 - u_f . u_m curves as c |du_m|^2; and groups lose weight as they move away.
        """
        check_moving(self.name, self.shape, moving, jacobian)
        pool, count = self.layout.pool, self._count.unsqueeze(-1)
        s = self._moments(moving)
        correlation, contrast, root_floor = self._correlation(s)

        columns = self.layout.arrange(jacobian)
        if self._inside6 is not None:
            inside = (self._inside6 if jacobian.shape[-1] == 6 else self._inside6[..., :1]).to(jacobian.dtype)
            shared = columns.untyped_storage().data_ptr() == jacobian.untyped_storage().data_ptr()
            columns = columns * inside if shared else columns.mul_(inside)
        rows = torch.empty(*s.centred.shape[:2], 3, s.centred.shape[2], dtype=jacobian.dtype, device=jacobian.device)
        rows[:, :, 0], rows[:, :, 1], rows[:, :, 2] = 1.0, s.centred, self.fixed
        sums = (rows @ columns).double()  # (B, C, 3, 6)
        sum_j, sum_mj, sum_fj = pool(sums).unbind(2)  # (B, G, 6) each
        sum_jj = pool(_gram(columns).double())  # (B, G, 6, 6)

        mean_j = sum_j / count
        m_j = sum_mj / count - s.mean.unsqueeze(-1) * mean_j  # cov(m, J)
        f_j = (sum_fj / count - self._fixed_mean.unsqueeze(-1) * mean_j) * self.fixed_scale.unsqueeze(-1)
        q = contrast.unsqueeze(-1)
        value, slope = self._tolerant(correlation)
        weight = torch.where(s.varied.unsqueeze(-1), self.weight.unsqueeze(-1), 0.0)
        weight = weight if slope is None else weight * slope.unsqueeze(-1)
        if self.variance_floor > 0:
            total_j, total_mj = sums[:, :, 0].sum(1), sums[:, :, 1].sum(1)
            d_floor = (2 * self.variance_floor / self._total * (total_mj - s.total_mean.unsqueeze(-1) * total_j)).unsqueeze(1)  # (B, 1, 6)
            d_root = d_floor / (2 * root_floor.unsqueeze(-1))
            f_j = f_j + self.fixed_extra.unsqueeze(-1) * d_root
            m_j = m_j + 0.5 * d_floor
        # with y = (m - mean, sqrt(n e)) and u = y / |y|: du = (dy - u (u . dy)) / |y|, so du^T du = dy^T dy / |y|^2 - h h^T
        h = m_j / q
        gradient = weight * (correlation.unsqueeze(-1) * h - f_j * q.rsqrt())
        if expected:
            weight = weight * correlation.clamp_min(0).unsqueeze(-1)
        scale = weight / q  # (B, G, 1)
        hessian = ((scale / count).unsqueeze(-1) * sum_jj).sum(1) - (scale * mean_j).mT @ mean_j - (weight * h).mT @ h
        if self.variance_floor > 0:
            hessian += scale.sum(1, keepdim=True) * (d_root.mT @ d_root)
        if expected and slope is not None:
            # with s = 1 - value, and cost s (1 + t) / (s + t): second derivative -2 slope / (s + t), and gradient = w slope ds
            own = (self.weight * slope * (1 - correlation + self.tolerance)).unsqueeze(-1).clamp_min(1e-30)
            hessian -= (2 * gradient / own).mT @ gradient
        return NormalEquations(value @ self.weight, gradient.sum(1), hessian, self.effective_count), gradient


def _gram(columns: Float[Tensor, "*batch P n"]) -> Float[Tensor, "*batch n n"]:
    """J^T J over P. Two pixels a row make a 2n x 2n product, of which two blocks are wanted: BLAS is over twice as fast than at 6 x 6."""
    *batch, pixels, n = columns.shape
    if pixels % 2 or not columns.is_contiguous():
        return columns.mT @ columns
    pairs = columns.reshape(*batch, pixels // 2, 2 * n)
    product = pairs.mT @ pairs
    return product[..., :n, :n] + product[..., n:, n:]
