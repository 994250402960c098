"""Searches that only compare values: CMA-ES and Powell, as much of the field's earlier work refines."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from xrcore.geometry import Pose
from xrcore.registration.problem import Problem
from xrcore.registration.result import Registration, Watch
from xrcore.registration.settings import Settings
from xrcore.registration.solvers.progress import EVALUATIONS, FLAT, LIMIT, SMALL, Search, Stop

_BOUND = 3.0  # Powell's box, in units of the steps
_EVALUATIONS = 100  # images that one iteration of Powell may render, on average


def refine_cma_es(problem: Problem, start: Pose, settings: Settings, watch: Watch | None = None) -> Registration:
    """Maximise the similarity by CMA-ES: each iteration draws a population and renders it as one batch.

    `rotation_step` and `translation_step` are the first population's standard deviations about the start; the variables are
    `Search`'s. Draws come from `seed`; the global generator of numpy is left alone.
    Source: Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; for 2D/3D registration Otake et al., "Intraoperative
    image-based multiview 2D/3D registration for image-guided orthopaedic surgery", IEEE TMI 2012.
    """
    import cma  # takes seconds to import

    search = Search("cma-es", problem, start, settings, watch)
    generator = np.random.default_rng(settings.seed)
    options = {
        "randn": lambda *shape: generator.standard_normal(shape),  # or else cma would seed the global generator
        "maxiter": settings.iterations,
        "tolx": settings.tolerance / float(search.scale.max()),
        "verbose": -9,
        "signals_filename": "",  # or else cma would read options from the working directory
    }
    strategy = cma.CMAEvolutionStrategy(np.zeros(6), 1.0, options)

    def losses(x: NDArray[np.float64]) -> list[float]:
        poses = search.pose(torch.from_numpy(x))
        value = problem.value(poses)
        search.meet(poses, value)
        return (1 - value.double()).tolist()

    try:
        losses(np.zeros((1, 6)))
        while not strategy.stop():
            population = strategy.ask()
            strategy.tell(population, losses(np.stack(population)))
        reason = FLAT if search.flat else _in_words(set(strategy.stop()))
    except Stop as stop:
        reason = str(stop)
    return search.result(reason)


def _in_words(conditions: set[str]) -> str:
    if "maxiter" in conditions:
        return LIMIT
    if "tolx" in conditions:
        return SMALL
    return f"no more progress (CMA-ES: {', '.join(sorted(conditions))})"


def refine_powell(problem: Problem, start: Pose, settings: Settings, watch: Watch | None = None) -> Registration:
    """Maximise the similarity by Powell's method: line searches along directions that it learns to be conjugate.

    The variables are `Search`'s, kept within three steps of the start; one iteration is a line search along each of six directions.
    Source: Powell, "An efficient method for finding the minimum of a function of several variables without calculating
    derivatives", Computer Journal 1964.
    """
    from scipy.optimize import minimize

    search = Search("powell", problem, start, settings, watch)

    def loss(x: NDArray[np.float64]) -> float:
        pose = search.pose(torch.from_numpy(x)[None])
        value = problem.value(pose)
        search.meet(pose, value)
        return 1 - float(value)

    before = search.start.numbers

    def compare(_: NDArray[np.float64]) -> None:
        nonlocal before
        if (search.best.numbers - before).abs().max() < settings.tolerance:
            raise Stop(FLAT if search.flat else SMALL)
        before = search.best.numbers

    options = {
        "maxiter": settings.iterations,
        "maxfev": settings.iterations * _EVALUATIONS,
        "xtol": settings.tolerance / float(search.scale.max()),
        "ftol": 0.0,  # the step decides, not the loss
    }
    try:
        found = minimize(loss, np.zeros(6), method="Powell", bounds=[(-_BOUND, _BOUND)] * 6, callback=compare, options=options)
        reason = {1: EVALUATIONS, 2: LIMIT}.get(found.status, FLAT if search.flat else SMALL)
    except Stop as stop:
        reason = str(stop)
    return search.result(reason)
