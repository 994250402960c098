"""Covariance of a registered pose, and how far landmarks may be drawn from their place."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.rigid import apply, skew
from xrcore.registration.similarities.base import inverse_hessian
from xrcore.registration.similarities.local_zncc import RobustLocalZNCC
from xrcore.xray.image import Xray

_CLUSTER = 3  # patches along a side whose errors count as one: neighbours share edges, shading and half of their pixels
# Factor on the standard deviations, such that the 95 % ellipsoid holds 95 % of the true poses (benchmarks/robustness.py).
_INFLATION = 1.6


def cluster_robust_covariance(xray: Xray, drr: Float[Tensor, "1 H W"], jacobian: Float[Tensor, "1 H W 6"]) -> Float[Tensor, "6 6"] | None:
    """Covariance of the six numbers of a pose [deg, mm], from how much parts of the image disagree about it.

    Residuals of neighbouring pixels go together, so that the least-squares covariance is far too small. Here each cluster of patches
    counts as one observation, H^-1 (sum of g g^T) H^-1 with g the gradient of a cluster's cost, and the step that all of them together
    would still take is added. Directions without curvature are infinite; None where nothing is known of any number.

    References
    ----------
    Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73(1), 1986.
    """
    device = drr.device
    fitted = RobustLocalZNCC().fit(xray.image.to(device), xray.mask.to(device))
    normal, by_patch = fitted.equations_by_group(drr, jacobian)
    hessian = normal.hessian[0].cpu()
    if not torch.isfinite(hessian).all() or not hessian.any():
        return None
    grid = by_patch[0].cpu().unflatten(0, fitted.layout.pooled_grid)
    clusters = torch.stack([part.sum((0, 1)) for rows in grid.split(_CLUSTER, 0) for part in rows.split(_CLUSTER, 1)])
    clusters = clusters[clusters.abs().sum(1) > 0]
    inverse, unseen = inverse_hessian(hessian[None])
    freedom = len(clusters) / max(len(clusters) - 6, 1)
    spread = inverse[0] @ (clusters.T @ clusters) @ inverse[0] * freedom * _INFLATION**2
    step = inverse[0] @ normal.gradient[0].cpu()
    return spread + step[:, None] * step + unseen[0]


def drawn_deviation(covariance: Float[Tensor, "6 6"], pose: Pose, carm: CArm, volume: Volume, points: Float[Tensor, "N 3"]) -> float:
    """Standard deviation of where points are drawn, across the ray at their depth, along one axis [mm]; root mean square over points."""
    if not torch.isfinite(covariance).all():
        return float("inf")
    places = apply(pose.camera_from_world(carm, volume.isocenter), points)[0].double()
    # the camera's motion exp(v, w) moves a point in its frame by -(v + w x place)
    motion = -torch.cat([torch.eye(3, dtype=torch.float64).expand(len(places), 3, 3), -skew(places)], 2)
    across = motion[:, :2] - places[:, :2, None] / places[:, 2:, None] * motion[:, 2:]
    by_numbers = across @ pose.twists(carm)[0].double()
    variance = torch.einsum("nai,ij,naj->na", by_numbers, covariance.double(), by_numbers)
    return float(variance.clamp_min(0).mean().sqrt())
