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
from xrcore.geometry import CArm, Pose, SlotScan
from xrcore.geometry.rigid import apply, skew
from xrcore.registration.body_window import voxels_for
from xrcore.registration.corners import corners
from xrcore.registration.joint_problem import change_of_numbers, from_first, poses_in_views
from xrcore.registration.problem import shrink
from xrcore.registration.similarities.base import fit_for, inverse_hessian
from xrcore.registration.similarities.local_zncc import RobustLocalZNCC
from xrcore.registration.similarities.standardised import StandardisedFit
from xrcore.registration.view import View
from xrcore.renderer import render_with_jacobian
from xrcore.xray.image import Xray

_PIXELS, _SPACING = 128, 4.0  # of the image; [mm]
_CLUSTER = 3  # patches along a side whose errors count as one: neighbours share edges, shading and half of their pixels
# Chosen such that the 95 % ellipsoid holds 95 % of the true poses, on patients 1, 3 and 4 (benchmarks/robustness.py): a factor on the
# standard deviations, and how far any CT's structures lie from where the X-ray has them [mm], which no image tells.
INFLATION, SYSTEMATIC = 1.3, 0.1
# The same of scans, which take seconds: patients breathe meanwhile. Of one scan alone, depth shows by nothing but the width of the fan.
_SCANNED = 0.5


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
    carm : CArm
        Its geometry.
    """

    covariance: Float[Tensor, "6 6"] | None
    drawn: float
    drr: Float[Tensor, "h w"]
    carm: CArm


def pose_uncertainty(views: Sequence[View], volume: Volume, pose: Pose, beam: Beam) -> PoseUncertainty:
    """Uncertainty of a pose of the first view, whatever found it, from the X-rays shrunk to 128 pixels."""
    small = [shrink(view.xray, _PIXELS) for view in views]
    coarse, carms = volume.coarser(voxels_for(views, _PIXELS, _SPACING)), [xray.carm for xray in small]
    parts, drawn = [], []
    for xray, own, k_from_first in zip(small, poses_in_views(pose, views, volume), from_first(views), strict=True):
        image, jacobian = render_with_jacobian(coarse, xray.carm, own, beam)
        by_first = change_of_numbers(pose, carms[0], own, xray.carm, k_from_first)[0]
        parts.append((xray, image, (jacobian.double() @ by_first.to(jacobian.device)).to(jacobian.dtype)))
        drawn.append(drawn_by_numbers(own, xray.carm, volume, corners(volume)) @ by_first)
    everywhere = torch.cat(drawn)
    scanned = any(isinstance(view.carm, SlotScan) for view in views)
    covariance = cluster_robust_covariance(parts, everywhere, _SCANNED if scanned else SYSTEMATIC)
    spread = math.inf if covariance is None else drawn_deviation(covariance, everywhere)
    return PoseUncertainty(covariance, spread, parts[0][1][0].cpu(), carms[0])


def cluster_robust_covariance(
    parts: Sequence[tuple[Xray, Float[Tensor, "1 H W"], Float[Tensor, "1 H W 6"]]], drawn: Float[Tensor, "N 2 6"], systematic: float
) -> Float[Tensor, "6 6"] | None:
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
    spread = inverse @ scatter_of(clusters) @ inverse * INFLATION**2
    step = inverse @ gradient
    return spread + step[:, None] * step + systematic_covariance(drawn, systematic) + unseen


def clustered_equations(
    parts: Sequence[tuple[Xray, Float[Tensor, "1 H W"], Float[Tensor, "1 H W n"]]], *, expected: bool = False
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


def drawn_by_numbers(pose: Pose, carm: CArm, volume: Volume, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2 6"]:
    """Derivative of where world points are drawn, across the ray at their depth [mm], by the six numbers [deg, mm]."""
    places = apply(pose.camera_from_world(carm, volume.isocenter), points)[0].double()
    # the camera's motion exp(v, w) moves a point in its frame by -(v + w x place)
    motion = -torch.cat([torch.eye(3, dtype=torch.float64).expand(len(places), 3, 3), -skew(places)], 2)
    across = motion[:, :2] - places[:, :2, None] / places[:, 2:, None] * motion[:, 2:]
    return across @ pose.twists(carm)[0].double()


def drawn_deviation(covariance: Float[Tensor, "6 6"], drawn: Float[Tensor, "N 2 6"]) -> float:
    """Standard deviation of where points are drawn, along one axis [mm]; root mean square over points."""
    if not torch.isfinite(covariance).all():
        return float("inf")
    return float(torch.einsum("nai,ij,naj->na", drawn, covariance.double(), drawn).clamp_min(0).mean().sqrt())
