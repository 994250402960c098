"""The coarse-to-fine loop: descend on each level from where the one before ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.events import Events, Step, stage
from xrcore.registration.joint_problem import AnyProblem, problem_on
from xrcore.registration.solvers.descent import Descent, LeastSquaresProblem
from xrcore.registration.solvers.gauss_newton import GaussNewton, descend
from xrcore.registration.view import View

# Chooses the poses that the next level starts from, given a level's number and its descent.
ChoosePoses = Callable[[int, Descent], Pose]


@dataclass(frozen=True)
class CoarseToFineResult:
    """Result of the coarse-to-fine loop: the last level's descent, the poses that would be continued, and the best steps of each level."""

    descent: Descent
    poses: Pose
    history: tuple[Step, ...]


class Pyramid(ABC):
    """The problems of a registration, coarse to fine: of one X-ray, or of several views."""

    rounds: Sequence[int] | None = None  # descents in a row on each level, each on a new problem; default one
    separately = False  # whether each pose has its own problem

    def __init__(self, levels: int, *, first_level: int = 0, report: bool = True) -> None:
        self.levels = range(levels)
        self._first_level, self._report = first_level, report
        self._problems: list[LeastSquaresProblem] = []

    @property
    def evaluations(self) -> int:
        """Number of DRRs rendered."""
        return sum(problem.evaluations for problem in self._problems)

    @abstractmethod
    def problem(self, level: int, near: Pose) -> LeastSquaresProblem:
        """The problem on a level for poses near these."""

    @abstractmethod
    def limits(self, level: int) -> tuple[int, float]:
        """Iterations at most, and the tolerance [deg, mm]."""

    def descend(
        self, poses: Pose, levels: Sequence[int] | None = None, choose: ChoosePoses = lambda _, descent: descent.pose
    ) -> Events[CoarseToFineResult]:
        """Levenberg-Marquardt from each pose, on each of the levels (default all)."""
        history: list[Step] = []
        for level in self.levels if levels is None else levels:
            iterations, tolerance = self.limits(level)
            descents = []
            for pose in (poses[i] for i in range(len(poses))) if self.separately else (poses,):
                for _ in range(1 if self.rounds is None else self.rounds[level]):
                    problem = self.problem(level, pose)
                    if self.rounds is not None:
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


class XrayPyramid(Pyramid):
    """The pyramid of whole X-rays: of one, or of several views."""

    def __init__(
        self, views: Sequence[View], volume: Volume, beam: Beam, settings: GaussNewton, *, first_level: int = 0, report: bool = True
    ) -> None:
        super().__init__(len(settings.levels), first_level=first_level, report=report)
        self._views, self._volume, self._beam, self._settings = views, volume, beam, settings
        self._made: dict[int, AnyProblem] = {}

    def problem(self, level: int, near: Pose | None = None) -> AnyProblem:
        """The problem on a level, the same for all poses."""
        if level not in self._made:
            self._made[level] = problem_on(self._settings.levels[level], self._views, self._volume, self._beam)
            self._problems.append(self._made[level])
        return self._made[level]

    def limits(self, level: int) -> tuple[int, float]:
        """Iterations at most, and the tolerance, which grows with the voxels."""
        chosen = self._settings.levels[level]
        return chosen.iterations, self._settings.tolerance_at(chosen)
