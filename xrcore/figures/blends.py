"""Blend X-ray and DRR into one picture: arrays (H, W, 3) of colours in [0, 1], black outside the mask."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore.metrics import standardised

FIXED = np.array([1.0, 0.16, 0.12])  # red: the X-ray
MOVING = np.array([0.08, 0.45, 1.0])  # blue: the DRR
_DIMMED = 0.6  # grey under the edges
_FAINT = 0.25  # edge strength below which nothing is drawn
_DEEPEST = 2.0  # standard deviations at which a difference takes its full colour

Image = Float[Tensor, "*B H W"] | Float[NDArray, "*B H W"]
Mask = Bool[Tensor, "H W"] | Bool[NDArray, "H W"]


def display_image(image: Image, mask: Mask | None = None, *, percentiles: tuple[float, float] = (0.5, 99.5)) -> Float[NDArray, "H W"]:
    """Window an image between two percentiles of what the mask shows, so that noise and metal do not set the window.

    Parameters
    ----------
    image : Tensor or array, "H W" or "1 H W"
        An attenuation image.
    mask : Tensor or array of bool, "H W", optional
        Where it shows something; default everywhere.
    percentiles : tuple of float
        What becomes black and white [%].

    Returns
    -------
    Float[NDArray, "H W"]
        Grey values in [0, 1].

    Raises
    ------
    XrcoreError
        If shapes do not fit, the mask leaves no pixel, or a pixel inside it is not finite.
    """
    grey, inside = _checked("display_image", mask, image=image)
    return _windowed(grey[0], inside, percentiles)


def edges(image: Image, mask: Mask | None = None, *, smoothing: float | None = None) -> Float[NDArray, "H W"]:
    """Find edge strength: gradient magnitude over its 99th percentile, through tanh. The mask's own rim is no edge.

    Parameters
    ----------
    image : Tensor or array, "H W" or "1 H W"
        An attenuation image.
    mask : Tensor or array of bool, "H W", optional
        Where it shows something; default everywhere.
    smoothing : float, optional
        Sigma of a Gaussian against noise [pixels]; default 1/170 of the shorter side.

    Returns
    -------
    Float[NDArray, "H W"]
        Edge strength in [0, 1).

    References
    ----------
    The overlays of Zhang et al., MICCAI 2023, which do not smooth.
    """
    grey, inside = _checked("edges", mask, image=image)
    return _edges(grey[0], inside, smoothing)


def overlay(fixed: Image, moving: Image, mask: Mask | None = None) -> Float[NDArray, "H W 3"]:
    """Draw edges over the X-ray in grey: red where only the X-ray has one, blue where only the DRR has, purple where both agree.

    Parameters
    ----------
    fixed, moving : Tensor or array, "H W" or "1 H W"
        The X-ray and the DRR.
    mask : Tensor or array of bool, "H W", optional
        Where the X-ray shows something; default everywhere.

    Returns
    -------
    Float[NDArray, "H W 3"]
        Colours in [0, 1].
    """
    (x, y), inside = _checked("overlay", mask, fixed=fixed, moving=moving)
    grey = _DIMMED * _windowed(x, inside)
    red, blue = (np.clip((_edges(image, inside) - _FAINT) / (1 - _FAINT), 0, 1) for image in (x, y))
    # the two lights add up by screen blending, so red and blue give purple; the grey gives way to them
    light = 1 - (1 - red[..., None] * FIXED) * (1 - blue[..., None] * MOVING)
    return np.where(inside[..., None], light + (1 - light.max(-1, keepdims=True)) * grey[..., None], 0.0)


def edge_colours(fixed: str = "X-ray") -> dict[str, NDArray]:
    """The colours of edges, by what they say; `fixed` names what the red ones belong to."""
    return {f"{fixed} only": FIXED, "DRR only": MOVING, "both agree": 1 - (1 - FIXED) * (1 - MOVING)}


def composite(fixed: Image, moving: Image, mask: Mask | None = None) -> Float[NDArray, "H W 3"]:
    """Show the X-ray in red and the DRR in cyan: grey where they agree, coloured where one is brighter.

    Both are standardised first, so that another tube voltage is no disagreement.

    Parameters
    ----------
    fixed, moving : Tensor or array, "H W" or "1 H W"
        The X-ray and the DRR.
    mask : Tensor or array of bool, "H W", optional
        Where the X-ray shows something; default everywhere.

    Returns
    -------
    Float[NDArray, "H W 3"]
        Colours in [0, 1].
    """
    (x, y), inside = _checked("composite", mask, fixed=fixed, moving=moving)
    reds, cyans = (_windowed(_standardised(image, inside), inside) for image in (x, y))
    return np.stack([reds, cyans, cyans], -1)


def checkerboard(fixed: Image, moving: Image, mask: Mask | None = None, *, squares: int = 8) -> Float[NDArray, "H W 3"]:
    """Show the two images in turn on a checkerboard, the X-ray at the upper left.

    Parameters
    ----------
    fixed, moving : Tensor or array, "H W" or "1 H W"
        The X-ray and the DRR.
    mask : Tensor or array of bool, "H W", optional
        Where the X-ray shows something; default everywhere.
    squares : int
        Squares along the shorter side.

    Returns
    -------
    Float[NDArray, "H W 3"]
        Grey values as colours in [0, 1].
    """
    (x, y), inside = _checked("checkerboard", mask, fixed=fixed, moving=moving)
    require("checkerboard", "squares", squares, is_whole(squares) and squares >= 1, "a whole number, 1 or more")
    size = max(1, round(min(x.shape) / squares))
    row, col = np.indices(x.shape) // size
    grey = np.where((row + col) % 2 == 0, _windowed(x, inside), _windowed(y, inside))
    return np.repeat(grey[..., None], 3, -1)


def difference(fixed: Image, moving: Image, mask: Mask | None = None) -> Float[NDArray, "H W 3"]:
    """Subtract the standardised images: red where the X-ray is brighter, blue where the DRR is, white where they agree.

    Parameters
    ----------
    fixed, moving : Tensor or array, "H W" or "1 H W"
        The X-ray and the DRR.
    mask : Tensor or array of bool, "H W", optional
        Where the X-ray shows something; default everywhere.

    Returns
    -------
    Float[NDArray, "H W 3"]
        Colours in [0, 1], full at 2 standard deviations.
    """
    (x, y), inside = _checked("difference", mask, fixed=fixed, moving=moving)
    residual = (_standardised(x, inside) - _standardised(y, inside)) / _DEEPEST
    white = 1 - np.clip(residual, 0, 1)[..., None] * (1 - FIXED) - np.clip(-residual, 0, 1)[..., None] * (1 - MOVING)
    return np.where(inside[..., None], white, 0.0)


def error_map(fixed: Image, moving: Image, mask: Mask | None = None) -> Float[NDArray, "H W 3"]:
    """Draw the X-ray's edges in red and the DRR's in blue, on black; where both agree the two lights add up to purple.

    Parameters
    ----------
    fixed, moving : Tensor or array, "H W" or "1 H W"
        The X-ray and the DRR.
    mask : Tensor or array of bool, "H W", optional
        Where the X-ray shows something; default everywhere.

    Returns
    -------
    Float[NDArray, "H W 3"]
        Colours in [0, 1]; edges as in `edges`.

    References
    ----------
    Zhang et al., MICCAI 2023, Fig. 2.
    """
    red, blue = (edges(image, mask)[..., None] for image in (fixed, moving))
    return 1 - (1 - red * FIXED) * (1 - blue * MOVING)


def _windowed(image: NDArray, inside: NDArray, percentiles: tuple[float, float] = (0.5, 99.5)) -> NDArray:
    low, high = np.percentile(image[inside], percentiles)
    if high <= low:
        low, high = image[inside].min(), max(image[inside].max(), image[inside].min() + 1e-6)
    return np.where(inside, np.clip((image - low) / (high - low), 0, 1), 0.0)


def _edges(image: NDArray, inside: NDArray, smoothing: float | None = None) -> NDArray:
    sigma = min(image.shape) / 170 if smoothing is None else smoothing
    # a single hot pixel, as noise leaves it, would make an edge of its own
    low, high = np.percentile(image[inside], (0.5, 99.5))
    image = np.clip(image, low, high)
    if sigma > 0:
        # normalised by the mask's own blur, so that what lies outside does not leak in
        weight = gaussian_filter(inside.astype(np.float64), sigma)
        image = gaussian_filter(np.where(inside, image, 0.0), sigma) / np.maximum(weight, 1e-6)
    kept = binary_erosion(inside, iterations=2, border_value=1)
    kept = kept if kept.any() else inside
    strength = np.hypot(*np.gradient(image))
    level = np.percentile(strength[kept], 99)
    return np.where(kept, np.tanh(strength / level), 0.0) if level > 0 else np.zeros_like(image)


def _standardised(image: NDArray, inside: NDArray) -> NDArray:
    return standardised(torch.from_numpy(image), torch.from_numpy(inside)).numpy()


def _checked(caller: str, mask: Mask | None, **images: Image) -> tuple[list[NDArray], NDArray]:
    """Images as float64 (H, W), zero outside the mask, and the mask; an image may come as a batch of one."""
    arrays: list[NDArray] = []
    for name, image in images.items():
        array = _array(image).astype(np.float64)
        if array.ndim == 3 and len(array) == 1:
            array = array[0]
        if array.ndim != 2 or min(array.shape) < 2:
            raise XrcoreError(f"{caller}: {name} must be one (H, W) image, got {array.shape}")
        if arrays and array.shape != arrays[0].shape:
            raise XrcoreError(f"{caller}: {next(iter(images))} is {arrays[0].shape} but {name} is {array.shape}")
        arrays.append(array)
    inside = np.ones(arrays[0].shape, dtype=bool) if mask is None else _array(mask).astype(bool)
    if inside.shape != arrays[0].shape:
        raise XrcoreError(f"{caller}: mask is {inside.shape} but the image is {arrays[0].shape}")
    if not inside.any():
        raise XrcoreError(f"{caller}: the mask leaves no pixel")
    for name, array in zip(images, arrays, strict=True):
        if not np.isfinite(array[inside]).all():
            raise XrcoreError(f"{caller}: {name} holds NaN or infinite pixels inside the mask")
    return [np.where(inside, array, 0.0) for array in arrays], inside


def _array(values: object) -> NDArray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
