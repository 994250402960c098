"""Noise of an X-ray, and the similarity that it leaves attainable."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from xrcore.xray.image import Xray

_PATCH = 16  # pixels, as LocalZNCC's
_FLOOR = 0.1  # of the image's contrast, as LocalZNCC's
# Zero for any plane, and for the product of a row's and a column's: what passes is noise and the sharpest edges.
_KERNEL = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


def noise_level(xray: Xray) -> float:
    """Estimate the noise from the median of a second difference across rows and columns.

    Parameters
    ----------
    xray : Xray
        Its mask counts.

    Returns
    -------
    float
        Standard deviation of white noise in the image.

    References
    ----------
    Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2), 1996; the median in place of its
    mean lets edges be outliers.
    """
    filled = torch.where(xray.mask, xray.image, xray.image[xray.mask].mean())
    passed = F.conv2d(filled[None, None], filled.new_tensor(_KERNEL)[None, None])[0, 0]
    whole = F.max_pool2d(1.0 - xray.mask.float()[None, None], 3, 1)[0, 0] == 0
    if not whole.any():
        return 0.0
    return float(passed[whole].abs().median()) / 0.6745 / 6.0  # median to standard deviation; the kernel's norm is 6


def attainable_local_zncc(xray: Xray) -> float:
    """The local ZNCC that a perfect, noise-free DRR of this X-ray would reach: noise variance takes its share of every patch.

    A patch of variance v, noise included, correlates with its noise-free self by sqrt(1 - noise^2 / v).

    Parameters
    ----------
    xray : Xray
        Its mask counts.

    Returns
    -------
    float
        At most 1.
    """
    rows, cols = (n // _PATCH * _PATCH for n in xray.image.shape)
    if rows == 0 or cols == 0:
        return 1.0

    def patches(image: torch.Tensor) -> torch.Tensor:
        return F.unfold(image[None, None, :rows, :cols].double(), _PATCH, stride=_PATCH)[0].T

    inside, values = patches(xray.mask.double()), patches(torch.where(xray.mask, xray.image, 0.0))
    count = inside.sum(1)
    kept = count >= 0.25 * _PATCH**2
    if not kept.any():
        return 1.0
    inside, values, count = inside[kept], values[kept], count[kept]
    mean = values.sum(1) / count
    variance = ((values - mean[:, None]) ** 2 * inside).sum(1) / count
    contrast = variance + _FLOOR**2 * float(xray.image[xray.mask].double().var())
    weight = count * variance / contrast
    reached = (1 - noise_level(xray) ** 2 / contrast).clamp_min(0).sqrt()
    return float((weight * reached).sum() / weight.sum().clamp_min(1e-12))
