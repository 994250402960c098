"""Whether an image shows bone bright, told by the features that a trained network has of the image and of its negative."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_RIDGE = 0.1
_TINY = 1e-6


def channel_statistics(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 2*C"]:
    """Return the mean and the standard deviation of each channel over an image.

    Parameters
    ----------
    features : Float[Tensor, "B C h w"]
        Of a network's layer.

    Returns
    -------
    Float[Tensor, "B 2*C"]
        The means, then the standard deviations.
    """
    values = features.float()
    return torch.cat([values.mean((2, 3)), values.std((2, 3), correction=0)], 1)


def discriminant(bright: Float[Tensor, "n F"], dark: Float[Tensor, "n F"]) -> Float[Tensor, " F"]:
    """Fit weights w by ridge regression, so that (bright - dark) @ w is near 1 for each image.

    Without a constant: an image and its negative are told apart by the sign of the difference of their scores.

    Parameters
    ----------
    bright, dark : Float[Tensor, "n F"]
        Features of images, and of the same images' negatives.

    Returns
    -------
    Float[Tensor, " F"]
        The weights; 0 for features that do not differ.

    References
    ----------
    Hoerl, Kennard, *Ridge regression: biased estimation for nonorthogonal problems*, Technometrics 12(1), 1970.
    """
    difference = (bright - dark).double()
    scale = difference.square().mean(0).sqrt()
    z = difference / scale.clamp_min(_TINY)
    gram = z.mT @ z / len(z) + _RIDGE * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return (torch.linalg.solve(gram, z.mean(0)) / scale.clamp_min(_TINY)).float()
