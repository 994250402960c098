"""L-BFGS with a strong Wolfe line search: the paper's alternative to Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from xrcore.geometry import Pose
from xrcore.registration.problem import Problem
from xrcore.registration.result import Registration, Watch
from xrcore.registration.settings import Settings
from xrcore.registration.solvers.progress import FLAT, LIMIT, NOT_FINITE, SMALL, Search, Stop

_LINE_SEARCH = 25  # images with Jacobian that one line search may render


@torch.enable_grad()  # the caller may have switched gradients off
def refine_lbfgs(problem: Problem, start: Pose, settings: Settings, watch: Watch | None = None) -> Registration:
    """Minimise 1 - similarity by L-BFGS until an iteration moves the pose by less than `tolerance` (deg and mm).

    The variables are `Search`'s: rigid motion about the start in units of `rotation_step` and `translation_step`, which are the
    method's idea of how far one deg goes compared with one mm until it has learned the curvature.
    Source: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming 1989;
    strong Wolfe conditions as in Nocedal and Wright, *Numerical Optimization*, algorithms 3.5 and 3.6.
    """
    search = Search("lbfgs", problem, start, settings, watch)
    x = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [x], max_iter=1, max_eval=_LINE_SEARCH, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )
    known: dict[tuple[float, ...], tuple[Tensor, Tensor]] = {}  # one iteration at a time asks again for where the last one ended

    def loss() -> Tensor:
        key = tuple(x[0].tolist())
        if key not in known:
            pose = search.pose(x)
            value, slope = problem.value_and_gradient(pose.detach())
            search.meet(pose, value)
            if not torch.isfinite(slope).all():
                raise Stop(NOT_FINITE)
            (gradient,) = torch.autograd.grad(pose.numbers, x, -slope.cpu().double())
            known[key] = 1 - value[0].cpu().double(), gradient
        value, x.grad = known[key]
        return value

    reason = LIMIT
    try:
        for _ in range(settings.iterations):
            before = search.pose(x.detach()).numbers
            optimizer.step(loss)
            if x.grad is None or not x.grad.any():
                raise Stop(FLAT)
            if (search.pose(x.detach()).numbers - before).abs().max() < settings.tolerance:
                raise Stop(SMALL)
    except Stop as stop:
        reason = str(stop)
    return search.result(reason)
