"""Levenberg-Marquardt on the similarity's residual, for a batch of starts at one level.

Source: Levenberg 1944, Marquardt 1963; the damping schedule is Nielsen's (*Damping parameter in Marquardt's method*, 1999).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.geometry import CArm, Pose
from xrcore.registration.similarities.base import NormalEquations

FIRST_DAMPING = 1e-3
LARGEST_STEP = (10.0, 30.0)  # deg, mm: beyond it the linearisation means nothing


class Linearised(Protocol):
    """What can be descended: a `Problem`, or one of several views."""

    @property
    def carm(self) -> CArm:
        """Of the poses."""
        ...

    def normal_equations(self, pose: Pose) -> NormalEquations:
        """Of each pose."""
        ...


@dataclass
class Descent:
    """Where a batch of descents ended: poses, normal equations there, and the steps of whichever was best at the time."""

    pose: Pose
    normal: NormalEquations
    converged: Bool[Tensor, "B"]
    steps: list[tuple[Pose, float]]

    @property
    def value(self) -> Float[Tensor, "B"]:
        """Similarity of each."""
        return self.normal.value


def descend(
    problem: Linearised, start: Pose, *, iterations: int, tolerance: float, watch: Callable[[Pose, float], None] | None = None
) -> Descent:
    """Minimise 1 - similarity from each start; every iteration renders each pending pose once, with its Jacobian.

    Steps compose on the rigid transform. A descent is done when its step is smaller than `tolerance` (deg and mm). That last step
    is still taken, without rendering what it leads to: what it leaves to do is smaller by orders.
    watch: called with the best pose and its similarity after each iteration.
    """
    value, gradient, hessian, count = problem.normal_equations(start)
    pose = Pose(start.numbers.detach().double())
    batch = len(pose)
    damping = torch.full((batch,), FIRST_DAMPING, dtype=torch.float64)
    growth = torch.full((batch,), 2.0, dtype=torch.float64)
    converged = torch.zeros(batch, dtype=torch.bool)
    steps = [(pose[int(value.argmax())], float(value.max()))]
    for _ in range(iterations):
        pending = torch.nonzero(~converged).squeeze(-1)
        if len(pending) == 0:
            break
        change, predicted = step(gradient[pending], hessian[pending], damping[pending])
        here = pose[pending]
        there = here.moved((here.twists(problem.carm) @ change.unsqueeze(-1)).squeeze(-1), problem.carm)
        small = change.abs().amax(-1) < tolerance
        converged[pending[small]] = True
        last = small & (damping[pending] < 1)  # small for want of slope, not of permission
        pose = _replaced(pose, pending[last], there[last])
        pending, there, predicted = pending[~small], there[~small], predicted[~small]
        if len(pending) == 0:
            break
        new_value, new_gradient, new_hessian, _ = problem.normal_equations(there)
        gain = (new_value - value[pending]) / predicted.clamp_min(1e-30)
        better = gain > 0
        took, left = pending[better], pending[~better]
        pose = _replaced(pose, took, there[better])
        value[took], gradient[took] = new_value[better], new_gradient[better]
        hessian[took] = new_hessian[better]
        damping[took] = damping[took] * torch.clamp(1 - (2 * gain[better] - 1) ** 3, 1 / 3, 2)
        growth[took] = 2.0
        damping[left] = damping[left] * growth[left]
        growth[left] = growth[left] * 2
        converged[left[damping[left] > 1e6]] = True
        best = int(value.argmax())
        if float(value[best]) > steps[-1][1]:
            steps.append((pose[best], float(value[best])))
        if watch is not None:
            watch(*steps[-1])
    steps[-1] = (pose[int(value.argmax())], float(value.max()))  # with the last small step
    return Descent(pose, NormalEquations(value, gradient, hessian, count), converged, steps)


def _replaced(poses: Pose, where: Tensor, by: Pose) -> Pose:
    numbers = poses.numbers.clone()
    numbers[where] = by.numbers
    return Pose(numbers)


def step(gradient: Tensor, hessian: Tensor, damping: Tensor) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b"]]:
    """The damped change (deg, mm) and the decrease of the cost that the linearised residual predicts."""
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    scale = diagonal.clamp_min(1e-12 * diagonal.amax(-1, keepdim=True)).clamp_min(1e-20)
    damped = hessian + torch.diag_embed(damping.unsqueeze(-1) * scale)
    change = -torch.linalg.solve_ex(damped, gradient.unsqueeze(-1))[0].squeeze(-1)
    change = torch.nan_to_num(change, nan=0.0, posinf=0.0, neginf=0.0)
    limit = change.new_tensor([LARGEST_STEP[0]] * 3 + [LARGEST_STEP[1]] * 3)
    change = change / (change.abs() / limit).amax(-1, keepdim=True).clamp_min(1)
    predicted = -(gradient * change).sum(-1) - 0.5 * torch.einsum("bi,bij,bj->b", change, hessian, change)
    return change, predicted
