"""What the networks are trained on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_TINY = 1e-6


def pose_loss(numbers: Float[Tensor, "B 6"], truth: Float[Tensor, "B 6"]) -> Float[Tensor, ""]:
    """Batch mean of |dR|_2 + |dT|_2: degrees and mm with equal weight, norms and not squares. Source: Zhang et al., MICCAI 2023."""
    difference = numbers - truth
    return (torch.linalg.norm(difference[:, :3], dim=1) + torch.linalg.norm(difference[:, 3:], dim=1)).mean()


def edge_image(images: Float[Tensor, "B 1 H W"], stride: int = 1) -> Float[Tensor, "B 1 h w"]:
    """Gradient magnitude over its 99th percentile, then tanh, as the paper's authors draw their overlays; averaged over `stride` pixels."""
    x = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across, down = x[..., 1:-1, 2:] - x[..., 1:-1, :-2], x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    strength = torch.sqrt(across**2 + down**2)
    level = torch.quantile(strength.flatten(1), 0.99, dim=1).clamp_min(_TINY)
    return F.avg_pool2d(torch.tanh(strength / level[:, None, None, None]), stride)


def structure_loss(edges: Float[Tensor, "B 1 h w"], wanted: Float[Tensor, "B 1 h w"]) -> Float[Tensor, ""]:
    """1 - ZNCC of the edge images, batch mean: the paper's "structure-aware loss" as read here, since it gives no formula."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (edges, wanted))
    return 1 - ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(_TINY)).mean()
