"""Losses of the paper's network: the pose loss and the structure-aware loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_TINY = 1e-6


def pose_loss(numbers: Float[Tensor, "B 6"], truth: Float[Tensor, "B 6"]) -> Float[Tensor, ""]:
    """Compute the batch mean of |dR|_2 + |dT|_2: degrees and mm with equal weight, norms and not squares.

    Parameters
    ----------
    numbers, truth : Float[Tensor, "B 6"]
        Predicted and true poses [deg, mm].

    Returns
    -------
    Float[Tensor, ""]
        The loss.

    References
    ----------
    Zhang et al., *A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration*, MICCAI 2023.
    """
    difference = numbers - truth
    return (torch.linalg.norm(difference[:, :3], dim=1) + torch.linalg.norm(difference[:, 3:], dim=1)).mean()


def edge_image(images: Float[Tensor, "B 1 H W"], stride: int = 1) -> Float[Tensor, "B 1 h w"]:
    """Compute the gradient magnitude over its 99th percentile, then tanh, as the paper's authors draw their overlays.

    Parameters
    ----------
    images : Float[Tensor, "B 1 H W"]
        DRRs.
    stride : int
        Pixels along each axis that are averaged to one.

    Returns
    -------
    Float[Tensor, "B 1 h w"]
        From 0 to 1.
    """
    x = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across, down = x[..., 1:-1, 2:] - x[..., 1:-1, :-2], x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    strength = torch.sqrt(across**2 + down**2)
    level = _percentile(strength.flatten(1), 99).clamp_min(_TINY)
    return F.avg_pool2d(torch.tanh(strength / level[:, None, None, None]), stride)


def _percentile(values: Float[Tensor, "B N"], percent: int) -> Float[Tensor, " B"]:
    """`torch.quantile` for high percentiles, which sorts only what lies above them."""
    place = percent / 100 * (values.shape[1] - 1)
    below = int(place)
    largest = values.topk(values.shape[1] - below, dim=1).values
    lower, upper = largest[:, -1], largest[:, max(-2, -largest.shape[1])]
    return torch.lerp(lower, upper, place - below)


def structure_loss(edges: Float[Tensor, "B 1 h w"], wanted: Float[Tensor, "B 1 h w"]) -> Float[Tensor, ""]:
    """Compute 1 - ZNCC of edge images, batch mean.

    The paper's "structure-aware loss" as read here, since it gives no formula.

    Parameters
    ----------
    edges, wanted : Float[Tensor, "B 1 h w"]
        The decoded and the true edge images.

    Returns
    -------
    Float[Tensor, ""]
        From 0 to 2.
    """
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (edges, wanted))
    return 1 - ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(_TINY)).mean()
