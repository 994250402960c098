"""`refine`: one start, one method, one result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.problem import Problem
from xrcore.registration.result import Registration, Step, Watch, on_level
from xrcore.registration.settings import Settings, settings_for
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.solvers.adam import refine_adam
from xrcore.registration.solvers.derivative_free import refine_cma_es, refine_powell
from xrcore.registration.solvers.lbfgs import refine_lbfgs
from xrcore.registration.solvers.progress import FLAT, LIMIT, NOT_FINITE, SMALL
from xrcore.xray.image import Xray

_SINGLE_LEVEL: dict[str, Callable[[Problem, Pose, Settings, Watch | None], Registration]] = {
    "adam": refine_adam,
    "lbfgs": refine_lbfgs,
    "cma-es": refine_cma_es,
    "powell": refine_powell,
}


def refine(
    xray: Xray,
    volume: Volume,
    start: Pose,
    settings: Settings | str = "gauss-newton",
    beam: Beam | None = None,
    *,
    watch: Watch | None = None,
) -> Registration:
    """Move `start` to where a DRR of `volume` looks most like `xray`.

    start: one pose. settings: a preset's name (see `settings_for`) or Settings. beam: default the paper's, 90 kV.
    watch: called with the best `Step` of its level so far, after each iteration; what it raises ends the refinement.
    "gauss-newton" walks the levels from coarse to fine; the other methods work on the last level alone, where similarity "auto"
    means ZNCC, since nothing coarser has brought them within reach of a sharper one. Settings with a `first` start where it ends;
    the history is then the last one's.
    The search is local: whether its answer is the right one is for `register` to judge.
    Raises XrcoreError if `start` is not one pose, or if the method cannot use the similarity.
    """
    began = time.perf_counter()
    settings = settings_for(settings)
    beam = Beam() if beam is None else beam
    if len(start) != 1:
        raise XrcoreError(f"refine: expected one start, got a batch of {len(start)}; refine them one by one")
    if settings.first is not None:
        before = refine(xray, volume, start, settings.first, beam, watch=watch)
        after = refine(xray, volume, before.pose, replace(settings, first=None), beam, watch=_after(watch, settings.first))
        return replace(
            after, initial=before.initial, evaluations=before.evaluations + after.evaluations, seconds=time.perf_counter() - began
        )
    if settings.method == "gauss-newton":
        result = _refine_gauss_newton(xray, volume, start, settings, beam, watch)
    else:
        level = settings.levels[-1]
        similarity = "zncc" if settings.similarity == "auto" else settings.similarity_at(level)
        problem = Problem(xray, volume.coarser(level.spacing), beam, similarity, pixels=level.pixels)
        result = _SINGLE_LEVEL[settings.method](problem, start, settings, watch)
    return replace(result, seconds=time.perf_counter() - began)


def _after(watch: Watch | None, first: Settings | None) -> Watch | None:
    """`watch` for a refinement whose levels come after those of the ones before it."""
    by = 0
    while first is not None:
        by, first = by + len(first.levels), first.first
    return None if watch is None else lambda step: watch(replace(step, level=step.level + by))


def _refine_gauss_newton(xray: Xray, volume: Volume, start: Pose, settings: Settings, beam: Beam, watch: Watch | None) -> Registration:
    """`descend` on each level, from where the one before ended."""
    similarities = [named_similarity(settings.similarity_at(level)) for level in settings.levels]
    for similarity in similarities:
        if not similarity.least_squares:
            fitting = ", ".join(name for name, kind in SIMILARITIES.items() if kind.least_squares)
            raise XrcoreError(
                f"refine: gauss-newton needs a similarity with a residual, which {similarity.name} has not; "
                f"choose {fitting}, or a method of {', '.join(_SINGLE_LEVEL)}"
            )
    start = Pose(start.numbers.detach().double())
    pose, history, evaluations = start, list[Step](), 0
    for number, (level, similarity) in enumerate(zip(settings.levels, similarities, strict=True)):
        problem = Problem(xray, volume.coarser(level.spacing), beam, similarity, pixels=level.pixels)
        tolerance = settings.tolerance * level.spacing / settings.levels[-1].spacing
        descent = problem.descend(pose, iterations=level.iterations, tolerance=tolerance, watch=on_level(watch, number))
        pose = descent.pose
        evaluations += problem.evaluations
        history += [Step(level=number, pose=p, similarity=value) for p, value in descent.steps]
    finite = bool(torch.isfinite(descent.value).all() and torch.isfinite(descent.normal.hessian).all())
    informed = finite and bool(descent.normal.hessian.any())
    return Registration(
        pose=pose,
        similarity=float(descent.value),
        covariance=descent.normal.covariance()[0] if informed else None,
        stop_reason=NOT_FINITE if not finite else FLAT if not informed else SMALL if descent.converged.all() else LIMIT,
        seconds=0.0,
        initial=start,
        method=settings.method,
        similarity_name=similarities[-1].name,
        evaluations=evaluations,
        history=tuple(history),
    )
