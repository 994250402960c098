"""Adam on the six numbers: how the paper refines."""

from __future__ import annotations

import torch

from xrcore.geometry import Pose
from xrcore.registration.problem import Problem
from xrcore.registration.result import Registration, Watch
from xrcore.registration.settings import Settings
from xrcore.registration.solvers.progress import FLAT, LIMIT, NOT_FINITE, Search, Stop

_DECAY = (0.9, 0.999)  # of the averages of the gradient and of its square
_EPSILON = 1e-8


def refine_adam(problem: Problem, start: Pose, settings: Settings, watch: Watch | None = None) -> Registration:
    """Minimise 1 - similarity by Adam; step sizes halve every `step_halving` iterations; the best pose met is returned.

    The variables are the six numbers themselves, Euler angles included: the paper's choice, kept so that its step sizes mean
    what they meant there (`rotation_step` [deg], `translation_step` [mm]). Adam divides by the gradient's size, so a first step
    moves every number by its whole step size. Each iteration renders one image with its Jacobian.
    Source: Kingma and Ba, "Adam: A method for stochastic optimization", ICLR 2015; schedule of Zhang et al., MICCAI 2023.
    """
    search = Search("adam", problem, start, settings, watch)
    numbers = search.start.numbers.clone()
    mean, square = torch.zeros_like(numbers), torch.zeros_like(numbers)
    reason = LIMIT
    try:
        for i in range(settings.iterations):
            pose = Pose(numbers)
            value, slope = problem.value_and_gradient(pose)
            search.meet(pose, value)
            gradient = -slope.cpu().double()
            if not torch.isfinite(gradient).all():
                raise Stop(NOT_FINITE)
            mean = _DECAY[0] * mean + (1 - _DECAY[0]) * gradient
            square = _DECAY[1] * square + (1 - _DECAY[1]) * gradient**2
            if not mean.any():
                raise Stop(FLAT)
            rate = search.scale * 0.5 ** (i // settings.step_halving)
            unbiased = mean / (1 - _DECAY[0] ** (i + 1)), square / (1 - _DECAY[1] ** (i + 1))
            numbers = numbers - rate * unbiased[0] / (unbiased[1].sqrt() + _EPSILON)
    except Stop as stop:
        reason = str(stop)
    return search.result(reason)
