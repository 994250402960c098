"""Find the edges of collimator blades behind which scatter is still counted, so that nothing is constant there."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray
from scipy import ndimage

_REACH = 3  # [pixels] averaged on either side of an edge
_LEAST_STEP, _LEAST_RATIO = 0.08, 2.5  # of the range of grey values, and of the median step
_CANDIDATE_SHARE, _LEAST_SHARE = 0.3, 0.85  # of an edge's length along which the step is seen: to be tried, to be taken
_SMALLEST_SIDE = 0.35  # of the image's
_FLAT = 0.01  # of the range of grey values: what varies less was painted
_PIXELS = 256
_MOST = 3  # edges tried on each side


class Rectangle(NamedTuple):
    """Rows top to bottom - 1 and columns left to right - 1."""

    top: int
    bottom: int
    left: int
    right: int


def blade_rectangle(attenuation: Shaped[ndarray, "H W"]) -> Bool[ndarray, "H W"] | None:
    """True within the upright rectangle that blades leave open; None where there are none.

    An edge of a blade is a straight line along which attenuation steps up outwards, and stays high beyond it. Blades may be on one to
    four sides. They are looked for on about 256 pixels, so that large images take no longer.
    """
    factor = max(1, max(attenuation.shape) // _PIXELS)
    image = ndimage.gaussian_filter(attenuation.astype(np.float32), factor)[::factor, ::factor]
    found = _rectangle(image)
    if found is None:
        return None
    inside = np.zeros(attenuation.shape, dtype=bool)
    spans = []
    for n, small, (first, end) in zip(attenuation.shape, image.shape, (found[:2], found[2:]), strict=True):
        blur = factor if factor > 1 else 0  # which moves the edges
        spans.append(slice(first * factor + blur * (first > 0), n if end == small else end * factor - blur))
    inside[*spans] = True
    return inside


def _rectangle(image: Float[ndarray, "H W"]) -> Rectangle | None:
    rows, cols = image.shape
    if min(rows, cols) < 8 * _REACH:
        return None
    low, high = np.percentile(image, (2, 98))
    down, right = _step(image), _step(image.T)  # attenuation before minus after each line
    flat = _FLAT * float(high - low)
    # a step stands out from the slopes of the image
    least = max(_LEAST_STEP * float(high - low), *(_LEAST_RATIO * float(np.median(np.abs(steps))) for steps in (down, right)))
    sides = (
        (0, *_candidates(down > least)),
        (rows, *_candidates(-down > least)),
        (0, *_candidates(right > least)),
        (cols, *_candidates(-right > least)),
    )
    best, most = None, 0.0
    for found in itertools.starmap(Rectangle, itertools.product(*sides)):
        if found.bottom - found.top < _SMALLEST_SIDE * rows or found.right - found.left < _SMALLEST_SIDE * cols:
            continue
        seen = _seen(image, found, down > least, -down > least, right > least, -right > least)
        if seen > most and _contrast(image[found.top + _REACH : found.bottom - _REACH, found.left + _REACH : found.right - _REACH]) > flat:
            best, most = found, seen
    return best


def _contrast(image: Float[ndarray, "n m"]) -> float:
    low, high = np.percentile(image, (5, 95))
    return float(high - low)


def _step(image: Float[ndarray, "n m"]) -> Float[ndarray, "n m"]:
    """Mean of the rows before each line between rows less that of the rows after it; line i lies before row i."""
    sums = np.vstack([np.zeros((1, image.shape[1])), np.cumsum(image, 0, dtype=np.float64)])
    step = np.zeros(image.shape)
    line = np.arange(_REACH, image.shape[0] - _REACH + 1)
    step[line[:-1]] = (2 * sums[line] - sums[line - _REACH] - sums[line + _REACH])[:-1] / _REACH
    return step


def _candidates(stepped: Shaped[ndarray, "n m"]) -> list[int]:
    """Lines along which the step is seen most."""
    share = stepped.mean(1)
    chosen: list[int] = []
    for line in np.argsort(share)[::-1]:
        if share[line] < _CANDIDATE_SHARE or len(chosen) == _MOST:
            break
        if all(abs(int(line) - other) > 2 * _REACH for other in chosen):
            chosen.append(int(line))
    return chosen


def _seen(image: ndarray, found: Rectangle, *stepped: ndarray) -> float:
    """Shares of the edges along which the step is seen, added up; 0 where one of them is no blade's."""
    rows, cols = image.shape
    top, bottom, left, right = found
    inside_rows, inside_cols = slice(top + _REACH, bottom - _REACH), slice(left + _REACH, right - _REACH)
    ordinary = np.percentile(image[inside_rows, inside_cols], 75)
    edges = (
        (top, top > 0, stepped[0], inside_cols, image[: max(top - _REACH, 1)]),
        (bottom, bottom < rows, stepped[1], inside_cols, image[min(bottom + _REACH, rows - 1) :]),
        (left, left > 0, stepped[2], inside_rows, image[:, : max(left - _REACH, 1)]),
        (right, right < cols, stepped[3], inside_rows, image[:, min(right + _REACH, cols - 1) :]),
    )
    total = 0.0
    for line, used, steps, along, beyond in edges:
        if used:
            share = float(steps[max(line - 1, 0) : line + 2, along].any(0).mean())
            if share < _LEAST_SHARE or np.median(beyond) < ordinary:
                return 0.0
            total += share
    return total
