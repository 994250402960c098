"""Gaussians of another width for each image, as products with banded matrices: exact at any width, edges included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore.geometry import CArm
from xrcore.simulation.detector import SIGMA_PER_FWHM

_TRUNCATE = 4.0  # standard deviations that scipy's kernel reaches


def gaussian_blur(images: Float[Tensor, "B H W"], carm: CArm, widths: Sequence[float]) -> Float[Tensor, "B H W"]:
    """Each image blurred by a Gaussian of its own full width at half maximum [mm on the detector]; 0 leaves it as it is.

    Beyond its edge an image goes on as it ends, as in `scipy.ndimage.gaussian_filter(mode="nearest")`. Its cost does not depend on
    the width.
    """
    sigmas = [np.asarray(widths, dtype=np.float64) * SIGMA_PER_FWHM / s for s in carm.spacing]
    down = _matrices(sigmas[0], carm.shape[0], images)
    same = carm.shape[0] == carm.shape[1] and carm.spacing[0] == carm.spacing[1]
    across = down if same else _matrices(sigmas[1], carm.shape[1], images)
    return down @ images @ across.mT


def _matrices(sigmas: NDArray[np.float64], n: int, like: Tensor) -> Float[Tensor, "B n n"]:
    """What the filter does to a line of n pixels, for each sigma [pixels]."""
    if n == 1:
        return like.new_ones((len(sigmas), 1, 1))
    weights, tails = on_device(_kernels(sigmas, n), like.device).to(like.dtype).unbind(0)
    i = torch.arange(n, device=like.device)
    lags = (i[:, None] - i[None, 1:-1]).abs()
    # the first and the last pixel stand for all that lies beyond them
    return torch.cat([tails[:, :, None], weights[:, lags], tails.flip(1)[:, :, None]], 2)


def _kernels(sigmas: NDArray[np.float64], n: int) -> Float[NDArray, "2 B n"]:
    """Weight at each distance from 0 to n - 1 pixels, and the sum of the weights from there on."""
    radii = (_TRUNCATE * sigmas + 0.5).astype(np.int64)
    lags = np.arange(max(int(radii.max()) + 1, n))
    weights = np.exp(-0.5 * (lags / np.maximum(sigmas, 1e-3)[:, None]) ** 2) * (lags <= radii[:, None])
    weights /= weights[:, :1] + 2 * weights[:, 1:].sum(1, keepdims=True)
    tails = np.cumsum(weights[:, ::-1], 1)[:, ::-1]
    return np.stack([weights[:, :n], tails[:, :n]])
