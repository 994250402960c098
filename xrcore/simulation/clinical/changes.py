"""ClinicalChanges: what is drawn of one X-ray before it is rendered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator
from numpy.typing import NDArray

from xrcore.simulation.clinical import pages

GRID = 8  # cells along each side of the grid that soft tissue changes on
SCALES = (32, 16, 8, 4)  # windows along the image's side that local contrast is computed in
_UNTOUCHED = 0.25  # share of the images that have no change at all


@dataclass(frozen=True, kw_only=True, eq=False)
class ClinicalChanges:
    """Changes of one image; the defaults change nothing.

    Parameters
    ----------
    exposure : Mapping[str, Any]
        Settings of the `Acquisition` to replace.
    tissue : Float[NDArray, "8 8"], optional
        Relative change of the attenuation, on a coarse grid.
    obstacles : UInt8[NDArray, "H W"], optional
        Added attenuation, in units of `pages.UNIT`.
    blades : Bool[NDArray, "H W"], optional
        True where collimators shut the beam out.
    known : bool
        Whether the mask leaves the blades out, as where a file paints them; otherwise the image shows them.
    leak : float
        Attenuation of the blades that the mask does not know of; 0: painted black.
    shading : tuple of float
        Added attenuation towards the right, the bottom and the corners; none where it is least.
    window : tuple of float
        Shares of the pixels below the black and below the white level.
    gamma : float
        Of the grey values.
    slope, middle : float
        Of a sigmoid curve on the grey values; slope 0 for none.
    counts : float
        Attenuation over the window where the file holds counts and not their logarithm, 0 otherwise.
    windows : int
        Along the image's side, of the local contrast; 0 for none.
    sharpen : float
        Share of what differs from the window's mean that is added.
    equalise : float
        Weight of the image with its mean and deviation made alike in all windows.
    ink : UInt8[NDArray, "H W"], optional
        Coverage by text and marks.
    dark_ink : bool
        Marks are black, not white.
    """

    exposure: Mapping[str, Any] = field(default_factory=dict)
    tissue: Float[NDArray, "8 8"] | None = None
    obstacles: UInt8[NDArray, "H W"] | None = None
    blades: Bool[NDArray, "H W"] | None = None
    known: bool = True
    leak: float = 0.0
    shading: tuple[float, float, float] = (0.0, 0.0, 0.0)
    window: tuple[float, float] = (0.0, 1.0)
    gamma: float = 1.0
    slope: float = 0.0
    middle: float = 0.5
    counts: float = 0.0
    windows: int = 0
    sharpen: float = 0.0
    equalise: float = 0.0
    ink: UInt8[NDArray, "H W"] | None = None
    dark_ink: bool = False

    @property
    def processed(self) -> bool:
        """Whether any grey value is changed after the exposure."""
        painted = self.blades is not None and not self.known and self.leak == 0
        curve = self.window != (0.0, 1.0) or self.gamma != 1 or self.slope > 0 or self.counts > 0
        return curve or self.windows > 0 or painted or self.ink is not None

    @classmethod
    def random(cls, shape: tuple[int, int], generator: Generator) -> ClinicalChanges:
        """Draw changes from what clinical images show.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the image.
        generator : Generator
            Source of the draws.

        Returns
        -------
        ClinicalChanges
            Of one image.
        """
        g = generator
        if g.random() < _UNTOUCHED:
            return cls()
        drawn: dict[str, Any] = {}
        exposure: dict[str, Any] = {}
        if g.random() < 0.12:
            exposure = {"photons": math.exp(g.uniform(6, 9)), "exposure_control": math.exp(g.uniform(1.5, 5)), "electronic_noise": 1.0}
        if g.random() < 0.4:
            drawn["tissue"] = _tissue(g)
        if g.random() < 0.4:
            drawn["obstacles"] = pages.obstacles(shape, g)
        if g.random() < 0.3:
            drawn["blades"] = pages.blades(shape, g)
            drawn["known"] = g.random() < 0.65
            drawn["leak"] = g.uniform(1.5, 5) if g.random() < 0.6 else 0.0
            if g.random() < 0.7:
                exposure["mask"] = None
        if g.random() < 0.3:
            drawn["shading"] = tuple(g.normal(0, (0.2, 0.2, 0.3)))
        drawn["window"] = (g.uniform(0.0, 0.3), g.uniform(0.6, 1.0)) if g.random() < 0.2 else (0.002, 0.998)
        curve = g.random()
        if curve < 0.4:
            drawn["gamma"] = math.exp(g.uniform(-0.8, 0.8))
        elif curve < 0.6:
            drawn["slope"], drawn["middle"] = g.uniform(3, 12), g.uniform(0.25, 0.75)
        elif curve < 0.75:
            drawn["counts"] = g.uniform(1, 7)
        local = g.random()
        if local < 0.4:
            drawn["windows"] = SCALES[g.integers(len(SCALES))]
            drawn |= {"sharpen": g.uniform(0.3, 4)} if local < 0.2 else {"equalise": g.uniform(0.2, 1)}
        if g.random() < 0.3:
            drawn["ink"], drawn["dark_ink"] = pages.ink(shape, g), g.random() < 0.25
        drawn["exposure"] = exposure
        return cls(**drawn)


def _tissue(g: Generator) -> Float[NDArray, "8 8"]:
    """Smooth changes of soft tissue, and in some cells gas or fluid."""
    change = g.normal(0, g.uniform(0.0, 0.08), (GRID, GRID))
    for _ in range(g.integers(0, 8)):
        change[tuple(g.integers(0, GRID, 2))] += g.uniform(-0.35, 0.15)
    return np.maximum(change, -0.8).astype(np.float32)
