"""Where a network looked, drawn over the X-ray: arrays of colours in [0, 1]."""

from __future__ import annotations

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import zoom

_COLOURS = "magma"
_LEAST = 0.23  # of the opacity, where the network looks least: the map's border shows


def spread_over(attention: Float[NDArray, "h w"], mask: Bool[NDArray, "H W"]) -> Float[NDArray, "H W"]:
    """The attention grid enlarged over the whole image, its least value inside the mask 0, its largest 1."""
    grid = np.asarray(attention).astype(np.float64)
    factors = [full / size for full, size in zip(mask.shape, grid.shape, strict=True)]
    full = zoom(grid, factors, order=1, mode="nearest", grid_mode=True)
    low, high = full[mask].min(), full[mask].max()
    return np.clip((full - low) / max(high - low, 1e-12), 0, 1)


def attention_overlay(
    grey: Float[NDArray, "H W"], weight: Float[NDArray, "H W"], mask: Bool[NDArray, "H W"], *, opacity: float = 0.65
) -> Float[NDArray, "H W 3"]:
    """Bright colours over the X-ray where the weight is high. grey, weight: in [0, 1]; opacity: of the highest weight, the rest less."""
    share = np.where(mask, opacity * (_LEAST + (1 - _LEAST) * weight), 0.0)[..., None]
    return (1 - share) * grey[..., None] + share * matplotlib.colormaps[_COLOURS](weight)[..., :3]
