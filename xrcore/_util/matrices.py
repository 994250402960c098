"""Is a 4x4 matrix, as a user or a file gives it, a transform of column vectors?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def has_last_row(matrix: Float[Tensor, "*b 4 4"]) -> bool:
    """Tell whether the last row is that of transforms of column vectors, unlike a transposed one's.

    Parameters
    ----------
    matrix : Float[Tensor, "*b 4 4"]
        Transforms.

    Returns
    -------
    bool
        Whether all have 0 0 0 1 there, within rounding.
    """
    return bool((matrix[..., 3, :] - matrix.new_tensor([0.0, 0.0, 0.0, 1.0])).abs().max() < 1e-6) if matrix.numel() else True


def rigid_matrix(value: object) -> Float[Tensor, "4 4"] | None:
    """Take a 4x4 matrix as a rigid transform.

    Parameters
    ----------
    value : Float[Tensor, "4 4"]
        Rows of numbers.

    Returns
    -------
    Float[Tensor, "4 4"] or None
        In float64; None unless it is a rotation and a translation.
    """
    try:
        matrix = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    if matrix.shape != (4, 4) or not torch.isfinite(matrix).all() or not has_last_row(matrix):
        return None
    rotation = matrix[:3, :3]
    off = (rotation @ rotation.T - torch.eye(3, dtype=matrix.dtype, device=matrix.device)).abs().max()
    return matrix if off < 1e-4 and torch.linalg.det(rotation) > 0 else None
