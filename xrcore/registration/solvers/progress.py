"""What methods that search from one start share: local variables, the best pose met, reasons to stop, the result."""

from __future__ import annotations

import math
import time

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.registration.problem import Problem
from xrcore.registration.result import Registration, Step, Watch
from xrcore.registration.settings import Settings

TARGET = "loss target reached"
SMALL = "step below tolerance"
LIMIT = "iteration limit"
EVALUATIONS = "evaluation limit"
FLAT = "the similarity does not change with the pose: does the patient's image miss the detector?"
NOT_FINITE = "the similarity is not finite"


class Stop(Exception):
    """Ends a search from inside its objective; the message is the stop reason."""


class Search:
    """One search on one level: where it started, the best pose met, and when to stop.

    Local variables x (B, 6) are changes of the six numbers in units of `rotation_step` and `translation_step`, applied as a rigid
    motion composed on the start: x = 0 is the start, and no Euler angles are added.
    Raises XrcoreError unless `start` is one pose.
    """

    def __init__(self, method: str, problem: Problem, start: Pose, settings: Settings, watch: Watch | None = None) -> None:
        if len(start) != 1:
            raise XrcoreError(f"{method}: expected one start, got a batch of {len(start)}; refine them one by one")
        self._began = time.perf_counter()
        self._method, self._problem, self._settings = method, problem, settings
        self._evaluated_before = problem.evaluations
        self.start = Pose(start.numbers.detach().cpu().double())
        self.scale = torch.tensor([settings.rotation_step] * 3 + [settings.translation_step] * 3, dtype=torch.float64)
        self._twists = self.start.twists(problem.carm)[0] * self.scale  # camera-frame twist per unit of each variable
        # 1 is the largest value only of least-squares similarities: mutual information in nats passes it far from the pose
        self._loss_target = settings.loss_target if problem.similarity.least_squares else -math.inf
        self.best, self.value, self._lowest = self.start, -math.inf, math.inf
        self._history: list[Step] = []
        self._watch = watch

    def pose(self, x: Float[Tensor, "B 6"]) -> Pose:
        """Local variables to poses, differentiably."""
        return Pose(self.start.numbers.expand(len(x), 6)).moved(x @ self._twists.T, self._problem.carm)

    def meet(self, pose: Pose, value: Float[Tensor, "B"]) -> None:
        """Take note of evaluated poses; raise Stop if a value is not finite or the loss target is reached."""
        value = value.detach().cpu().double()
        finite = torch.isfinite(value)
        best = int(value.where(finite, -math.inf).argmax())
        self._lowest = min(self._lowest, float(value.where(finite, math.inf).min()))
        if finite[best] and float(value[best]) > self.value:
            self.best, self.value = pose[best].detach(), float(value[best])
            self._history.append(Step(level=len(self._settings.levels) - 1, pose=self.best, similarity=self.value))
        if self._watch is not None and self._history:
            self._watch(self._history[-1])
        if not finite.all():
            raise Stop(NOT_FINITE)
        if 1 - self.value <= self._loss_target:
            raise Stop(TARGET)

    @property
    def flat(self) -> bool:
        """Whether all poses met are equally good."""
        return self._lowest == self.value

    def result(self, stop_reason: str) -> Registration:
        """The best pose met, with the covariance that the residual's Gauss-Newton Hessian gives there."""
        covariance = None
        if self._problem.similarity.least_squares and math.isfinite(self.value):
            normal = self._problem.normal_equations(self.best)
            if normal.hessian.any() and torch.isfinite(normal.hessian).all():
                covariance = normal.covariance()[0]
        return Registration(
            pose=self.best,
            similarity=self.value,
            covariance=covariance,
            stop_reason=stop_reason,
            seconds=time.perf_counter() - self._began,
            initial=self.start,
            method=self._method,
            similarity_name=self._problem.similarity.name,
            evaluations=self._problem.evaluations - self._evaluated_before,
            history=tuple(self._history),
        )
