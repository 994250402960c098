"""Shared base of the solvers that work on one level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from xrcore._util.errors import is_whole, require
from xrcore.geometry import Pose
from xrcore.registration.events import Events
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.settings import RefinementSettings, SimilarityLevel
from xrcore.registration.similarities import Similarity
from xrcore.registration.solvers.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class SingleLevelSettings(SimilarityLevel, RefinementSettings):
    """Shared settings of the solvers that work on one level.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        What is climbed: a name of `similarities.SIMILARITIES`, or an object.
    rotation_step, translation_step : float
        Step sizes [deg], [mm]; what a step is depends on the solver.
    iterations : int
        At most.
    loss_target : float
        A search ends when 1 - similarity falls to this, where 1 is the similarity's largest value.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    rotation_step: float
    translation_step: float
    iterations: int
    loss_target: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        iterations = is_whole(self.iterations) and self.iterations >= 1
        require(type(self).__name__, "iterations", self.iterations, iterations, "a whole number, at least 1")

    @property
    def levels(self) -> tuple[SingleLevelSettings]:  # type: ignore[override]
        """The one level."""
        return (self,)

    def with_similarity(self, similarity: str | Similarity) -> Self:
        """Maximise another similarity.

        Parameters
        ----------
        similarity : str or Similarity
            A name of `similarities.SIMILARITIES`, or an object.

        Returns
        -------
        SingleLevelSettings
            Otherwise the same.

        Raises
        ------
        XrcoreError
            If it is unknown.
        """
        return replace(self, similarity=similarity)

    def search(self, problem: AnyProblem, start: Pose, level: int = 0) -> Events[Outcome]:
        """Search from one start; a generator of steps.

        Parameters
        ----------
        problem : Problem or JointProblem
            At these settings' resolution and similarity.
        start : Pose
            One pose.
        level : int
            Number that the steps carry.

        Yields
        ------
        Step
            The best so far, after each iteration.

        Returns
        -------
        Outcome
            The best pose met.

        Raises
        ------
        XrcoreError
            If `start` is not one pose.
        """
        raise NotImplementedError
