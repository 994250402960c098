"""Find how an X-ray's grey values were mapped, from a DRR near the right pose, and map them back to attenuation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from xrcore.xray.image import Xray

_BINS = 24
_END = 3  # bins that give the slope beyond the first and the last
# a curve is used where a straight line leaves more than a share of the variance unexplained, and the curve less than a part of that; a
# smaller bend is also what a pose slightly off in depth looks like, and mapping it back would keep that pose (set on patients 1, 3 and 4)
_BENDS = ((0.03, 0.5), (0.01, 0.4))  # share, part


@dataclass(frozen=True, eq=False)
class GreyCurve:
    """A monotone piecewise linear map of an X-ray's grey values to attenuation, and whether it is worth using.

    Beyond its ends it goes on straight.
    """

    grey: Float[ndarray, " n"]
    attenuation: Float[ndarray, " n"]
    inverted: bool
    curved: bool

    def __call__(self, image: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
        """Map an image."""
        values = image.double().numpy()
        x, y = self.grey, self.attenuation
        mapped = np.interp(values, x, y)
        for here, inner, beyond in ((0, min(_END, len(x) - 1), values < x[0]), (-1, max(-1 - _END, -len(x)), values > x[-1])):
            if inner % len(x) != here % len(x):
                slope = (y[inner] - y[here]) / (x[inner] - x[here])
                mapped[beyond] = y[here] + slope * (values[beyond] - x[here])
        return torch.from_numpy(mapped.astype(np.float32))


def grey_curve(xray: Xray, drr: Float[Tensor, "H W"], inverted: bool | None = None) -> GreyCurve:
    """The curve from the X-ray's grey values to those of a DRR of the same size: medians in bins of equal counts, made monotone.

    inverted: whether bone is dark, where that is known; else the bins tell.
    """
    grey = xray.image[xray.mask].cpu().double().numpy()
    wanted = drr[xray.mask].cpu().double().numpy()
    order = np.argsort(grey, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    x, y = (np.array([np.median(values[part]) for part in parts]) for values in (grey, wanted))
    if inverted is None:
        inverted = not xray.bone_bright and bool(_ranks(y) @ (np.arange(len(y)) - (len(y) - 1) / 2) < 0)
    sign = -1 if inverted else 1
    monotone = sign * _isotonic(sign * y, np.array([len(part) for part in parts], float))
    places, which = np.unique(x, return_inverse=True)
    heights = np.bincount(which, monotone) / np.bincount(which)
    curve = GreyCurve(places, heights, inverted, curved=True)
    straight, mapped = _unexplained(grey, wanted), _unexplained(np.interp(grey, places, heights), wanted)
    return replace(curve, curved=any(straight > share and mapped < part * straight for share, part in _BENDS))


def with_attenuation(xray: Xray, curve: GreyCurve) -> Xray:
    """The X-ray with its grey values mapped, or only negated, or as it is."""
    if curve.curved:
        dark = " (bone dark)" if curve.inverted else ""
        note = f"the X-ray's grey values{dark} do not follow attenuation and were mapped to it by a fitted curve"
        return replace(xray, image=curve(xray.image.cpu()).to(xray.image.device), notes=(*xray.notes, note))
    if curve.inverted:
        note = "the X-ray was inverted (bone dark) and its grey values were negated"
        return replace(xray.negative(), notes=(*xray.notes, note))
    return xray


def _ranks(y: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Ranks, equal values sharing their mean one, as where a DRR shows nothing of the body."""
    _, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[which]


def _isotonic(y: Float[ndarray, " n"], weight: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """The nearest values that never fall: the largest over starts of the smallest mean over ends (Robertson et al., 1988)."""
    # of few values; scipy.optimize takes longer to import than a registration to run
    sums, counts = (np.concatenate([[0.0], np.cumsum(part)]) for part in (weight * y, weight))
    first, last = np.indices((len(y), len(y)))
    mean = np.where(first <= last, (sums[last + 1] - sums[first]) / np.where(first <= last, counts[last + 1] - counts[first], 1), np.inf)
    smallest = np.minimum.accumulate(mean[:, ::-1], 1)[:, ::-1]  # over ends from here on
    return np.maximum.accumulate(smallest, 0).diagonal()


def _unexplained(a: ndarray, b: ndarray) -> float:
    """Share of the variance of one that a straight line through the other does not explain."""
    deviation = a.std() * b.std()
    return 1.0 if deviation == 0 else 1 - float(((a - a.mean()) * (b - b.mean())).mean() / deviation) ** 2
