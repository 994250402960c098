"""Covariance of a registered pose, and how far landmarks may be drawn from their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose, SlotScan
from xrcore.registration.calibration import INTRINSICS, Unknown, unknowns_of
from xrcore.registration.linearisation import Linearisation, ViewPart, linearised
from xrcore.registration.similarities.base import fit_for, inverse_hessian
from xrcore.registration.similarities.local_zncc import RobustLocalZNCC
from xrcore.registration.similarities.standardised import StandardisedFit
from xrcore.registration.view import View

_PIXELS, _SPACING = 128, 4.0  # of the image; [mm]
_CLUSTER = 3  # patches along a side whose errors count as one: neighbours share edges, shading and half of their pixels
# Chosen such that the 95 % ellipsoid holds 95 % of the true poses, on patients 1, 3 and 4 (benchmarks/robustness.py): a factor on the
# standard deviations, and how far any CT's structures lie from where the X-ray has them [mm], which no image tells.
_INFLATION, _SYSTEMATIC = 1.3, 0.1
# The same of scans, which take seconds: patients breathe meanwhile. Of one scan alone, depth shows by nothing but the width of the fan.
_SCANNED = 0.5
_PIXEL_SHARE = 0.1  # of a pixel at the isocentre: the systematic error that its grid adds where intrinsics are unknown
_LEAST_CURVATURE = 1e-9  # of a Hessian scaled to a unit diagonal: keeps directions that nothing tells finite


class PoseUncertainty(NamedTuple):
    """Result of `pose_uncertainty`.

    Parameters
    ----------
    covariance : Float[Tensor, "6 6"] or None
        See `cluster_robust_covariance`.
    drawn : float
        Standard deviation of where points are drawn, along one axis [mm]; infinite where the X-ray leaves it open.
    drr : Float[Tensor, "h w"]
        The DRR that they come from, on the CPU.
    pixel : float
        Of the coarsest shrunk X-ray, at the isocentre [mm].
    distance_off : float
        By how much the X-rays say that source_to_detector is off, as a share of it; of several geometries, the least likely one.
    distance_deviation : float
        Its standard deviation; infinite where they do not tell.
    """

    covariance: Float[Tensor, "6 6"] | None
    drawn: float
    drr: Float[Tensor, "h w"]
    pixel: float
    distance_off: float
    distance_deviation: float


def calibration_unknowns(views: Sequence[View]) -> tuple[Unknown, ...]:
    """The intrinsics that `pose_uncertainty` may look at; none of slot scans, whose scale is that at the isocentre."""
    return () if any(isinstance(view.carm, SlotScan) for view in views) else unknowns_of("pose_uncertainty", INTRINSICS, views)


def pose_uncertainty(views: Sequence[View], volume: Volume, pose: Pose, beam: Beam, unknowns: Sequence[Unknown] = ()) -> PoseUncertainty:
    """Uncertainty of a pose of the first view, whatever found it, from the X-rays shrunk to 128 pixels.

    unknowns: intrinsics that may be wrong.
    """
    seen = linearised(views, volume, pose, beam, _PIXELS, _SPACING, unknowns)
    covariance = cluster_robust_covariance(*seen.of_pose(), _systematic(seen))
    spread = math.inf if covariance is None else drawn_deviation(covariance, seen.drawn[..., :6])
    return PoseUncertainty(covariance, spread, seen.parts[0].drr[0].cpu(), seen.pixel, *_distance(seen, unknowns))


def _systematic(seen: Linearisation) -> float:
    """The systematic error of where points are drawn [mm]."""
    return _SCANNED if any(isinstance(part.xray.carm, SlotScan) for part in seen.parts) else _SYSTEMATIC


def _distance(seen: Linearisation, unknowns: Sequence[Unknown]) -> tuple[float, float]:
    """By how much the views say that the given distance is off, as a share, and the standard deviation; of several, the least likely."""
    told, known = [], knowledge(seen) if unknowns else None
    for index, unknown in enumerate(unknowns, 6):
        if known is not None and unknown.number == 0:
            told.append((float(known.away[index]) / unknown.given, float(known.covariance[index, index].sqrt()) / unknown.given))
    return max(told, key=lambda pair: abs(pair[0]) / pair[1], default=(0.0, math.inf))


class Knowledge(NamedTuple):
    """What views tell of pose and intrinsics without a prior: how far their estimate is from the current values, and its covariance."""

    away: Float[Tensor, " n"]
    covariance: Float[Tensor, "n n"]


def knowledge(seen: Linearisation) -> Knowledge | None:
    """What the robust patches tell, with the systematic error of where points are drawn; None where that is nothing, or too little."""
    equations = clustered_equations(seen.parts, expected=True)
    if equations is None or len(equations[2]) < 2 * seen.drawn.shape[-1]:  # whose scatter says little of its own size
        return None
    hessian, gradient, clusters = equations
    scale = hessian.diagonal().clamp_min(1e-30).rsqrt()
    curvature, directions = torch.linalg.eigh(hessian * scale * scale[:, None])
    inverse = (directions / curvature.clamp_min(_LEAST_CURVATURE)) @ directions.T * scale * scale[:, None]
    systematic = systematic_covariance(seen.drawn, math.hypot(_systematic(seen), _PIXEL_SHARE * seen.pixel))
    return Knowledge(-inverse @ gradient, inverse @ scatter_of(clusters) @ inverse * _INFLATION**2 + systematic)


def cluster_robust_covariance(parts: Sequence[ViewPart], drawn: Float[Tensor, "N 2 6"], systematic: float) -> Float[Tensor, "6 6"] | None:
    """Covariance of the six numbers of a pose [deg, mm], from how much parts of the image disagree about it.

    Residuals of neighbouring pixels go together, so that the least-squares covariance is far too small. Here each cluster of patches
    counts as one observation, H^-1 (sum of g g^T) H^-1 with g the gradient of a cluster's cost. Added are the step that all of them
    together would still take, and a systematic error of where points are drawn [mm], whose derivative by the numbers is `drawn`.
    Directions without curvature are infinite; None where nothing is known of any number, or the images have too few patches to tell.
    Each part is an X-ray, its DRR and that one's derivative by the same six numbers.

    References
    ----------
    Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73(1), 1986.
    """
    equations = clustered_equations(parts)
    if equations is None:
        return None
    hessian, gradient, clusters = equations
    (inverse,), (unseen,) = inverse_hessian(hessian[None])
    spread = inverse @ scatter_of(clusters) @ inverse * _INFLATION**2
    step = inverse @ gradient
    return spread + step[:, None] * step + systematic_covariance(drawn, systematic) + unseen


def clustered_equations(
    parts: Sequence[ViewPart], *, expected: bool = False
) -> tuple[Float[Tensor, "n n"], Float[Tensor, " n"], Float[Tensor, "c n"]] | None:
    """The robust patches' Hessian and gradient, and the gradients of clusters of patches; None where nothing, or too little, is known.

    expected: see `StandardisedFit.equations_by_group`.
    """
    unknowns = parts[0][2].shape[-1]
    hessian, gradient = torch.zeros(unknowns, unknowns, dtype=torch.float64), torch.zeros(unknowns, dtype=torch.float64)
    groups = []
    for xray, drr, jacobian in parts:
        fitted = fit_for(drr.device, RobustLocalZNCC(), xray.image, xray.mask)
        assert isinstance(fitted, StandardisedFit)
        normal, by_patch = fitted.equations_by_group(drr, jacobian, expected=expected)
        hessian, gradient = hessian + normal.hessian[0].cpu(), gradient + normal.gradient[0].cpu()
        grid = by_patch[0].cpu().unflatten(0, fitted.layout.grid)
        side = max(1, min(_CLUSTER, min(fitted.layout.grid) // 4))  # small images have few patches
        groups += [part.sum((0, 1)) for rows in grid.split(side, 0) for part in rows.split(side, 1)]
    if not torch.isfinite(hessian).all() or not hessian.any():
        return None
    clusters = torch.stack(groups)
    clusters = clusters[clusters.abs().sum(1) > 0]
    return (hessian, gradient, clusters) if len(clusters) > unknowns else None


def scatter_of(clusters: Float[Tensor, "c n"]) -> Float[Tensor, "n n"]:
    """Covariance of the gradient, if each cluster is one observation."""
    count, unknowns = clusters.shape
    return clusters.T @ clusters * count / (count - unknowns)


def systematic_covariance(drawn: Float[Tensor, "N 2 n"], size: float) -> Float[Tensor, "n n"]:
    """Covariance of unknowns from a systematic error [mm] of where points are drawn, whose derivative is given."""
    return torch.linalg.inv(torch.einsum("nai,naj->ij", drawn, drawn) / len(drawn)) * size**2


def drawn_deviation(covariance: Float[Tensor, "6 6"], drawn: Float[Tensor, "N 2 6"]) -> float:
    """Standard deviation of where points are drawn, along one axis [mm]; root mean square over points."""
    if not torch.isfinite(covariance).all():
        return float("inf")
    return float(torch.einsum("nai,ij,naj->na", drawn, covariance.double(), drawn).clamp_min(0).mean().sqrt())
