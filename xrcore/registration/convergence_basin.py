"""From where descents come back: the capture range that least squares really has, beside the one that a similarity's profile promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore._util.threads import single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.rigid import apply
from xrcore.registration.problem import Problem
from xrcore.registration.search import corners
from xrcore.registration.settings import PYRAMID, Settings
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarity_profiles import REACH, check_lines, evenly
from xrcore.xray.image import Xray

NEAR = 10.0  # [mm], what counts as success elsewhere
_LADDER = Settings(levels=PYRAMID[:2])
_SAME = 0.25  # in voxels of the level: descents that end closer than this met in one optimum


@dataclass(frozen=True, eq=False)
class Returns:
    """Where descents ended that started along lines through a pose.

    center: the pose, one. home: where they should come back to. similarity: what they climbed. offsets: (6, N), of the starts [deg, mm].
    distance: (6, N), how far points in the CT are on average from where they are at home, once a descent has ended [mm].
    near: below it, a descent came back. evaluations: DRRs rendered.
    """

    center: Pose
    home: Pose
    similarity: str
    offsets: Float[ndarray, "6 N"]
    distance: Float[ndarray, "6 N"]
    near: float
    evaluations: int

    @property
    def came_back(self) -> Bool[ndarray, "6 N"]:
        """Of each start."""
        return self.distance < self.near

    def capture(self) -> Float[ndarray, "6 2"]:
        """How far below and above the pose all starts came back, on each line [deg, mm]; 0 where not even the pose itself did."""
        return np.array([_unbroken(x, back) for x, back in zip(self.offsets, self.came_back, strict=True)])


def returns(
    xray: Xray,
    volume: Volume,
    center: Pose,
    similarity: str,
    *,
    home: Pose | None = None,
    reach: Sequence[float] = REACH,
    samples: int = 21,
    beam: Beam | None = None,
    settings: Settings = _LADDER,
    near: float = NEAR,
) -> Returns:
    """Start Levenberg-Marquardt along each of the six numbers about one pose, coarse to fine, and see which descents come back.

    similarity: a name; only those with a least-squares residual can be descended. home: default `center`; the truth, where it is known.
    reach, samples: of the lines, as in `landscape.profiles`. settings: the ladder; default the two coarse levels of a registration, whose
    finer ones begin within reach or not at all. Descents that met in one optimum go on as one, as in a registration's search.
    """
    if not named_similarity(similarity).least_squares:
        fitting = ", ".join(name for name, kind in SIMILARITIES.items() if kind.least_squares)
        raise XrcoreError(f"returns: {similarity} has no least-squares residual to descend on; choose one of {fitting}")
    lengths = check_lines("returns", center, reach, samples, 6)
    home = center if home is None else home
    settings = replace(settings, similarity=similarity)
    offsets = evenly(samples) * np.array(lengths)[:, None]
    numbers = center.numbers.detach().double().repeat(6, samples, 1)
    for axis in range(6):
        numbers[axis, :, axis] += torch.from_numpy(offsets[axis])
    poses, evaluations = _descend(xray, volume, Pose(numbers.reshape(-1, 6)), settings, Beam() if beam is None else beam)
    ended, there = (apply(p.camera_from_world(xray.carm, volume.isocenter), corners(volume)) for p in (poses, home))
    distance = (ended - there).norm(dim=-1).mean(-1).reshape(6, samples).numpy()
    return Returns(center.detach(), home.detach(), similarity, offsets, distance, near, evaluations)


@torch.no_grad()
def _descend(xray: Xray, volume: Volume, poses: Pose, settings: Settings, beam: Beam) -> tuple[Pose, int]:
    """Where each start ends."""
    points = corners(volume)
    follows = torch.arange(len(poses))  # start -> the descent that goes on for it
    evaluations = 0
    with single_torch_thread():
        for level in settings.levels:
            problem = Problem(xray, volume.coarser(level.spacing), beam, settings.similarity_at(level), pixels=level.pixels)
            tolerance = settings.tolerance * level.spacing / settings.levels[-1].spacing
            descent = problem.descend(poses, iterations=level.iterations, tolerance=tolerance)
            evaluations += problem.evaluations
            order = descent.value.argsort(descending=True)
            places = apply(descent.pose[order].camera_from_world(problem.carm, volume.isocenter), points)
            leader = _leaders(places, _SAME * level.spacing)
            kept, group = leader.unique(return_inverse=True)
            poses = descent.pose[order[kept]]
            follows = torch.empty_like(order).index_copy(0, order, group)[follows]
    return poses[follows], evaluations


def _leaders(places: Float[Tensor, "B n 3"], distance: float) -> Tensor:
    """For each, the index of the first whose points lie within `distance` [mm] of its own on average and that leads itself."""
    leader = torch.full((len(places),), -1)
    for i in range(len(places)):
        if leader[i] < 0:
            close = (places - places[i]).norm(dim=-1).mean(-1) < distance
            leader[close & (leader < 0)] = i
            leader[i] = i
    return leader


def _unbroken(offsets: Float[ndarray, "N"], back: Bool[ndarray, "N"]) -> tuple[float, float]:
    middle = len(offsets) // 2
    if not back[middle]:
        return 0.0, 0.0
    lost = np.nonzero(~back)[0]
    below, above = lost[lost < middle], lost[lost > middle]
    first = int(below[-1]) + 1 if len(below) else 0
    last = int(above[0]) - 1 if len(above) else len(offsets) - 1
    return float(offsets[middle] - offsets[first]), float(offsets[last] - offsets[middle])
