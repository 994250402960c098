"""The similarity as a function that solvers on one level search: it records the best pose, and ends the search."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.geometry.pose import require_one_pose
from xrcore.registration.events import Step, StopReason
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.solvers.descent import level_name
from xrcore.registration.solvers.outcome import Outcome, covariance_of
from xrcore.registration.solvers.single_level import SingleLevelSettings


class Stop(Exception):
    """Ends a search from inside its objective."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


class Objective:
    """A problem, seen from one start.

    Local variables x (B, 6) are changes of the six numbers in units of `rotation_step` and `translation_step`, applied as a rigid
    motion composed on the start: x = 0 is the start, and no Euler angles are added.
    """

    def __init__(self, problem: AnyProblem, start: Pose, settings: SingleLevelSettings, level: int) -> None:
        require_one_pose(settings.method, "start", start)
        self._problem, self._level, self._level_name = problem, level, level_name(problem)
        self.start = Pose(start.numbers.detach().cpu().double())
        self.scale = torch.tensor([settings.rotation_step] * 3 + [settings.translation_step] * 3, dtype=torch.float64)
        self._twists = self.start.twists(problem.carm)[0] * self.scale  # camera-frame twist per unit of each variable
        # 1 is the largest value only of least-squares similarities: mutual information in nats passes it far from the pose
        self._loss_target = settings.loss_target if problem.similarity.least_squares else -math.inf
        self.best, self.similarity, self._lowest = self.start, -math.inf, math.inf
        self.steps: list[Step] = []

    def pose(self, x: Float[Tensor, "B 6"]) -> Pose:
        """Local variables to poses, differentiably; raises Stop where one is beyond the bounds of poses."""
        try:
            return Pose(self.start.numbers.expand(len(x), 6)).moved(x @ self._twists.T, self._problem.carm)
        except XrcoreError:  # of numbers that are too large, or not finite
            raise Stop(StopReason.OUT_OF_BOUNDS) from None

    def value(self, pose: Pose) -> Float[Tensor, " B"]:
        """Similarity of each pose; raises Stop if one is not finite or the loss target is reached."""
        value = self._problem.value(pose).double()
        self._record(pose, value)
        return value

    def value_and_gradient(self, pose: Pose) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 6"]]:
        """Similarity and its derivative by the six numbers; raises Stop as `value`, or if the derivative is not finite."""
        value, gradient = (part.cpu().double() for part in self._problem.value_and_gradient(pose))
        self._record(pose, value)
        if not torch.isfinite(gradient).all():
            raise Stop(StopReason.NOT_FINITE)
        return value, gradient

    def _record(self, pose: Pose, value: Float[Tensor, " B"]) -> None:
        finite = torch.isfinite(value)
        best = int(value.where(finite, -math.inf).argmax())
        self._lowest = min(self._lowest, float(value.where(finite, math.inf).min()))
        if finite[best] and float(value[best]) > self.similarity:
            self.best, self.similarity = pose[best].detach(), float(value[best])
            self.steps.append(Step(level=self._level, pose=self.best, similarity=self.similarity, level_name=self._level_name))
        if not finite.all():
            raise Stop(StopReason.NOT_FINITE)
        if 1 - self.similarity <= self._loss_target:
            raise Stop(StopReason.TARGET)

    @property
    def flat(self) -> bool:
        """Whether all poses met are equally good."""
        return self._lowest == self.similarity

    def outcome(self, reason: StopReason) -> Outcome:
        """The best pose met, with the covariance that the residual's Gauss-Newton Hessian gives there."""
        least_squares = self._problem.similarity.least_squares and math.isfinite(self.similarity)
        return Outcome(
            pose=self.best,
            similarity=self.similarity,
            covariance=covariance_of(self._problem.normal_equations(self.best), 0) if least_squares else None,
            stop_reason=reason,
            history=tuple(self.steps),
        )
