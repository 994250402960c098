"""Search a box of poses: many starts are compared on the coarsest level, the best descend, and fewer go on to each finer level.

Rendering at the coarsest level costs a fraction of a millisecond, so a quasi-random net over the whole box is judged there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xrcore._util.bounds import LARGEST_ANGLE, LARGEST_LENGTH, half_widths, largest
from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import clamped
from xrcore.geometry.rigid import apply
from xrcore.registration.body_window import body_windows, cut, fitted
from xrcore.registration.box_corners import corners
from xrcore.registration.events import Events
from xrcore.registration.grey_values import GreyCurve, grey_curve, with_attenuation
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.pyramid import XrayPyramid
from xrcore.registration.result import Registration
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.correlation_ratio import CorrelationRatio
from xrcore.registration.solvers.descent import Descent
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.view import View
from xrcore.renderer import render

_SAME = 0.5  # in voxels of the level: descents that end closer than this met in one optimum


class Starts(Protocol):
    """Interface of what a search begins with: a `SearchBox`, or `AllViews`."""

    @property
    def candidates(self) -> int:
        """Poses judged."""

    @property
    def survivors(self) -> tuple[int, ...]:
        """Descents begun on each level, coarse to fine."""

    def poses(self, start: Pose) -> Pose:
        """The poses that are judged, the first of which always descends."""


@dataclass(frozen=True, kw_only=True)
class SearchBox:
    """A box of poses about the start, and how many poses in it to compare.

    The default is the box the paper draws its poses from.

    Parameters
    ----------
    rotation : tuple of float
        Half-widths of rx, ry, rz [deg].
    translation : tuple of float
        Half-widths of tx, ty, tz [mm].
    candidates : int
        Poses judged; 1 judges the start alone.
    seed : int
        Of the quasi-random net.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    Examples
    --------
    >>> import xrcore as xr
    >>> wide = xr.SearchBox(rotation=(30, 45, 20), translation=(60, 60, 100), candidates=512)
    """

    rotation: tuple[float, float, float] = (15.0, 15.0, 10.0)
    translation: tuple[float, float, float] = (30.0, 30.0, 30.0)
    candidates: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rotation", "translation"):
            value = getattr(self, name)
            three = half_widths(name, value)
            require("SearchBox", name, value, three is not None, f"three half-widths, not negative, at most {largest(name):g}")
            object.__setattr__(self, name, three)
        require(
            "SearchBox", "candidates", self.candidates, is_whole(self.candidates) and self.candidates >= 1, "a whole number, at least 1"
        )
        require("SearchBox", "seed", self.seed, is_whole(self.seed) and abs(self.seed) < 2**63, "a whole number of 64 bits")

    @property
    def survivors(self) -> tuple[int, ...]:
        """Descents begun on each level, coarse to fine."""
        return 8, 4, 2, 1

    def widened(self, factor: float, candidates: int) -> SearchBox:
        """A larger box, searched more densely and at other points.

        Parameters
        ----------
        factor : float
            Of all half-widths.
        candidates : int
            Poses judged in it.

        Returns
        -------
        SearchBox
            With the next seed.
        """
        rotation = tuple(min(v * factor, LARGEST_ANGLE) for v in self.rotation)
        translation = tuple(min(v * factor, LARGEST_LENGTH) for v in self.translation)
        return replace(self, rotation=rotation, translation=translation, candidates=candidates, seed=self.seed + 1)  # type: ignore[arg-type]

    def poses(self, start: Pose) -> Pose:
        """The start, then a scrambled Sobol net of the box about its six numbers.

        Parameters
        ----------
        start : Pose
            One pose, the middle of the box.

        Returns
        -------
        Pose
            `candidates` of them, those beyond the bounds of poses moved there.
        """
        numbers = start.numbers.detach().double()
        if self.candidates == 1:  # the engine refuses to draw nothing
            return Pose(numbers)
        draws = torch.quasirandom.SobolEngine(6, scramble=True, seed=self.seed).draw(self.candidates - 1).double()
        box = torch.tensor([*self.rotation, *self.translation], dtype=torch.float64)
        return Pose.cat([Pose(numbers), clamped(numbers + (2 * draws - 1) * box)])


def search_box(
    views: Sequence[View], volume: Volume, start: Pose, box: Starts, settings: GaussNewton, beam: Beam, *, report: bool = True
) -> Events[Registration]:
    """Descend from the best of a box of starts, coarse to fine; a generator of steps.

    The first levels compare by the correlation ratio, which does not depend on how grey values were mapped. A DRR of where they end
    tells whether bone is bright, and whether grey values follow attenuation, in each view; the result holds the X-rays as mapped back.
    Where the settings do not begin with the correlation ratio, the candidates have the last word on whether bone is bright.
    Raises XrcoreError when no start brings the CT into the view.
    """
    candidates = box.poses(start)
    windows = body_windows(views, volume, candidates)
    settings = fitted(settings, views, windows, volume)
    own = [named_similarity(level.similarity).name == CorrelationRatio.name for level in settings.levels]
    blind = own.index(False) if False in own else len(own)  # levels of the settings that are so already
    levels = settings.levels if blind else (replace(settings.levels[0], similarity=CorrelationRatio()), *settings.levels)
    ladder, first = replace(settings, levels=levels), max(blind, 1)
    landmarks = corners(volume)

    def best_starts(value: Float[Tensor, " B"]) -> Pose:
        chosen = value.nan_to_num(nan=-math.inf).argsort(descending=True)[: box.survivors[0]]
        return candidates[chosen if 0 in chosen else torch.cat([chosen.new_zeros(1), chosen])]

    def survivors(level: int, descent: Descent) -> Pose:
        poses = descent.pose[pyramid.order(level, descent)]
        places = apply(poses.camera_from_world(views[0].carm, volume.isocenter), landmarks)
        distinct = index_of_duplicate(places, _SAME * levels[level].spacing).unique()
        own_level = level if blind else level - 1
        return poses[distinct[: box.survivors[min(own_level + 1, len(box.survivors) - 1)]]]

    def mapped(curves: Sequence[GreyCurve]) -> tuple[View, ...]:
        return tuple(replace(view, xray=with_attenuation(view.xray, curve)) for view, curve in zip(views, curves, strict=True))

    pyramid = XrayPyramid(cut(views, windows), volume, beam, ladder, report=report)
    values = pyramid.problem(0).values(candidates)
    _reject_empty_view(pyramid.problem(0), values)
    course = yield from pyramid.descend(best_starts(values.mean(1)), range(first), survivors)
    last = pyramid.problem(first - 1, course.poses[:1]).each(course.poses[:1])
    sharp = volume.coarser(levels[-1].spacing)  # coarse voxels blur edges, which the curves would then undo
    curves = [grey_curve(one.xray, render(sharp, one.carm, pose, beam)[0]) for one, pose in last]
    history, evaluations, registered = course.history, pyramid.evaluations + len(views), mapped(curves)
    if first < len(levels):
        fine = XrayPyramid(cut(registered, windows), volume, beam, ladder, report=report)
        poses = course.poses
        if not blind:
            values = fine.problem(first).values(candidates)
            negative = [not view.xray.bone_bright and _is_negative(value) for view, value in zip(views, values.T, strict=True)]
            if any(negative):
                curves = [replace(c, inverted=not c.inverted, curved=False) if n else c for c, n in zip(curves, negative, strict=True)]
                registered = mapped(curves)
                fine = XrayPyramid(cut(registered, windows), volume, beam, ladder, report=report)
                values = fine.problem(first).values(candidates)
            poses = best_starts(values.mean(1))
        pyramid = fine
        course = yield from pyramid.descend(poses, range(first, len(levels)), survivors)
        history, evaluations = history + course.history, evaluations + pyramid.evaluations
    outcome = course.descent.outcome(int(pyramid.order(len(levels) - 1, course.descent)[0]), history)
    inverted, isocenter = curves[0].inverted, volume.isocenter
    return Registration.of(
        outcome, settings, initial=start, evaluations=evaluations, views=registered, inverted=inverted, isocenter=isocenter
    )


def index_of_duplicate(places: Float[Tensor, "B n 3"], distance: float) -> Int[Tensor, " B"]:
    """For each, the index of the first whose points lie within `distance` [mm] of its own on average and that leads itself."""
    leader = torch.full((len(places),), -1)
    for i in range(len(places)):
        if leader[i] < 0:
            leader[((places - places[i]).norm(dim=-1).mean(-1) < distance) & (leader < 0)] = i
            leader[i] = i  # also where its points are not finite
    return leader


def _is_negative(value: Float[Tensor, " B"]) -> bool:
    """Whether some candidate looks more like the negative than any like the X-ray.

    Of ZNCC and gradients, whose similarity of the negative is minus that of the X-ray; similarities that are never negative say no.
    """
    value = value.nan_to_num(nan=0.0)
    return bool(-value.min() > value.max())


def _reject_empty_view(problem: AnyProblem, values: Float[Tensor, "B V"]) -> None:
    if values.any():
        return
    carm = problem.carm
    raise XrcoreError(
        "register: the CT lies outside the X-ray's view at every start; check source_to_isocenter "
        f"({carm.source_to_isocenter:g} mm), source_to_detector ({carm.source_to_detector:g} mm), pixel_spacing, and the initial pose"
    )
