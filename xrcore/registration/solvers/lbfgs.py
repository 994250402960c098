"""L-BFGS with a strong Wolfe line search: the paper's alternative to Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from xrcore.geometry import Pose
from xrcore.registration.events import Events, StopReason
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.solvers.objective import Objective, Stop
from xrcore.registration.solvers.outcome import Outcome
from xrcore.registration.solvers.single_level import SingleLevelSettings

_LINE_SEARCH = 25  # images with Jacobian that one line search may render


@dataclass(frozen=True, kw_only=True)
class LBFGS(SingleLevelSettings):
    """L-BFGS with strong Wolfe conditions, on rigid motion about the start.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        What is climbed: a name of `similarities.SIMILARITIES`, or an object.
    rotation_step, translation_step : float
        Scale of the variables [deg], [mm]: the solver's idea of how far one deg goes compared with one mm, until it has
        learned the curvature.
    iterations : int
        At most.
    loss_target : float
        It ends when 1 - similarity falls to this, where 1 is the similarity's largest value.
    tolerance : float
        It has converged when an iteration moves the pose by less than this, in deg and in mm.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming 1989; strong
    Wolfe conditions as in Nocedal and Wright, *Numerical Optimization*, algorithms 3.5 and 3.6.
    """

    method: ClassVar[str] = "lbfgs"
    pixels: int = 128
    spacing: float = 4.0
    rotation_step: float = 1.0
    translation_step: float = 2.0
    iterations: int = 100
    tolerance: float = 0.05

    def search(self, problem: AnyProblem, start: Pose, level: int = 0) -> Events[Outcome]:
        objective = Objective(problem, start, self, level)
        x = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [x], max_iter=1, max_eval=_LINE_SEARCH, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
        )
        known: dict[tuple[float, ...], tuple[Tensor, Tensor]] = {}  # an iteration asks again for where the last one ended

        def loss() -> Tensor:
            key = tuple(x[0].tolist())
            if key not in known:
                pose = objective.pose(x)
                value, slope = objective.value_and_gradient(pose.detach())
                (gradient,) = torch.autograd.grad(pose.numbers, x, -slope)
                known[key] = 1 - value[0], gradient
            value, x.grad = known[key]
            return value

        reason = StopReason.ITERATIONS
        try:
            for _ in range(self.iterations):
                before = objective.pose(x.detach()).numbers
                with torch.enable_grad():
                    optimizer.step(loss)
                if x.grad is None or not x.grad.any():
                    raise Stop(StopReason.FLAT)
                if (objective.pose(x.detach()).numbers - before).abs().max() < self.tolerance:
                    raise Stop(StopReason.SMALL_STEP)
                yield objective.steps[-1]
        except Stop as stop:
            reason = stop.reason
        return objective.outcome(reason)
