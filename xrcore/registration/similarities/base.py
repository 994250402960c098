"""Base classes of similarities: options that, fitted to a fixed image, compare it with moving images."""

from __future__ import annotations

import copy
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore._util.errors import XrcoreError

_LEAST_CURVATURE = 1e-12  # of a Hessian scaled to a unit diagonal: below it there is rounding only
_LEAST_SHARE = 1e-6  # of a direction without curvature: less does not change a number


class NormalEquations(NamedTuple):
    """One Gauss-Newton linearisation of the cost 1 - value = |r|^2 / 2, always float64: 6 x 6 systems are solved from it.

    Parameters
    ----------
    value : Float[Tensor, "B"]
        Similarity of each pose.
    gradient : Float[Tensor, "B 6"]
        Of the cost, J^T r.
    hessian : Float[Tensor, "B 6 6"]
        J^T J.
    effective_count : float
        How many equally weighted residuals the weighted ones are worth, so that |r|^2 / (effective_count - 6) * hessian^-1 is
        the least-squares covariance if their errors are independent.
    """

    value: Float[Tensor, " B"]
    gradient: Float[Tensor, "B 6"]
    hessian: Float[Tensor, "B 6 6"]
    effective_count: float

    def covariance(self) -> Float[Tensor, "B 6 6"]:
        """Covariance of the six numbers, least squares' 2 (1 - value) / (N - 6) H^-1.

        Returns
        -------
        Float[Tensor, "B 6 6"]
            Numbers that a direction without curvature would change have an infinite variance; NaN where the Hessian is not finite.
        """
        variance = 2 * (1 - self.value).clamp_min(1e-12) / max(self.effective_count - 6, 1.0)
        known, infinite = inverse_hessian(self.hessian)
        return variance[:, None, None] * known + infinite


def inverse_hessian(hessian: Float[Tensor, "B 6 6"]) -> tuple[Float[Tensor, "B 6 6"], Float[Tensor, "B 6 6"]]:
    """Inverse over the directions that have curvature, and infinity for what the others would change; NaN where not finite."""
    finite = torch.isfinite(hessian).all(-1).all(-1)[:, None, None]
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()  # degrees and mm to one scale, so that eigenvalues compare
    scaled = torch.where(finite, hessian, 0.0) * scale.unsqueeze(-1) * scale.unsqueeze(-2)
    curvature, directions = torch.linalg.eigh(scaled)
    seen = curvature > _LEAST_CURVATURE
    inverse = torch.where(seen, curvature, 1.0).reciprocal() * seen
    known = (directions * inverse.unsqueeze(-2)) @ directions.mT * scale.unsqueeze(-1) * scale.unsqueeze(-2)
    unseen = (directions * ~seen.unsqueeze(-2)) @ directions.mT
    infinite = torch.where(unseen.abs() > _LEAST_SHARE, torch.inf * unseen.sign(), 0.0)
    return torch.where(finite, known, torch.nan), torch.where(finite, infinite, 0.0)


class Fitted(Protocol):
    """A similarity with all that depends on the fixed image alone computed once."""

    def value(self, moving: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
        """Similarity of each moving image.

        Parameters
        ----------
        moving : Float[Tensor, "B H W"]
            DRRs.

        Returns
        -------
        Float[Tensor, "B"]
            Higher is better; differentiable in `moving`. A constant image has value 0 and gradient 0.
        """

    def normal_equations(self, moving: Float[Tensor, "B H W"], jacobian: Float[Tensor, "B H W 6"]) -> NormalEquations:
        """Value, gradient and Gauss-Newton Hessian.

        Parameters
        ----------
        moving : Float[Tensor, "B H W"]
            DRRs.
        jacobian : Float[Tensor, "B H W 6"]
            Their derivative by the pose.

        Returns
        -------
        NormalEquations
            Of each image.

        Raises
        ------
        XrcoreError
            Where no residual exists.
        """


class MovableFit(Fitted):
    """A fitted similarity that can move between devices."""

    def to(self, device: torch.device) -> Self:
        """The same with its tensors on another device, without synchronisation; from the CPU."""
        there = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(there, name, on_device(value.numpy(), device))
        return there


@runtime_checkable
class Similarity(Protocol):
    """Options of a similarity: frozen, hashable, independent of any image.

    Attributes
    ----------
    name : str
        Its name in `similarity(name)`.
    least_squares : bool
        Whether it has a residual, hence `normal_equations`.
    """

    name: ClassVar[str]
    least_squares: ClassVar[bool]

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> Fitted:
        """Precompute all that depends on the fixed image.

        Parameters
        ----------
        fixed : Float[Tensor, "H W"]
            The X-ray.
        mask : Bool[Tensor, "H W"]
            Pixels where it is False, in either image, never count.

        Returns
        -------
        Fitted
            What judges moving images.
        """


def fit_for(device: torch.device, similarity: Similarity, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> Fitted:
    """`similarity.fit` for moving images that are on that device.

    What is fitted to an image on the processor is fitted there and then moved, if it can be: a fit looks at its numbers again and again,
    and a GPU would be waited for each time.
    """
    if fixed.device.type == "cpu" != device.type:
        fitted = similarity.fit(fixed, mask)
        if isinstance(fitted, MovableFit):
            return fitted.to(device)
    return similarity.fit(fixed.to(device), mask.to(device))


def masked_fixed(name: str, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """The fixed image with zeros outside the mask, after checking both."""
    if fixed.ndim != 2 or mask.shape != fixed.shape:
        raise XrcoreError(f"{name}: fixed image and mask must share a shape (H, W), got {tuple(fixed.shape)} and {tuple(mask.shape)}")
    if not fixed.is_floating_point() or mask.dtype != torch.bool:
        raise XrcoreError(f"{name}: fixed image must be floating point and mask bool, got {fixed.dtype} and {mask.dtype}")
    fixed = torch.where(mask, fixed.detach(), 0.0)
    if not torch.isfinite(fixed).all():
        raise XrcoreError(f"{name}: the fixed image holds NaN or infinite pixels; mask them")
    return fixed


def check_moving(name: str, shape: torch.Size, moving: Tensor, jacobian: Tensor | None = None) -> None:
    """Raise XrcoreError unless moving is (B, *shape) and jacobian, if given, (B, *shape, 6), or of more columns."""
    if moving.ndim != 3 or moving.shape[1:] != shape:
        raise XrcoreError(f"{name}: moving images must be (B, {shape[0]}, {shape[1]}) like the fixed one, got {tuple(moving.shape)}")
    if jacobian is not None and (jacobian.shape[:-1] != moving.shape or jacobian.shape[-1] < 6):
        raise XrcoreError(f"{name}: jacobian must be {(*moving.shape, 6)}, got {tuple(jacobian.shape)}")


def flat_tolerance(dtype: torch.dtype) -> float:
    """Variance / mean square below which an image is constant but for rounding."""
    return float((16 * torch.finfo(dtype).eps) ** 2)
