"""Zero-normalised cross-correlation of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from xrcore._util.errors import XrcoreError, is_number, is_whole, require
from xrcore.registration.similarities.standardised import Layout, StandardisedFit


class _Patches(Layout):
    """One group per patch. Overlapping patches are 2 x 2 cells of half their side, so that sums over cells serve every patch."""

    def __init__(self, shape: tuple[int, int], patch: int, overlap: bool) -> None:
        self._cell = patch // 2 if overlap else patch
        self._overlap = overlap
        self._grid = (-(-shape[0] // self._cell), -(-shape[1] // self._cell))
        self._padding = tuple(g * self._cell - n for g, n in zip(self._grid, shape, strict=True))

    def arrange(self, image: Tensor) -> Tensor:
        (rows, columns), side = self._grid, self._cell
        if any(self._padding):
            image = F.pad(image, (0, 0) * (image.ndim - 3) + (0, self._padding[1], 0, self._padding[0]))
        cells = image.reshape(image.shape[0], rows, side, columns, side, *image.shape[3:]).transpose(2, 3)
        return cells.reshape(image.shape[0], rows * columns, side * side, *image.shape[3:])

    def arrange_mask(self, mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "C P"]:
        return self.arrange(mask.unsqueeze(0)).squeeze(0)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along rows and columns of the image."""
        less = int(self._overlap)
        return self._grid[0] - less, self._grid[1] - less

    def pool(self, sums: Tensor) -> Tensor:
        if not self._overlap:
            return sums
        grid = sums.unflatten(1, self._grid)
        grid = grid[:, 1:] + grid[:, :-1]
        return (grid[:, :, 1:] + grid[:, :, :-1]).flatten(1, 2)


@dataclass(frozen=True, kw_only=True)
class LocalZNCC:
    """Mean ZNCC of square patches, in [-1, 1]; 1 for equal images.

    Contrast may differ from patch to patch (collimation, shading, metal).
    Patches that straddle the mask's border count with the pixels they have inside.

    Parameters
    ----------
    patch : int
        Side [pixels]; images smaller than that get the largest patch that fits.
    overlap : bool
        Whether each patch overlaps its neighbours by half; `patch` must then be even.
    floor : float
        Contrast, as a share of the whole image's standard deviation, below which a patch counts as flat: flat fixed patches lose
        their weight smoothly, and flat moving patches are not blown up to unit contrast.
    tolerance : float
        By how much a patch's ZNCC may lack 1 before the patch loses weight; infinite for the plain mean.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    LaRose, "Iterative X-ray/CT registration using accelerated volume rendering", PhD thesis, Carnegie Mellon University
    2001, and Knaan and Joskowicz, "Effective intensity-based 2D/3D rigid registration between fluoroscopic X-ray and CT",
    MICCAI 2003 (variance-weighted local normalised correlation). The floor is our choice: see `standardised`.
    """

    name: ClassVar[str] = "local-zncc"
    least_squares: ClassVar[bool] = True
    patch: int = 16
    overlap: bool = True
    floor: float = 0.1
    tolerance: float = math.inf

    def __post_init__(self) -> None:
        require(self.name, "patch", self.patch, is_whole(self.patch) and self.patch >= 3, "3 pixels or more")
        if self.overlap and self.patch % 2:
            raise XrcoreError(f"{self.name}: patch must be even to overlap by half, got {self.patch}; make it even or pass overlap=False")
        require(self.name, "floor", self.floor, is_number(self.floor) and 0 < self.floor < 1, "between 0 and 1")
        positive = isinstance(self.tolerance, (int, float)) and self.tolerance > 0
        require(self.name, "tolerance", self.tolerance, positive, "positive, or infinite")

    def fit(self, fixed: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> StandardisedFit:
        """Weigh and standardise the fixed image's patches.

        Parameters
        ----------
        fixed : Float[Tensor, "H W"]
            The X-ray.
        mask : Bool[Tensor, "H W"]
            What counts of it.

        Returns
        -------
        StandardisedFit
            What judges moving images.

        Raises
        ------
        XrcoreError
            If nothing of the fixed image can be compared.
        """
        shape = (fixed.shape[0], fixed.shape[-1])
        side = min(self.patch, *shape)
        if side < 3:
            raise XrcoreError(f"{self.name}: image is {tuple(fixed.shape)}, too small for patches")
        side -= side % 2 if self.overlap else 0
        return StandardisedFit(self.name, fixed, mask, _Patches(shape, side, self.overlap), floor=self.floor, tolerance=self.tolerance)


@dataclass(frozen=True, kw_only=True)
class RobustLocalZNCC(LocalZNCC):
    """Robust mean of the ZNCC of square patches: those with tools, text or changed tissue pull little.

    1 for equal images and 0 for unrelated ones; in between it is well below the plain mean.

    Parameters
    ----------
    patch, overlap, floor : int, bool, float
        As of `LocalZNCC`.
    tolerance : float
        By how much a patch's ZNCC may lack 1 before the patch loses weight.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Geman and McClure, "Bayesian image analysis: an application to single photon emission tomography", 1985 (the cost).
    """

    name: ClassVar[str] = "robust-local-zncc"
    tolerance: float = 0.1
