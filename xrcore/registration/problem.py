"""The function that refinement maximises: the similarity of an X-ray and the DRR of a pose, at one level of a pyramid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xrcore._util.device_memory import Portions
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.settings import SimilarityLevel
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import NormalEquations, Similarity, fit_for
from xrcore.renderer import render, render_with_jacobian
from xrcore.xray.image import Xray

T = TypeVar("T")

_portions = Portions("registering")


class Problem:
    """An X-ray at some pixel count against a volume at some voxel size.

    Evaluations take batches of poses and run where the volume is; their results are on the processor.

    Parameters
    ----------
    xray : Xray
        What is registered, bone bright.
    volume : Volume
        The CT, at the voxel size that is rendered.
    beam : Beam
        The one assumed.
    similarity : str or Similarity
        A name of `similarities.SIMILARITIES`, or an object.
    pixels : int, optional
        Shrink the X-ray to about this many along its longer side; default as it is.

    Attributes
    ----------
    evaluations : int
        Images rendered so far.
    carm : CArm
        Of the shrunk X-ray.
    portions : Portions
        How many poses at once, all problems alike.

    Raises
    ------
    XrcoreError
        If the similarity is unknown, or nothing of the X-ray can be compared.
    """

    def __init__(self, xray: Xray, volume: Volume, beam: Beam, similarity: str | Similarity, *, pixels: int | None = None) -> None:
        xray = xray if pixels is None else shrink(xray, pixels)
        self.xray = xray
        self.carm = xray.carm
        self.volume = volume
        self.beam = beam
        self.similarity = named_similarity(similarity)
        self.fitted = fit_for(volume.device, self.similarity, xray.image, xray.mask)
        self.portions = _portions
        self.evaluations = 0

    @classmethod
    def at(cls, level: SimilarityLevel, xray: Xray, volume: Volume, beam: Beam) -> Problem:
        """The problem on a level, which may also be settings of a solver on one level.

        Parameters
        ----------
        level : Level or SingleLevelSettings
            Its pixels, spacing and similarity.
        xray : Xray
            What is registered, bone bright.
        volume : Volume
            The CT, as fine as it is.
        beam : Beam
            The one assumed.

        Returns
        -------
        Problem
            Of the shrunk X-ray and the coarsened CT.
        """
        return cls(xray, volume.coarser(level.spacing), beam, level.similarity, pixels=level.pixels)

    @torch.no_grad()
    def value(self, pose: Pose) -> Float[Tensor, " B"]:
        """Similarity of each pose.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        Float[Tensor, "B"]
            Higher is better.
        """
        self.evaluations += len(pose)

        def of(part: slice) -> Tensor:
            return self.fitted.value(render(self.volume, self.carm, pose[part], self.beam))

        return torch.cat(self.in_portions(len(pose), of)).cpu()

    def each(self, pose: Pose) -> list[tuple[Problem, Pose]]:
        """Pair this problem with the poses, as `JointProblem.each` does for each of several views.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        list of tuple
            One problem with all poses.
        """
        return [(self, pose)]

    def values(self, pose: Pose) -> Float[Tensor, "B 1"]:
        """Similarity of each pose in the one view.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        Float[Tensor, "B 1"]
            Higher is better.
        """
        return self.value(pose)[:, None]

    def value_and_gradient(self, pose: Pose) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 6"]]:
        """Similarity of each pose, and its derivative.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        value : Float[Tensor, "B"]
            Higher is better.
        gradient : Float[Tensor, "B 6"]
            By the six numbers [1/deg, 1/mm].
        """
        self.evaluations += len(pose)

        def of(part: slice) -> tuple[Tensor, Tensor]:
            image, jacobian = render_with_jacobian(self.volume, self.carm, pose[part], self.beam)
            with torch.enable_grad():
                image.requires_grad_(True)
                value = self.fitted.value(image)
                (slope,) = torch.autograd.grad(value.sum(), image)
            return value.detach(), torch.einsum("bhw,bhwi->bi", slope, jacobian.to(slope.dtype))

        value, gradient = (torch.cat(parts).cpu() for parts in zip(*self.in_portions(len(pose), of), strict=True))
        return value, gradient

    @torch.no_grad()
    def normal_equations(self, pose: Pose) -> NormalEquations:
        """Similarity, and gradient and Gauss-Newton Hessian of the cost 1 - similarity by the six numbers.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        NormalEquations
            Of each pose.

        Raises
        ------
        XrcoreError
            If the similarity has no residual.
        """
        self.evaluations += len(pose)

        def of(part: slice) -> NormalEquations:
            image, jacobian = render_with_jacobian(self.volume, self.carm, pose[part], self.beam)
            return self.fitted.normal_equations(image, jacobian)

        *parts, (count, *_) = zip(*self.in_portions(len(pose), of), strict=True)
        value, gradient, hessian = (torch.cat(part).cpu() for part in parts)
        return NormalEquations(value, gradient, hessian, count)

    def in_portions(self, count: int, function: Callable[[slice], T]) -> list[T]:
        """Work on poses in as few portions as memory allows.

        Parameters
        ----------
        count : int
            Poses in all.
        function : callable
            Of a slice of them.

        Returns
        -------
        list
            What `function` returned for each portion.
        """
        return self.portions.run(count, function, size=math.prod(self.carm.shape))


def pixel_at_isocenter(carm: CArm) -> float:
    """Return the size of a pixel at the isocentre.

    Parameters
    ----------
    carm : CArm
        The geometry.

    Returns
    -------
    float
        The longer side [mm].
    """
    return max(carm.spacing_at(carm.source_to_isocenter))


def shrink(xray: Xray, pixels: int) -> Xray:
    """Average blocks of pixels; masked pixels do not count.

    A block is trusted where at least half of it is. Rows and columns that fill no block are cut off, and the geometry follows.

    Parameters
    ----------
    xray : Xray
        Of any size.
    pixels : int
        About how many the longer side is to have; a strip keeps at least eight across.

    Returns
    -------
    Xray
        Shrunk by a whole factor; the same where that is 1.
    """
    factor = max(1, min(round(max(xray.carm.shape) / pixels), min(xray.carm.shape) // 8))
    if factor == 1:
        return xray
    rows, cols = (n // factor for n in xray.carm.shape)
    top, left = ((n - m * factor) // 2 for n, m in zip(xray.carm.shape, (rows, cols), strict=True))
    window = (slice(top, top + rows * factor), slice(left, left + cols * factor))
    weight = xray.mask[window].float()[None, None]
    share = F.avg_pool2d(weight, factor)[0, 0]
    image = torch.where(xray.mask, xray.image, 0.0)[window][None, None]
    mean = F.avg_pool2d(image, factor)[0, 0] / share.clamp_min(1e-6)
    mask = share >= 0.5
    carm: CArm = xray.carm.cropped(top, left, (rows * factor, cols * factor)).resized((rows, cols))
    return replace(xray, image=mean, mask=mask if mask.any() else share > 0, carm=carm)
