"""Gauss-Newton's settings, and its descent where the volume is: Levenberg-Marquardt on the CPU or on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from xrcore._util.errors import XrcoreError, is_number, require
from xrcore.geometry import Pose
from xrcore.registration.events import Events
from xrcore.registration.problem import Problem
from xrcore.registration.settings import PYRAMID, Level, RefinementSettings
from xrcore.registration.similarities import SIMILARITIES, Similarity
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.solvers import levenberg_marquardt
from xrcore.registration.solvers.descent import Descent, LeastSquaresProblem
from xrcore.renderer import choose_backend


@dataclass(frozen=True, kw_only=True)
class GaussNewton(RefinementSettings):
    """Least squares, coarse to fine: Levenberg-Marquardt on each level from where the one before ended.

    Parameters
    ----------
    levels : tuple of Level
        Coarse to fine, at least one; each has its own similarity, which must have a residual.
    tolerance : float
        A descent has converged when its step moves the pose by less than this, in deg and in mm; on coarser levels as much
        more as their voxels are larger.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense, or a similarity has no residual.

    Examples
    --------
    >>> import xrcore as xr
    >>> quick = xr.GaussNewton(levels=(xr.Level(pixels=32, spacing=16.0, iterations=10),), tolerance=0.2)
    """

    method: ClassVar[str] = "gauss-newton"
    levels: tuple[Level, ...] = PYRAMID
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        levels = self.levels
        several = isinstance(levels, tuple) and len(levels) > 0 and all(isinstance(level, Level) for level in levels)
        require("GaussNewton", "levels", levels, several, "a tuple of at least one Level")
        require("GaussNewton", "tolerance", self.tolerance, is_number(self.tolerance) and self.tolerance > 0, "positive")
        for level in levels:
            similarity = named_similarity(level.similarity)
            if not similarity.least_squares:
                fitting = ", ".join(name for name, kind in SIMILARITIES.items() if kind.least_squares)
                raise XrcoreError(
                    f"gauss-newton needs a similarity with a residual, which {similarity.name} has not; "
                    f"choose {fitting}, or a method of adam, lbfgs, cma-es, powell"
                )

    def with_similarity(self, similarity: str | Similarity) -> Self:
        """Maximise another similarity, on all levels.

        Parameters
        ----------
        similarity : str or Similarity
            A name of `similarities.SIMILARITIES`, or an object; one with a residual.

        Returns
        -------
        GaussNewton
            Otherwise the same.

        Raises
        ------
        XrcoreError
            If it is unknown or has no residual.
        """
        return replace(self, levels=tuple(replace(level, similarity=similarity) for level in self.levels))

    def tolerance_at(self, level: Level) -> float:
        """The tolerance on a level [deg, mm].

        Parameters
        ----------
        level : Level
            One of `levels`.

        Returns
        -------
        float
            `tolerance`, times how much larger than the finest level's its voxels are.
        """
        return self.tolerance * level.spacing / self.levels[-1].spacing


def descend(
    problem: LeastSquaresProblem, start: Pose, *, iterations: int, tolerance: float, level: int = 0, report: bool = True
) -> Events[Descent]:
    """See `levenberg_marquardt.descend`; all of it on the GPU where a single view's volume is there, which reports only if asked to."""
    if isinstance(problem, Problem) and choose_backend(problem.volume) == "cuda":
        from xrcore.registration.solvers import cuda

        return cuda.descend(problem, start, iterations=iterations, tolerance=tolerance, level=level, report=report)
    return levenberg_marquardt.descend(problem, start, iterations=iterations, tolerance=tolerance, level=level)
