"""The coarse-to-fine loop: descend on each level from where the one before ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Int
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.body_window import body_alone
from xrcore.registration.events import Events, Step, stage
from xrcore.registration.joint_problem import AnyProblem, poses_in_views, problem_on
from xrcore.registration.problem import shrink
from xrcore.registration.solvers.descent import Descent
from xrcore.registration.solvers.gauss_newton import GaussNewton, descend
from xrcore.registration.view import View

# Chooses the poses that the next level starts from, given a level's number and its descent.
ChoosePoses = Callable[[int, Descent], Pose]

_ROUNDS = 2  # how often the compared pixels are determined on a level with a margin


@dataclass(frozen=True, eq=False)
class CoarseToFineResult:
    """Result of the coarse-to-fine loop: the last level's descent, the poses that would be continued, and the best steps of each level."""

    descent: Descent
    poses: Pose
    history: tuple[Step, ...]


class XrayPyramid:
    """The problems of a registration, coarse to fine: of one X-ray, or of several views.

    On a level with a margin the compared pixels depend on the pose, so each pose descends alone, and once more from where it ended.
    """

    def __init__(
        self, views: Sequence[View], volume: Volume, beam: Beam, settings: GaussNewton, *, first_level: int = 0, report: bool = True
    ) -> None:
        self.levels = range(len(settings.levels))
        self._first_level, self._report = first_level, report
        self._views, self._volume, self._beam, self._settings = views, volume, beam, settings
        self._whole: dict[int, AnyProblem] = {}
        self._small: dict[int, list[View]] = {}  # shrunk as the level is
        self._problems: list[AnyProblem] = []

    @property
    def evaluations(self) -> int:
        """Number of DRRs rendered."""
        return sum(problem.evaluations for problem in self._problems)

    def problem(self, level: int, near: Pose | None = None) -> AnyProblem:
        """The problem on a level, over the pixels that count for the poses nearby; the same for all on a level without a margin."""
        margin = self._settings.levels[level].margin
        if near is not None and margin is not None:
            return self._posed(level, self._bodies_alone(level, near, margin))
        if level not in self._whole:
            self._whole[level] = self._posed(level, self._views)
        return self._whole[level]

    def _posed(self, level: int, views: Sequence[View]) -> AnyProblem:
        self._problems.append(problem_on(self._settings.levels[level], views, self._volume, self._beam))
        return self._problems[-1]

    def _bodies_alone(self, level: int, near: Pose, margin: float) -> list[View]:
        chosen = self._settings.levels[level]
        if level not in self._small:
            self._small[level] = [replace(view, xray=shrink(view.xray, chosen.pixels)) for view in self._views]
        small, grid = self._small[level], self._volume.coarser(chosen.spacing)
        poses = poses_in_views(near, small, grid)
        return [body_alone(view, grid, own, self._beam, margin) for view, own in zip(small, poses, strict=True)]

    def limits(self, level: int) -> tuple[int, float]:
        """Iterations at most, and the tolerance [deg, mm], which grows with the voxels."""
        chosen = self._settings.levels[level]
        return chosen.iterations, self._settings.tolerance_at(chosen)

    def order(self, level: int, descent: Descent) -> Int[Tensor, " B"]:
        """Indices of a level's ends, best first, compared over the same pixels."""
        if self._settings.levels[level].margin is None or len(descent.pose) == 1:
            return descent.order()
        return self.problem(level, descent.pose).value(descent.pose).argsort(descending=True)

    def descend(
        self,
        poses: Pose,
        levels: Sequence[int] | None = None,
        choose: ChoosePoses = lambda _, descent: descent.pose,
        *,
        together: bool = False,
    ) -> Events[CoarseToFineResult]:
        """Levenberg-Marquardt from each pose, on each of the levels (default all); together: over the pixels that count for any."""
        history: list[Step] = []
        for level in self.levels if levels is None else levels:
            iterations, tolerance = self.limits(level)
            posed = self._settings.levels[level].margin is not None
            descents = []
            for pose in (poses[i] for i in range(len(poses))) if posed and not together else (poses,):
                for _ in range(_ROUNDS if posed else 1):
                    problem = self.problem(level, pose)
                    if posed:
                        yield stage(f"level {level + 1}")  # another problem: its similarities do not compare with those before
                    descent = yield from descend(
                        problem, pose, iterations=iterations, tolerance=tolerance, level=self._first_level + level, report=self._report
                    )
                    pose = descent.pose
                descents.append(descent)
            ended = Descent.cat(descents)
            history += ended.steps
            poses = choose(level, ended)
        return CoarseToFineResult(ended, poses, tuple(history))
