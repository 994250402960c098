"""Farthest-point sampling: a few points that are spread over all of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def farthest_points(points: Float[Tensor, "n 3"], count: int) -> list[int]:
    """Indices of `count` points, or of all: first the one farthest from their centre, then each time the one farthest from those chosen.

    Gonzalez, Clustering to minimize the maximum intercluster distance, Theoretical Computer Science 38, 1985.
    """
    chosen = [int((points - points.mean(0)).norm(dim=1).argmax())]
    nearest = torch.full((len(points),), torch.inf, dtype=points.dtype)
    while len(chosen) < min(count, len(points)):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).norm(dim=1))
        chosen.append(int(nearest.argmax()))
    return chosen
