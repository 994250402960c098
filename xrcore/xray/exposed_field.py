"""Find the exposed field of an acquired image: without collimators and outside an image intensifier's disc."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Shaped
from numpy import ndarray
from scipy import ndimage

from xrcore.xray.collimator import blade_rectangle

SMALLEST_PART = 0.01
_GROW = 2  # [pixels] the border of a field is blurred
_SOLID = np.ones((5, 5), dtype=bool)  # pixels that are alike where something shuts the beam out; where few photons arrive, some differ


def field_of_view(attenuation: Shaped[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """True inside the field: without the constant regions of extreme value that touch the border and exceed 1 % of the image.

    The largest attenuation is metal of a collimator, or photons that did not arrive, and is always left out. The smallest may be
    the surround that an imaging system paints, but also air beside the patient, which registration needs: it is left
    out only if what remains is a disc or an upright rectangle. Where nothing is constant, blades behind which scatter was counted are
    looked for.
    """
    highest, lowest = attenuation.max(), attenuation.min()
    if highest == lowest:
        return np.ones(attenuation.shape, dtype=bool)
    outside = _border_part(attenuation == highest)
    surround = _border_part(attenuation == lowest)
    if surround.any() and (_is_disc(~surround) or _is_rectangle(~surround)):
        outside |= surround
    if not outside.any() and (opening := blade_rectangle(attenuation)) is not None:
        outside = ~opening
    if not outside.any() or outside.all():
        return np.ones(attenuation.shape, dtype=bool)
    field = ~ndimage.binary_dilation(outside, iterations=_GROW)
    return field if field.any() else np.ones(attenuation.shape, dtype=bool)


def inscribed_disc(shape: tuple[int, int]) -> Bool[ndarray, "H W"]:
    """True within the largest centred disc."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - (shape[0] - 1) / 2, cols - (shape[1] - 1) / 2)
    return distance <= min(shape) / 2


def _border_part(region: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """Connected solid parts of a region that touch the border and are large enough, with the thin ends that taper from them."""
    solid = ndimage.binary_dilation(ndimage.binary_erosion(region, _SOLID, border_value=1), _SOLID)
    parts, count = ndimage.label(solid)
    if count == 0:
        return solid
    border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    sizes = np.bincount(parts.ravel())
    chosen = np.isin(parts, [p for p in border if p != 0 and sizes[p] > SMALLEST_PART * region.size])
    return ndimage.binary_dilation(chosen, iterations=max(region.shape) // 6, mask=region) if chosen.any() else chosen


def _is_disc(inside: Bool[ndarray, "H W"]) -> bool:
    """Whether a region is a disc, or the part of one that fits into the image."""
    edge = inside & ~ndimage.binary_erosion(inside, border_value=1)  # not where the image itself ends
    rows, cols = np.nonzero(edge)
    if len(rows) < 20:
        return False
    # algebraic circle fit: r^2 + c^2 = 2 r r0 + 2 c c0 + const (Kasa 1976)
    system = np.stack([2 * rows, 2 * cols, np.ones(len(rows))], 1)
    (row, col, constant), *_ = np.linalg.lstsq(system, (rows**2 + cols**2).astype(float), rcond=None)
    square = constant + row**2 + col**2
    distance = np.hypot((np.arange(inside.shape[0]) - row)[:, None], np.arange(inside.shape[1]) - col)
    disc = distance <= np.sqrt(max(square, 0.0)) + 0.5
    return bool((disc & inside).sum() > 0.98 * (disc | inside).sum())


def _is_rectangle(inside: Bool[ndarray, "H W"]) -> bool:
    """Whether a region fills its bounding box."""
    rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return bool(inside[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].mean() > 0.999)
