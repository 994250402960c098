"""The function that refinement maximises: similarity of an X-ray and the DRR of a pose, at one level of a pyramid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xrcore._util.device_memory import Portions
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import NormalEquations, Similarity, fit_for
from xrcore.registration.solvers import gauss_newton
from xrcore.registration.solvers.gauss_newton import Descent
from xrcore.renderer import choose_backend, render, render_with_jacobian
from xrcore.xray.image import Xray

T = TypeVar("T")

_portions = Portions("registering")


class Problem:
    """An X-ray at some pixel count against a volume at some voxel size.

    Evaluations take batches of poses and run where the volume is; their results are on the processor. `evaluations` counts the images
    rendered. `portions`: how many at once, all problems alike.
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

    @torch.no_grad()
    def value(self, pose: Pose) -> Float[Tensor, "B"]:
        """Similarity of each pose; higher is better."""
        self.evaluations += len(pose)

        def of(part: slice) -> Tensor:
            return self.fitted.value(render(self.volume, self.carm, pose[part], self.beam))

        return torch.cat(self.in_portions(len(pose), of)).cpu()

    def value_and_gradient(self, pose: Pose) -> tuple[Float[Tensor, "B"], Float[Tensor, "B 6"]]:
        """Similarity and its derivative by the six numbers [1/deg, 1/mm]."""
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
        """Similarity, and gradient and Gauss-Newton Hessian of the cost 1 - similarity by the six numbers."""
        self.evaluations += len(pose)

        def of(part: slice) -> NormalEquations:
            image, jacobian = render_with_jacobian(self.volume, self.carm, pose[part], self.beam)
            return self.fitted.normal_equations(image, jacobian)

        *parts, (count, *_) = zip(*self.in_portions(len(pose), of), strict=True)
        value, gradient, hessian = (torch.cat(part).cpu() for part in parts)
        return NormalEquations(value, gradient, hessian, count)

    def in_portions(self, count: int, function: Callable[[slice], T]) -> list[T]:
        """`function` of so many poses, in as few portions as memory allows."""
        return self.portions.run(count, function, size=math.prod(self.carm.shape))

    def descend(self, start: Pose, *, iterations: int, tolerance: float, watch: Callable[[Pose, float], None] | None = None) -> Descent:
        """Levenberg-Marquardt from each start, see `gauss_newton.descend`; all of it on the GPU where the volume is there."""
        if choose_backend(self.volume) == "cuda":
            from xrcore.registration.solvers import cuda

            return cuda.descend(self, start, iterations=iterations, tolerance=tolerance, watch=watch)
        return gauss_newton.descend(self, start, iterations=iterations, tolerance=tolerance, watch=watch)


def shrink(xray: Xray, pixels: int) -> Xray:
    """Average blocks of pixels until the longer side has about `pixels`; masked pixels do not count.

    A block is trusted where at least half of it is. Rows and columns that fill no block are cut off, and the geometry follows.
    """
    # a strip keeps at least eight pixels across
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
    return Xray(image=mean, mask=mask if mask.any() else share > 0, carm=carm, pose=xray.pose, notes=xray.notes)
