"""Several calibrated views of one rigid body as one problem in six numbers.

The pose is kept as the first view's `Pose`; the calibration says what it means in the others. With k_from_1 the fixed transform between two
cameras' frames, a camera-frame twist x of the first view is Ad(k_from_1) x in view k, so the views' Jacobians, gradients and Gauss-Newton
Hessians add up after one 6 x 6 change of variables each, whatever the similarity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.problem import Problem
from xrcore.registration.settings import SimilarityLevel
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import NormalEquations, Similarity
from xrcore.registration.view import View


class JointProblem:
    """Several X-rays against a volume: what `Problem` is to one X-ray, its poses the first view's.

    Parameters
    ----------
    views : sequence of View
        One or more.
    volume : Volume
        The body.
    beam : Beam
        The one assumed.
    similarity : str or Similarity
        A name of `similarities.SIMILARITIES`, or an object.
    pixels : int, optional
        Shrink each X-ray to about this many along its longer side; default as they are.

    Attributes
    ----------
    problems : tuple of Problem
        Of each view alone.
    """

    def __init__(
        self,
        views: Sequence[View],
        volume: Volume,
        beam: Beam,
        similarity: str | Similarity,
        *,
        pixels: int | None = None,
    ) -> None:
        self.problems = tuple(Problem(view.xray, volume, beam, similarity, pixels=pixels) for view in views)
        self.volume, self.beam, self.similarity = volume, beam, named_similarity(similarity)
        self.from_first = from_first(views)

    @property
    def carm(self) -> CArm:
        """The first view's C-arm."""
        return self.problems[0].carm

    @property
    def evaluations(self) -> int:
        """DRRs rendered so far."""
        return sum(problem.evaluations for problem in self.problems)

    def poses(self, pose: Pose) -> list[Pose]:
        """The same body as each view sees it.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        list of Pose
            Each view's, a batch.
        """
        carms = [problem.carm for problem in self.problems]
        return [pose_in_view(pose, self.carm, carm, k, self.volume) for carm, k in zip(carms, self.from_first, strict=True)]

    def each(self, pose: Pose) -> list[tuple[Problem, Pose]]:
        """Each view's problem, and the body as it sees it.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        list of tuple
            A problem and a batch of poses for each view.
        """
        return list(zip(self.problems, self.poses(pose), strict=True))

    def values(self, pose: Pose) -> Float[Tensor, "B V"]:
        """Similarity of each pose in each view.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        Float[Tensor, "B V"]
            Higher is better.
        """
        return torch.stack([problem.value(own).double() for problem, own in self.each(pose)], 1)

    def value(self, pose: Pose) -> Float[Tensor, " B"]:
        """Mean similarity over the views.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        Float[Tensor, "B"]
            Higher is better.
        """
        return self.values(pose).mean(1)

    def value_and_gradient(self, pose: Pose) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 6"]]:
        """Mean similarity over the views, and its derivative.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        value : Float[Tensor, "B"]
            Higher is better.
        gradient : Float[Tensor, "B 6"]
            By the first view's six numbers [1/deg, 1/mm].
        """
        parts = []
        for problem, own, change in self._with_changes(pose):
            value, gradient = problem.value_and_gradient(own)
            parts.append((value.double(), (change.mT @ gradient.double().unsqueeze(-1)).squeeze(-1)))
        value, gradient = (torch.stack(part).mean(0) for part in zip(*parts, strict=True))
        return value, gradient

    @torch.no_grad()
    def normal_equations(self, pose: Pose) -> NormalEquations:
        """Mean over the views of similarity, gradient and Gauss-Newton Hessian, by the first view's six numbers.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        NormalEquations
            Of each pose.

        Raises
        ------
        XrcoreError
            If the similarity has no residual.
        """
        parts = []
        for problem, own, change in self._with_changes(pose):
            value, gradient, hessian, count = problem.normal_equations(own)
            parts.append((value, (change.mT @ gradient.unsqueeze(-1)).squeeze(-1), change.mT @ hessian @ change, count))
        value, gradient, hessian = (torch.stack([part[i] for part in parts]).mean(0) for i in range(3))  # type: ignore[misc]
        return NormalEquations(value, gradient, hessian, sum(part[3] for part in parts))

    def _with_changes(self, pose: Pose) -> Iterator[tuple[Problem, Pose, Float[Tensor, "B 6 6"]]]:
        """Each view's problem, its poses, and the derivative of its six numbers by the first view's."""
        for (problem, own), k_from_first in zip(self.each(pose), self.from_first, strict=True):
            yield problem, own, change_of_numbers(pose, self.carm, own, problem.carm, k_from_first)


AnyProblem = Problem | JointProblem


def problem_on(level: SimilarityLevel, views: Sequence[View], volume: Volume, beam: Beam) -> AnyProblem:
    """Pose the problem on a level, which may also be settings of a solver on one level: of the shrunk X-rays and the coarsened CT.

    Parameters
    ----------
    level : Level or SingleLevelSettings
        Its pixels, spacing and similarity.
    views : sequence of View
        What is registered, bone bright.
    volume : Volume
        The CT, as fine as it is.
    beam : Beam
        The one assumed.

    Returns
    -------
    Problem or JointProblem
        For one view, or several.
    """
    if len(views) == 1:
        return Problem.at(level, views[0].xray, volume, beam)
    return JointProblem(views, volume.coarser(level.spacing), beam, level.similarity, pixels=level.pixels)


def from_first(views: Sequence[View]) -> list[Float[Tensor, "4 4"]]:
    """The first camera's frame into each view's."""
    first = views[0].camera_from_rig
    return [view.camera_from_rig @ rigid.invert(first) for view in views]


def poses_in_views(pose: Pose, views: Sequence[View], volume: Volume) -> list[Pose]:
    """The body at a pose of the first view as each view sees it."""
    carms = [view.carm for view in views]
    return [pose_in_view(pose, carms[0], carm, k, volume) for carm, k in zip(carms, from_first(views), strict=True)]


def pose_in_view(pose: Pose, first: CArm, carm: CArm, k_from_first: Float[Tensor, "4 4"], volume: Volume) -> Pose:
    """The body at a pose of the first view as another view sees it."""
    return Pose.from_camera_from_world(k_from_first @ pose.camera_from_world(first, volume.isocenter), carm, volume.isocenter)


def change_of_numbers(pose: Pose, first: CArm, own: Pose, carm: CArm, k_from_first: Float[Tensor, "4 4"]) -> Float[Tensor, "B 6 6"]:
    """Derivative of a view's six numbers by the first view's."""
    return torch.linalg.solve(own.twists(carm), rigid.adjoint(k_from_first) @ pose.twists(first))
