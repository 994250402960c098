"""Descent: result of a batch of Levenberg-Marquardt runs, shared by the CPU and the GPU solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.events import Step
from xrcore.registration.similarities.base import NormalEquations, Similarity
from xrcore.registration.solvers.outcome import Outcome, covariance_of, stop_reason_of

FIRST_DAMPING = 1e-3
LARGEST_STEP = (10.0, 30.0)  # deg, mm: beyond it the linearisation means nothing


class LeastSquaresProblem(Protocol):
    """Interface of a least-squares problem: a `Problem`, or a `JointProblem` of several views."""

    @property
    def carm(self) -> CArm:
        """The C-arm of the poses."""

    @property
    def volume(self) -> Volume:
        """The volume that is rendered."""

    @property
    def similarity(self) -> Similarity:
        """What is maximised."""

    @property
    def evaluations(self) -> int:
        """DRRs rendered so far."""

    def value(self, pose: Pose) -> Float[Tensor, " B"]:
        """Similarity of each pose; higher is better."""

    def normal_equations(self, pose: Pose) -> NormalEquations:
        """Normal equations of each pose, by its six numbers."""


def level_name(problem: LeastSquaresProblem) -> str:
    """What a problem compares, as its steps call it: similarity and pixels along the longer side."""
    return f"{problem.similarity.name}, {max(problem.carm.shape)}"


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a batch of descents ended: poses, normal equations there, and the steps of whichever was best at the time.

    left: those that ended because their next step would have left the bounds of poses.
    """

    pose: Pose
    normal: NormalEquations
    converged: Bool[Tensor, " B"]
    left: Bool[Tensor, " B"]
    steps: list[Step]

    @property
    def value(self) -> Float[Tensor, " B"]:
        """Similarity of each pose."""
        return self.normal.value

    def order(self) -> Tensor:
        """Indices, best first; what is not finite comes last."""
        return self.value.nan_to_num(nan=-torch.inf).argsort(descending=True)

    def outcome(self, index: int, history: Sequence[Step]) -> Outcome:
        """The outcome of one of the descents."""
        return Outcome(
            pose=self.pose[index],
            similarity=float(self.value[index]),
            covariance=covariance_of(self.normal, index),
            stop_reason=stop_reason_of(self.normal, index, bool(self.converged[index]), bool(self.left[index])),
            history=tuple(history),
        )

    @classmethod
    def cat(cls, parts: Sequence[Descent]) -> Descent:
        """Concatenate descents of one level."""
        if len(parts) == 1:
            return parts[0]
        value, gradient, hessian = (torch.cat([part.normal[i] for part in parts]) for i in range(3))  # type: ignore[misc]
        normal = NormalEquations(value, gradient, hessian, parts[0].normal.effective_count)
        converged, left = torch.cat([part.converged for part in parts]), torch.cat([part.left for part in parts])
        return cls(Pose.cat([part.pose for part in parts]), normal, converged, left, [step for part in parts for step in part.steps])
