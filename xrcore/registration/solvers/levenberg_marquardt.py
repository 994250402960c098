"""Levenberg-Marquardt on the similarity's residual, for a batch of starts at one level, on the CPU.

Source: Levenberg 1944, Marquardt 1963; the damping schedule is Nielsen's (*Damping parameter in Marquardt's method*, 1999).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.registration.events import Events, Step
from xrcore.registration.similarities.base import NormalEquations
from xrcore.registration.solvers.descent import FIRST_DAMPING, LARGEST_STEP, Descent, LeastSquaresProblem, level_name


def descend(problem: LeastSquaresProblem, start: Pose, *, iterations: int, tolerance: float, level: int = 0) -> Events[Descent]:
    """Minimise 1 - similarity from each start; every iteration renders each pending pose once, with its Jacobian.

    Steps compose on the rigid transform. A descent is done when its step is smaller than `tolerance` (deg and mm). That last step
    is still taken, without rendering what it leads to: what it leaves to do is smaller by orders.
    After each iteration, but at least once, the best step so far is yielded, as of `level`.
    """
    value, gradient, hessian, count = problem.normal_equations(start)
    pose = Pose(start.numbers.detach().double())
    batch = len(pose)
    damping = torch.full((batch,), FIRST_DAMPING, dtype=torch.float64)
    growth = torch.full((batch,), 2.0, dtype=torch.float64)
    converged, left = torch.zeros(batch, dtype=torch.bool), torch.zeros(batch, dtype=torch.bool)
    name = level_name(problem)

    def best() -> Step:
        index = int(value.nan_to_num(nan=-torch.inf).argmax())
        return Step(level=level, pose=pose[index], similarity=float(value[index]), level_name=name)

    steps, reported = [best()], False
    for _ in range(iterations):
        pending = torch.nonzero(~converged).squeeze(-1)
        if len(pending) == 0:
            break
        change, predicted = step(gradient[pending], hessian[pending], damping[pending])
        here = pose[pending]
        there, beyond = _moved(here, (here.twists(problem.carm) @ change.unsqueeze(-1)).squeeze(-1), problem.carm)
        left[pending[beyond]] = True
        small = (change.abs().amax(-1) < tolerance) | beyond
        converged[pending[small]] = True
        last = small & ~beyond & (damping[pending] < 1)  # small for want of slope, not of permission
        pose = _replaced(pose, pending[last], there[last])
        pending, there, predicted = pending[~small], there[~small], predicted[~small]
        if len(pending) == 0:
            break
        new_value, new_gradient, new_hessian, _ = problem.normal_equations(there)
        gain = (new_value - value[pending]) / predicted.clamp_min(1e-30)
        better = gain > 0
        took, stayed = pending[better], pending[~better]
        pose = _replaced(pose, took, there[better])
        value[took], gradient[took] = new_value[better], new_gradient[better]
        hessian[took] = new_hessian[better]
        damping[took] = damping[took] * torch.clamp(1 - (2 * gain[better] - 1) ** 3, 1 / 3, 2)
        growth[took] = 2.0
        damping[stayed] = damping[stayed] * growth[stayed]
        growth[stayed] = growth[stayed] * 2
        converged[stayed[damping[stayed] > 1e6]] = True
        if (leader := best()).similarity > steps[-1].similarity:
            steps.append(leader)
        yield steps[-1]
        reported = True
    steps[-1] = best()  # with the last small step
    if not reported:
        yield steps[-1]
    return Descent(pose, NormalEquations(value, gradient, hessian, count), converged, left, steps)


def _moved(here: Pose, twist: Float[Tensor, "b 6"], carm: CArm) -> tuple[Pose, Bool[Tensor, " b"]]:
    """The poses after the motion, and which would be beyond the bounds of poses, and stay."""
    try:
        return here.moved(twist, carm), torch.zeros(len(here), dtype=torch.bool)
    except XrcoreError:
        if len(here) == 1:
            return here, torch.ones(1, dtype=torch.bool)
    moved, beyond = zip(*(_moved(here[i], twist[i : i + 1], carm) for i in range(len(here))), strict=True)
    return Pose.cat(moved), torch.cat(beyond)


def _replaced(poses: Pose, where: Tensor, by: Pose) -> Pose:
    numbers = poses.numbers.clone()
    numbers[where] = by.numbers
    return Pose(numbers)


def step(gradient: Float[Tensor, "b 6"], hessian: Float[Tensor, "b 6 6"], damping: Float[Tensor, " b"]) -> tuple[Tensor, Tensor]:
    """The damped change (b, 6) [deg, mm] and the decrease (b,) of the cost that the linearised residual predicts."""
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    scale = diagonal.clamp_min(1e-12 * diagonal.amax(-1, keepdim=True)).clamp_min(1e-20)
    damped = hessian + torch.diag_embed(damping.unsqueeze(-1) * scale)
    change = -torch.linalg.solve_ex(damped, gradient.unsqueeze(-1))[0].squeeze(-1)
    change = torch.nan_to_num(change, nan=0.0, posinf=0.0, neginf=0.0)
    limit = change.new_tensor([LARGEST_STEP[0]] * 3 + [LARGEST_STEP[1]] * 3)
    change = change / (change.abs() / limit).amax(-1, keepdim=True).clamp_min(1)
    predicted = -(gradient * change).sum(-1) - 0.5 * torch.einsum("bi,bij,bj->b", change, hessian, change)
    return change, predicted
