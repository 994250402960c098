"""Draw where a network looked over the X-ray: arrays of colours in [0, 1]."""

from __future__ import annotations

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import zoom

_COLOURS = "magma"
_LEAST = 0.23  # of the opacity, where the network looks least: the map's border shows


def spread_over(attention: Float[NDArray, "h w"], mask: Bool[NDArray, "H W"]) -> Float[NDArray, "H W"]:
    """Enlarge an attention grid over the whole image, its least value inside the mask 0, its largest 1.

    Parameters
    ----------
    attention : Float[NDArray, "h w"]
        How much each place is looked at.
    mask : Bool[NDArray, "H W"]
        Where the X-ray shows something.

    Returns
    -------
    Float[NDArray, "H W"]
        Weights in [0, 1].
    """
    grid = np.asarray(attention).astype(np.float64)
    factors = [full / size for full, size in zip(mask.shape, grid.shape, strict=True)]
    full = zoom(grid, factors, order=1, mode="nearest", grid_mode=True)
    low, high = full[mask].min(), full[mask].max()
    return np.clip((full - low) / max(high - low, 1e-12), 0, 1)


def attention_overlay(
    grey: Float[NDArray, "H W"], weight: Float[NDArray, "H W"], mask: Bool[NDArray, "H W"], *, opacity: float = 0.65
) -> Float[NDArray, "H W 3"]:
    """Lay bright colours over the X-ray where the weight is high.

    Parameters
    ----------
    grey : Float[NDArray, "H W"]
        The X-ray in [0, 1].
    weight : Float[NDArray, "H W"]
        Weights in [0, 1].
    mask : Bool[NDArray, "H W"]
        Where there is colour at all.
    opacity : float
        Of the highest weight; the rest have less.

    Returns
    -------
    Float[NDArray, "H W 3"]
        Colours in [0, 1].
    """
    share = np.where(mask, opacity * (_LEAST + (1 - _LEAST) * weight), 0.0)[..., None]
    return (1 - share) * grey[..., None] + share * matplotlib.colormaps[_COLOURS](weight)[..., :3]
