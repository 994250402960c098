"""Outcome: result of every solver."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.geometry import Pose
from xrcore.registration.events import Step, StopReason
from xrcore.registration.similarities.base import NormalEquations


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The best pose, its similarity and covariance, why the search ended, and the steps that were each the best so far."""

    pose: Pose
    similarity: float
    covariance: Float[Tensor, "6 6"] | None
    stop_reason: StopReason
    history: tuple[Step, ...]


def covariance_of(normal: NormalEquations, index: int) -> Float[Tensor, "6 6"] | None:
    """Of one pose's numbers; None where nothing is known of any of them."""
    return normal.covariance()[index] if _finite(normal, index) and normal.hessian[index].any() else None


def stop_reason_of(normal: NormalEquations, index: int, converged: bool, left: bool) -> StopReason:
    """Why a least-squares descent ended."""
    if left:
        return StopReason.OUT_OF_BOUNDS
    if not _finite(normal, index):
        return StopReason.NOT_FINITE
    if not normal.hessian[index].any():
        return StopReason.FLAT
    return StopReason.SMALL_STEP if converged else StopReason.ITERATIONS


def _finite(normal: NormalEquations, index: int) -> bool:
    return bool(torch.isfinite(normal.value[index]) and torch.isfinite(normal.hessian[index]).all())
