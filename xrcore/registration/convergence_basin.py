"""Measure the convergence basin of Levenberg-Marquardt, for comparison with the capture range of a similarity's profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from xrcore._util.errors import is_number, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import require_one_pose
from xrcore.geometry.rigid import apply
from xrcore.registration.box_corners import corners
from xrcore.registration.events import WorkClock, finish, working
from xrcore.registration.presets import COARSE_SEARCH
from xrcore.registration.pyramid import XrayPyramid
from xrcore.registration.search import index_of_duplicate
from xrcore.registration.similarity_profiles import REACH, check_lines, evenly, one_image
from xrcore.registration.solvers.descent import Descent
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.view import views_of
from xrcore.xray.image import Xray

NEAR = 10.0  # [mm], what counts as success elsewhere
_SAME = 0.25  # in voxels of the level: descents that end closer than this met in one optimum


@dataclass(frozen=True, eq=False)
class ConvergenceBasin:
    """Where descents ended that started along lines through a pose.

    Parameters
    ----------
    center : Pose
        Through which the lines run.
    target : Pose
        Where the descents should end.
    similarity : str
        What they climbed.
    offsets : Float[ndarray, "6 N"]
        Of the starts [deg, mm].
    distance : Float[ndarray, "6 N"]
        How far points in the CT are on average from where the target has them, once a descent has ended [mm].
    near : float
        Below this distance a descent reached the target [mm].
    evaluations : int
        DRRs rendered.
    """

    center: Pose
    target: Pose
    similarity: str
    offsets: Float[ndarray, "6 N"]
    distance: Float[ndarray, "6 N"]
    near: float
    evaluations: int

    @property
    def reached(self) -> Bool[ndarray, "6 N"]:
        """Whether the descent from each start reached the target."""
        return self.distance < self.near

    def extent(self) -> Float[ndarray, "6 2"]:
        """How far below and above the center all starts reached the target.

        Returns
        -------
        Float[ndarray, "6 2"]
            On each line [deg, mm]; 0 where not even the center itself did.
        """
        return np.array([_unbroken(x, reached) for x, reached in zip(self.offsets, self.reached, strict=True)])


def measure_convergence_basin(
    xray: Xray,
    volume: Volume,
    center: Pose,
    similarity: str,
    *,
    target: Pose | None = None,
    reach: Sequence[float] = REACH,
    samples: int = 21,
    beam: Beam | None = None,
    settings: GaussNewton = COARSE_SEARCH,
    near: float = NEAR,
) -> ConvergenceBasin:
    """Start Levenberg-Marquardt along each of the six numbers about one pose, coarse to fine, and see which descents reach it.

    Descents that met in one optimum go on as one, as in a registration's search.

    Parameters
    ----------
    xray : Xray
        Bone bright.
    volume : Volume
        The CT.
    center : Pose
        Through which the lines run; one pose.
    similarity : str
        Its name; only those with a least-squares residual can be descended.
    target : Pose, optional
        Where descents should end; default `center`; the truth, where it is known.
    reach : sequence of float
        Half-widths of the six lines [deg, mm].
    samples : int
        Starts a line, odd, so that the center is one of them.
    beam : Beam, optional
        The one assumed; default 90 kV.
    settings : GaussNewton
        Its levels and tolerance; default the two coarse levels of a registration, whose finer ones begin within reach or not at all.
    near : float
        Below this mean distance of points in the CT a descent reached the target [mm].

    Returns
    -------
    ConvergenceBasin
        Where each start ended.

    Raises
    ------
    XrcoreError
        If an argument makes no sense, or the similarity has no residual.
    """
    caller = "measure_convergence_basin"
    xray = one_image(caller, xray, volume, beam)
    views = views_of(caller, xray)
    lengths = check_lines(caller, center, reach, samples, 6)
    require(caller, "near", near, is_number(near) and near > 0, "positive, in mm")
    target = center if target is None else target
    require_one_pose(caller, "target", target)
    require(caller, "settings", settings, isinstance(settings, GaussNewton), "a GaussNewton")
    settings = settings.with_similarity(similarity)
    offsets = evenly(samples) * np.array(lengths)[:, None]
    numbers = center.numbers.detach().double().repeat(6, samples, 1)
    for axis in range(6):
        numbers[axis, :, axis] += torch.from_numpy(offsets[axis])
    starts = Pose(numbers.reshape(-1, 6))

    pyramid = XrayPyramid(views, volume, Beam() if beam is None else beam, settings, report=False)
    points = corners(volume)
    follows = torch.arange(len(starts))  # start -> the descent that goes on for it

    def merged(level: int, descent: Descent) -> Pose:
        nonlocal follows
        order = descent.order()
        places = apply(descent.pose[order].camera_from_world(xray.carm, volume.isocenter), points)
        leader = index_of_duplicate(places, _SAME * settings.levels[level].spacing)
        kept, group = leader.unique(return_inverse=True)
        follows = torch.empty_like(order).index_copy(0, order, group)[follows]
        return descent.pose[order[kept]]

    course = finish(working(pyramid.descend(starts, choose=merged), WorkClock()))
    ended, there = (apply(p.camera_from_world(xray.carm, volume.isocenter), points) for p in (course.poses[follows], target))
    distance = (ended - there).norm(dim=-1).mean(-1).reshape(6, samples).numpy()
    return ConvergenceBasin(center.detach(), target.detach(), similarity, offsets, distance, near, pyramid.evaluations)


def _unbroken(offsets: Float[ndarray, " N"], back: Bool[ndarray, " N"]) -> tuple[float, float]:
    middle = len(offsets) // 2
    if not back[middle]:
        return 0.0, 0.0
    lost = np.nonzero(~back)[0]
    below, above = lost[lost < middle], lost[lost > middle]
    first = int(below[-1]) + 1 if len(below) else 0
    last = int(above[0]) - 1 if len(above) else len(offsets) - 1
    return float(offsets[middle] - offsets[first]), float(offsets[last] - offsets[middle])
