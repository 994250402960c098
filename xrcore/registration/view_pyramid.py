"""The levels of several views: compared are the pixels where the rendered body is visible, plus a margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_number, is_whole, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose, rigid
from xrcore.registration.body_window import cut, visible_region
from xrcore.registration.corners import corners
from xrcore.registration.joint_problem import JointProblem
from xrcore.registration.problem import pixel_at_isocenter, shrink
from xrcore.registration.pyramid import Pyramid
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import Similarity
from xrcore.registration.view import View
from xrcore.xray.image import Xray


@dataclass(frozen=True, kw_only=True)
class ViewLevel:
    """One level of the coarse-to-fine descent of several views.

    Parameters
    ----------
    pixel : float
        Size at the isocentre to which X-rays are averaged down by whole factors [mm].
    spacing : float
        Of the CT [mm]; 0 leaves it as it is.
    similarity : str or Similarity
        One with a residual.
    margin : float
        Pixels where the rendered body is visible are compared, plus this margin [mm at the isocentre].
    rounds : int
        The compared pixels are determined this many times.
    iterations : int
        At most, each round.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    pixel: float
    spacing: float
    similarity: str | Similarity = "gradient-zncc"
    margin: float = 3.0
    rounds: int = 1
    iterations: int = 10

    def __post_init__(self) -> None:
        for name in ("pixel", "margin"):
            value = getattr(self, name)
            require("ViewLevel", name, value, is_number(value) and value > 0, "positive, in mm")
        require("ViewLevel", "spacing", self.spacing, is_number(self.spacing) and self.spacing >= 0, "0 or more, in mm")
        for name in ("rounds", "iterations"):
            value = getattr(self, name)
            require("ViewLevel", name, value, is_whole(value) and value >= 1, "a whole number, at least 1")
        least_squares = named_similarity(self.similarity).least_squares
        require("ViewLevel", "similarity", self.similarity, least_squares, "one with a residual, such as gradient-zncc")


_LEVELS = (
    ViewLevel(pixel=1.8, spacing=1.8, margin=8.0, rounds=2, iterations=8),
    ViewLevel(pixel=0.9, spacing=1.2, margin=5.0, rounds=2, iterations=8),
    ViewLevel(pixel=0.45, spacing=0.6, margin=3.0, rounds=2, iterations=20),
)


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Settings of `register_views`.

    Parameters
    ----------
    levels : tuple of ViewLevel
        Coarse to fine.
    survivors : tuple of int
        Descents on each level, the last repeated.
    tolerance : float
        A descent has converged when its step moves the pose by less than this, in deg and in mm; on coarser levels as much more
        as their pixels are larger.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    levels: tuple[ViewLevel, ...] = _LEVELS
    survivors: tuple[int, ...] = (6, 3, 1)
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        levels, survivors = self.levels, self.survivors
        several = isinstance(levels, tuple) and len(levels) > 0 and all(isinstance(level, ViewLevel) for level in levels)
        require("ViewSettings", "levels", levels, several, "a tuple of at least one ViewLevel")
        counts = isinstance(survivors, tuple) and len(survivors) > 0 and all(is_whole(n) and n >= 1 for n in survivors)
        require("ViewSettings", "survivors", survivors, counts, "a tuple of whole numbers, at least 1 each")
        require("ViewSettings", "tolerance", self.tolerance, is_number(self.tolerance) and self.tolerance > 0, "positive")


class ViewPyramid(Pyramid):
    """The pyramid of several views. The compared pixels depend on the pose, so each pose and round has its own problem."""

    separately = True

    def __init__(self, views: Sequence[View], volume: Volume, beam: Beam, settings: ViewSettings) -> None:
        super().__init__(len(settings.levels))
        self.rounds = [level.rounds for level in settings.levels]
        self._settings, self._beam = settings, beam
        self._views = [[replace(view, xray=_averaged(view.xray, level.pixel)) for view in views] for level in settings.levels]
        self._grids = [volume.coarser(level.spacing) if level.spacing else volume for level in settings.levels]

    def limits(self, level: int) -> tuple[int, float]:
        """Iterations at most, and the tolerance, which grows with the pixels."""
        levels = self._settings.levels
        return levels[level].iterations, self._settings.tolerance * levels[level].pixel / levels[-1].pixel

    def problem(self, level: int, near: Pose) -> JointProblem:
        """The problem over the pixels where the body is visible at any of the poses."""
        views, grid, margin = self._views[level], self._grids[level], self._settings.levels[level].margin
        placed = views[0].rig_from_ct(near, grid)
        return self._problem(level, [visible_region(grid, view.carm, view.pose(placed, grid), self._beam, margin) for view in views])

    def whole(self, level: int) -> JointProblem:
        """The problem over whole images."""
        return self._problem(level, None)

    def _problem(self, level: int, regions: Sequence[Bool[Tensor, "H W"]] | None) -> JointProblem:
        made = JointProblem(self._views[level], self._grids[level], self._beam, self._settings.levels[level].similarity, regions)
        self._problems.append(made)
        return made

    @staticmethod
    def best(poses: Pose, keep: int, judge: JointProblem) -> Pose:
        """The best `keep` poses."""
        return poses if len(poses) <= keep else poses[judge.value(poses).argsort(descending=True)[:keep]]


def crop_to_body(view: View, volume: Volume, rig_from_ct: Float[Tensor, "4 4"], *, margin: float, pixel: float) -> View:
    """Crop a view to the body and average its pixels.

    Parameters
    ----------
    view : View
        Whole.
    volume : Volume
        The body.
    rig_from_ct : Float[Tensor, "4 4"]
        Where it is: the CT's LPS world into the rig [mm].
    margin : float
        Kept around it [mm at the isocentre].
    pixel : float
        Size of the averaged pixels [mm at the isocentre].

    Returns
    -------
    View
        Of fewer pixels, with the geometry that belongs to them.

    Raises
    ------
    XrcoreError
        If the body lies behind the camera or outside the view.
    """
    part = cropped(view, volume, view.pose(rig_from_ct, volume), margin)
    return replace(part, xray=_averaged(part.xray, pixel))


def _averaged(xray: Xray, pixel: float) -> Xray:
    factor = max(1, round(pixel / pixel_at_isocenter(xray.carm)))
    return shrink(xray, max(xray.carm.shape) // factor) if factor > 1 else xray


def cropped(view: View, volume: Volume, pose: Pose, margin: float) -> View:
    """Crop a view to the pixels that the body can reach at the given poses."""
    points = rigid.apply(pose.camera_from_world(view.carm, volume.isocenter), corners(volume, 0.0, 1.0))
    if not (points[..., 2] > 0).all():
        raise XrcoreError("register_views: the body lies behind a camera; check start and camera_from_rig")
    pixels = view.carm.project(points).reshape(-1, 2)
    around = margin / pixel_at_isocenter(view.carm) + 2
    size = torch.tensor(view.carm.shape, dtype=torch.float64)
    low = (pixels.amin(0) - around).floor().clamp_min(0).minimum(size)
    high = (pixels.amax(0) + around).ceil().minimum(size).clamp_min(0)
    (top, left), (bottom, right) = low.int().tolist(), high.int().tolist()
    if bottom - top < 16 or right - left < 16:
        raise XrcoreError("register_views: the body is outside a view; check start and camera_from_rig")
    return cut([view], [(slice(top, bottom), slice(left, right))])[0]
