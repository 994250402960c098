"""Adam on the six numbers, as in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from xrcore.geometry import Pose
from xrcore.geometry.pose import within_bounds
from xrcore.registration.events import Events, StopReason
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.solvers.objective import Objective, Stop
from xrcore.registration.solvers.outcome import Outcome
from xrcore.registration.solvers.single_level import SingleLevelSettings

_DECAY = (0.9, 0.999)  # of the averages of the gradient and of its square
_EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Adam(SingleLevelSettings):
    """Adam on the six numbers, Euler angles included, as the paper refines.

    A first step moves every number by its whole step size, since Adam divides by the gradient's size. Each iteration renders
    one image with its Jacobian; the best pose met is the answer.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        What is climbed: a name of `similarities.SIMILARITIES`, or an object.
    rotation_step, translation_step : float
        Learning rates [deg], [mm].
    iterations : int
        At most.
    loss_target : float
        It ends when 1 - similarity falls to this, where 1 is the similarity's largest value.
    step_halving : int
        Step sizes halve every so many iterations.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Kingma and Ba, "Adam: A method for stochastic optimization", ICLR 2015; schedule of Zhang et al., MICCAI 2023.
    """

    method: ClassVar[str] = "adam"
    pixels: int = 256
    spacing: float = 2.0
    rotation_step: float = 0.5
    translation_step: float = 5.0
    iterations: int = 100
    step_halving: int = 20

    def search(self, problem: AnyProblem, start: Pose, level: int = 0) -> Events[Outcome]:
        objective = Objective(problem, start, self, level)
        numbers = objective.start.numbers.clone()
        mean, square = torch.zeros_like(numbers), torch.zeros_like(numbers)
        reason = StopReason.ITERATIONS
        try:
            for i in range(self.iterations):
                _, slope = objective.value_and_gradient(Pose(numbers))
                mean = _DECAY[0] * mean - (1 - _DECAY[0]) * slope
                square = _DECAY[1] * square + (1 - _DECAY[1]) * slope**2
                if not mean.any():
                    raise Stop(StopReason.FLAT)
                rate = objective.scale * 0.5 ** (i // self.step_halving)
                unbiased = mean / (1 - _DECAY[0] ** (i + 1)), square / (1 - _DECAY[1] ** (i + 1))
                numbers = numbers - rate * unbiased[0] / (unbiased[1].sqrt() + _EPSILON)
                if not within_bounds(numbers):
                    raise Stop(StopReason.OUT_OF_BOUNDS)
                yield objective.steps[-1]
        except Stop as stop:
            reason = stop.reason
        return objective.outcome(reason)
