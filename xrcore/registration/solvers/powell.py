"""Powell's method, a derivative-free optimiser, used in earlier work on 2D/3D registration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from xrcore.geometry import Pose
from xrcore.registration.events import Events, StopReason
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.solvers.objective import Objective, Stop
from xrcore.registration.solvers.outcome import Outcome
from xrcore.registration.solvers.single_level import SingleLevelSettings

_BOUND = 3.0  # half a side of the box that is searched, in units of the steps
_EVALUATIONS = 100  # images that one iteration may render, on average

Vector = Float[ndarray, "6"]


@dataclass(frozen=True, kw_only=True)
class Powell(SingleLevelSettings):
    """Powell's method on rigid motion within three steps of the start: line searches along directions that become conjugate.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        What is climbed: a name of `similarities.SIMILARITIES`, or an object.
    rotation_step, translation_step : float
        Units of the variables [deg], [mm]: three of them about the start are searched.
    iterations : int
        At most; one is a line search along each of six directions.
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
    Powell, "An efficient method for finding the minimum of a function of several variables without calculating derivatives",
    Computer Journal 1964; directions change as in `scipy.optimize.minimize`, which cannot report while it works.
    """

    method: ClassVar[str] = "powell"
    pixels: int = 64
    spacing: float = 8.0
    rotation_step: float = 5.0
    translation_step: float = 10.0
    iterations: int = 20
    tolerance: float = 0.05

    def search(self, problem: AnyProblem, start: Pose, level: int = 0) -> Events[Outcome]:
        objective = Objective(problem, start, self, level)
        left = self.iterations * _EVALUATIONS

        def loss(x: Vector) -> float:
            nonlocal left
            if left == 0:
                raise Stop(StopReason.EVALUATIONS)
            left -= 1
            return 1 - float(objective.value(objective.pose(torch.from_numpy(x)[None])))

        try:
            reason = yield from self._descend(loss, objective)
        except Stop as stop:
            reason = stop.reason
        return objective.outcome(reason)

    def _descend(self, loss: Callable[[Vector], float], objective: Objective) -> Events[StopReason]:
        accuracy = self.tolerance / float(objective.scale.max())
        directions = list(np.eye(6))
        x = corner = np.zeros(6)
        value = loss(x)
        pose = objective.start
        for iteration in range(self.iterations):
            before, largest, drop = value, 0, 0.0
            for i, direction in enumerate(directions):
                previous = value
                x, value, _ = _line_search(loss, x, value, direction, accuracy)
                if previous - value > drop:
                    largest, drop = i, previous - value
                yield objective.steps[-1]
            if value >= before or (objective.best.numbers - pose.numbers).abs().max() < self.tolerance:
                return StopReason.FLAT if objective.flat else StopReason.SMALL_STEP
            if iteration == self.iterations - 1:
                break
            pose = objective.best
            # further in the direction of the whole iteration: does it replace the one that helped most?
            direction, corner = x - corner, x.copy()
            beyond = loss(x + min(_reach(x, direction)[1], 1) * direction)
            if before > beyond:
                curvature = 2 * (before + beyond - 2 * value) * (before - value - drop) ** 2
                if curvature < drop * (before - beyond) ** 2:
                    x, value, moved = _line_search(loss, x, value, direction, accuracy)
                    if moved.any():
                        directions[largest] = directions[-1]
                        directions[-1] = moved
        return StopReason.ITERATIONS


def _line_search(
    loss: Callable[[Vector], float], x: Vector, value: float, direction: Vector, accuracy: float
) -> tuple[Vector, float, Vector]:
    """The lowest point on a line within the box, its loss, and how far it is from `x`."""
    from scipy.optimize import minimize_scalar

    if not direction.any():
        return x, value, direction
    found = minimize_scalar(lambda t: loss(x + t * direction), bounds=_reach(x, direction), method="bounded", options={"xatol": accuracy})
    return x + found.x * direction, float(found.fun), found.x * direction


def _reach(x: Vector, direction: Vector) -> tuple[float, float]:
    """Limits of a line through `x` within the box, in lengths of its direction."""
    along = direction.nonzero()
    ends = np.sort([(-_BOUND - x[along]) / direction[along], (_BOUND - x[along]) / direction[along]], axis=0)
    low, high = float(ends[0].max(initial=-np.inf)), float(ends[1].min(initial=np.inf))
    return (low, high) if high >= low else (0.0, 0.0)
