"""Search boxes that `register` tries in order until a trusted result is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.all_views import AllViews
from xrcore.registration.predictor import Predictor
from xrcore.registration.search import SearchBox, Starts
from xrcore.registration.settings import EDGE_PYRAMID, GRADIENT_PYRAMID, PYRAMID
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.view import View

# How much wider than before, and with how many candidates, to search again while the answer is not trusted; every other time by gradients.
_WIDER = ((1.0, 384), (1.6, 1024), (1.0, 1024))
RETRIES = len(_WIDER)
# The first box about a prediction: this many times its 95th percentiles, at least these half-widths [deg, mm]; fewest and most candidates.
_DOUBT, _LEAST, _NEAR = 1.5, (1.0, 1.0, 1.0, 2.0, 2.0, 4.0), (32, 384)

_COARSE = 2  # levels, whose pixels are about 8 mm or more
_BEYOND = 1.25  # times the ranges a model was trained for: as far as its predictions are followed


def within_ranges(pose: Pose, ranges: tuple[float, ...]) -> Pose:
    """A prediction far outside what the model was trained for means nothing, and may not show the CT at all."""
    limits = _BEYOND * torch.tensor(ranges, dtype=torch.float64)
    return Pose(pose.numbers.double().clamp(-limits, limits))


def plans_about_pose(start: Pose, box: SearchBox) -> list[tuple[Pose, SearchBox]]:
    """Search boxes about a pose, in order."""
    boxes = accumulate(_WIDER, lambda before, wider: before.widened(wider[0], max(wider[1], box.candidates)), initial=box)
    return [(start, each) for each in boxes]


def plans_about_prediction(start: Pose, model: Predictor, search: SearchBox | None) -> list[tuple[Pose, SearchBox]]:
    """Search boxes about a prediction: the size of the model's errors, then the default one, denser, then the whole training range."""
    (_, default), (_, denser), *_ = plans_about_pose(start, SearchBox())
    near = default if search is None else search
    if search is None and (spread := model.spread) is not None:
        reach = [max(_DOUBT * s, least) for s, least in zip(spread, _LEAST, strict=True)]
        share = math.prod(r / d for r, d in zip(reach, (*default.rotation, *default.translation), strict=True))
        candidates = min(max(round(default.candidates * share**0.5), _NEAR[0]), _NEAR[1])
        near = SearchBox(rotation=tuple(reach[:3]), translation=tuple(reach[3:]), candidates=candidates)  # type: ignore[arg-type]
    ranges = tuple(max(r, d) for r, d in zip(model.ranges, (*default.rotation, *default.translation), strict=True))
    everywhere = SearchBox(rotation=ranges[:3], translation=ranges[3:], candidates=_WIDER[-1][1], seed=2)  # type: ignore[arg-type]
    return [(start, near), (start, denser), (Pose.zero(), everywhere)]


def plans_from_anywhere(views: Sequence[View], volume: Volume, beam: Beam) -> list[tuple[Pose, Starts]]:
    """Searches among views from all around the body, in order; the second begins where the first does, and ends another way."""
    every = AllViews(views=tuple(views), volume=volume, beam=beam)
    return [(Pose.zero(), each) for each in (every, every, replace(every, step=8.0, candidates=192, survivors=(64, 24, 12, 6, 2)))]


def another_way(settings: GaussNewton, attempt: int, *, bone_only: bool, near: bool = False) -> GaussNewton:
    """The settings of a search: those given, but every other time gradients from the start in place of the default levels.

    Edges alone come first where soft tissue is missing, which makes up most of an X-ray's grey values. Starts that all lie
    within a few mm are left to the finer levels: pixels as large as their box lead away from them.
    """
    if settings.levels != PYRAMID:
        return settings
    ways = (EDGE_PYRAMID, PYRAMID) if bone_only else (PYRAMID, GRADIENT_PYRAMID)
    return replace(settings, levels=ways[attempt % 2][_COARSE if near else 0 :])
