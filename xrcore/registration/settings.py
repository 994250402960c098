"""Shared settings of all refinements: resolution of X-ray and CT, and the similarity that is maximised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from xrcore._util.errors import is_number, is_whole, require
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import Similarity

# What the parameters of a level or of a solver on one level must be.
_CHECKS: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("pixels",), lambda v: is_whole(v) and v >= 8, "a whole number, at least 8"),
    (("spacing",), lambda v: is_number(v) and v > 0, "positive, in mm"),
    (("rotation_step", "translation_step", "loss_target", "tolerance"), lambda v: is_number(v) and v > 0, "positive"),
    (("step_halving",), lambda v: is_whole(v) and v >= 1, "a whole number, at least 1"),
    (("seed",), lambda v: is_whole(v) and v >= 0, "a whole number, not negative"),
)


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Resolution of X-ray and CT.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    pixels: int
    spacing: float

    def __post_init__(self) -> None:
        for names, holds, what in _CHECKS:
            for name in names:
                if hasattr(self, name):
                    require(type(self).__name__, name, getattr(self, name), holds(getattr(self, name)), what)


@dataclass(frozen=True, kw_only=True)
class SimilarityLevel(Resolution):
    """Resolution of X-ray and CT, and the similarity that is maximised there.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        A name of `similarities.SIMILARITIES`, or an object.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    similarity: str | Similarity = "zncc"

    def __post_init__(self) -> None:
        super().__post_init__()
        named_similarity(self.similarity)


@dataclass(frozen=True, kw_only=True)
class Level(SimilarityLevel):
    """One level of a coarse-to-fine descent.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        What is climbed: a name of `similarities.SIMILARITIES`, or an object.
    iterations : int
        At most.
    margin : float or None
        Compare only the pixels where the rendered body is visible, plus this margin [mm at the isocentre], about each pose; None compares
        all. For a body that is one of several in the X-ray. `register` chooses it for a bone cut out of its CT.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    iterations: int
    margin: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        margin = self.margin
        require("Level", "margin", margin, margin is None or (is_number(margin) and margin > 0), "positive, in mm, or None")
        require("Level", "iterations", self.iterations, is_whole(self.iterations) and self.iterations >= 0, "a whole number, not negative")


# Whole images find the pose from far away, by what does not depend on how grey values were mapped; but scatter and beam hardening bend
# that optimum by 1 to 2 mm. Both vary slowly over the image, so the last levels compare gradients, then patches.
PYRAMID = (
    Level(pixels=32, spacing=16.0, iterations=10, similarity="correlation-ratio"),
    Level(pixels=64, spacing=8.0, iterations=12, similarity="correlation-ratio"),
    Level(pixels=128, spacing=4.0, iterations=12, similarity="gradient-zncc"),
    Level(pixels=128, spacing=4.0, iterations=8, similarity="robust-local-zncc"),
    Level(pixels=256, spacing=2.0, iterations=4, similarity="robust-local-zncc"),
)
# Another way down: gradients from the start, on finer grids. It ends right where tools or collimation mislead whole images.
GRADIENT_PYRAMID = (
    Level(pixels=32, spacing=8.0, iterations=10, similarity="gradient-zncc"),
    Level(pixels=64, spacing=4.0, iterations=12, similarity="gradient-zncc"),
    *PYRAMID[2:],
)
# Edges alone, to the end: where the CT lacks the soft tissue that the X-ray shows, whole patches never look alike.
EDGE_PYRAMID = (
    *GRADIENT_PYRAMID[:3],
    Level(pixels=256, spacing=2.0, iterations=6, similarity="gradient-zncc"),
)


class RefinementSettings:
    """Base class of the solvers' settings: each a frozen object of what the solver uses.

    `GaussNewton`, `Adam`, `LBFGS`, `CMAES` and `Powell` are those there are.

    Attributes
    ----------
    method : str
        The solver's name.
    levels : sequence of SimilarityLevel
        Where it works, coarse to fine.
    """

    method: ClassVar[str]
    levels: Sequence[SimilarityLevel]

    def with_similarity(self, similarity: str | Similarity) -> Self:
        """Maximise another similarity, on all levels.

        Parameters
        ----------
        similarity : str or Similarity
            A name of `similarities.SIMILARITIES`, or an object.

        Returns
        -------
        RefinementSettings
            Otherwise the same.

        Raises
        ------
        XrcoreError
            If it is unknown, or the solver cannot use it.
        """
        raise NotImplementedError
