"""Many starts, few survivors: from a box of poses to the best one, down the pyramid.

Rendering at the coarsest level costs a fraction of a millisecond, so a quasi-random net over the whole box is judged there, its
best members descend, and at each finer level fewer are carried on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.rigid import apply
from xrcore.registration.problem import Problem
from xrcore.registration.result import Step, Watch, on_level
from xrcore.registration.settings import Level, Settings
from xrcore.registration.solvers.gauss_newton import Descent
from xrcore.xray.image import Xray

_SURVIVORS = (8, 4, 2, 1)  # descents begun on each level, coarse to fine
_SAME = 0.5  # in voxels of the level: descents that end closer than this met in one optimum


@dataclass(frozen=True, kw_only=True)
class SearchBox:
    """Where to look: half-widths of a box of poses about the start [deg, mm], and how many to judge in it.

    The default is the box the paper draws its poses from. candidates = 1 judges the start alone.
    """

    rotation: tuple[float, float, float] = (15.0, 15.0, 10.0)
    translation: tuple[float, float, float] = (30.0, 30.0, 30.0)
    candidates: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rotation", "translation"):
            value = tuple(float(v) for v in getattr(self, name))
            if len(value) != 3 or not all(v >= 0 for v in value):
                raise XrcoreError(f"SearchBox: {name} must be three half-widths, not negative, got {getattr(self, name)!r}")
            object.__setattr__(self, name, value)
        if self.candidates < 1:
            raise XrcoreError(f"SearchBox: candidates must be at least 1, got {self.candidates}")

    def widened(self, factor: float, candidates: int) -> SearchBox:
        """A larger box, searched more densely and at other points."""
        return SearchBox(
            rotation=tuple(v * factor for v in self.rotation),  # type: ignore[arg-type]
            translation=tuple(v * factor for v in self.translation),  # type: ignore[arg-type]
            candidates=candidates,
            seed=self.seed + 1,
        )

    def poses(self, start: Pose) -> Pose:
        """The start, then a scrambled Sobol net of the box about its six numbers."""
        numbers = start.numbers.detach().double()
        if self.candidates == 1:  # the engine refuses to draw nothing
            return Pose(numbers)
        draws = torch.quasirandom.SobolEngine(6, scramble=True, seed=self.seed).draw(self.candidates - 1).double()
        box = torch.tensor([*self.rotation, *self.translation], dtype=torch.float64)
        return Pose.cat([Pose(numbers), Pose(numbers + (2 * draws - 1) * box)])


@dataclass(frozen=True)
class Found:
    """The best pose of a search with what was learnt on the way."""

    pose: Pose
    similarity: float
    covariance: Tensor
    history: tuple[Step, ...]
    evaluations: int
    inverted: bool
    converged: bool


def search_down(
    xray: Xray, volume: Volume, start: Pose, box: SearchBox, settings: Settings, beam: Beam, watch: Watch | None = None
) -> Found:
    """Descend from the best of a box of starts, coarse to fine.

    An X-ray with bone dark correlates negatively; if the descents from its negative end higher, the X-ray is taken as inverted.
    watch: as for `refine`. Raises XrcoreError when no start brings the CT into the view.
    """
    history: list[Step] = []
    evaluations = 0
    inverted = False
    landmarks = corners(volume)
    poses = start
    for index, level in enumerate(settings.levels):
        grid = volume.coarser(level.spacing)
        seen = on_level(watch, index)
        survivors = _SURVIVORS[min(index, len(_SURVIVORS) - 1)]
        problem = Problem(xray, grid, beam, settings.similarity_at(level), pixels=level.pixels)
        if index == 0:
            candidates = box.poses(start)
            value = problem.value(candidates)
            _reject_empty_view(problem, candidates, value)
            chosen = value.argsort(descending=True)[:survivors]
            if 0 not in chosen:
                chosen = torch.cat([chosen.new_zeros(1), chosen])
            descent = _descend(problem, candidates[chosen], level, settings, seen)
            if -float(value.min()) > 0.5 * float(value.max()):
                negative = xray.negative()
                other = Problem(negative, grid, beam, settings.similarity_at(level), pixels=level.pixels)
                turned = _descend(other, candidates[value.argsort()[:survivors]], level, settings, seen)
                evaluations += other.evaluations
                if float(turned.value.max()) > float(descent.value.max()):
                    descent, xray, inverted = turned, negative, True
        else:
            descent = _descend(problem, poses[:survivors], level, settings, seen)
        evaluations += problem.evaluations
        history += [Step(level=index, pose=pose, similarity=value) for pose, value in descent.steps]
        order = descent.value.argsort(descending=True)
        poses = _distinct(descent.pose[order], problem, landmarks, _SAME * level.spacing)
    best = int(order[0])
    return Found(
        pose=descent.pose[best],
        similarity=float(descent.value[best]),
        covariance=descent.normal.covariance()[best],
        history=tuple(history),
        evaluations=evaluations,
        inverted=inverted,
        converged=bool(descent.converged[best]),
    )


def corners(volume: Volume) -> Tensor:
    """The eight corners of the grid's middle half [mm], a stand-in for landmarks where only displacements matter."""
    z, y, x = volume.shape
    unit = torch.cartesian_prod(*[torch.tensor([0.25, 0.75], dtype=torch.float64)] * 3)
    index = unit * torch.tensor([x - 1, y - 1, z - 1], dtype=torch.float64)
    return apply(volume.world_from_voxel, index)


def _descend(problem: Problem, poses: Pose, level: Level, settings: Settings, watch: Callable[[Pose, float], None] | None) -> Descent:
    tolerance = settings.tolerance * level.spacing / settings.levels[-1].spacing
    return problem.descend(poses, iterations=level.iterations, tolerance=tolerance, watch=watch)


def _distinct(poses: Pose, problem: Problem, landmarks: Tensor, distance: float) -> Pose:
    """Drop poses that move the landmarks less than `distance` [mm] away from a better one's."""
    moved = apply(poses.camera_from_world(problem.carm, problem.volume.isocenter), landmarks)
    kept: list[int] = []
    for i in range(len(poses)):
        if all(float((moved[i] - moved[j]).norm(dim=-1).mean()) > distance for j in kept):
            kept.append(i)
    return poses[torch.tensor(kept)]


def _reject_empty_view(problem: Problem, poses: Pose, value: Tensor) -> None:
    if float(value.abs().max()) > 0:
        return
    carm = problem.carm
    raise XrcoreError(
        "register: the CT lies outside the X-ray's view at every start; check source_to_isocenter "
        f"({carm.source_to_isocenter:g} mm), source_to_detector ({carm.source_to_detector:g} mm), pixel_spacing, and the initial pose"
    )
