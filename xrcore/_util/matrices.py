"""Check 4x4 transforms that users and files give."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError


def has_last_row(matrix: Float[Tensor, "*b 4 4"]) -> bool:
    """Whether all have 0 0 0 1 there, within rounding, unlike a transposed one."""
    return bool(((matrix[..., 3, :] - matrix.new_tensor([0.0, 0.0, 0.0, 1.0])).abs() < 1e-6).all())


def is_rotation(matrix: Float[Tensor, "*b 3 3"]) -> bool:
    """Whether all are, within rounding."""
    off = (matrix @ matrix.mT - torch.eye(3, dtype=matrix.dtype, device=matrix.device)).abs()
    return bool((off < 1e-4).all() and (torch.linalg.det(matrix) > 0).all())


def rigid_matrix(owner: str, name: str, value: object) -> Float[Tensor, "4 4"]:
    """A 4x4 matrix in float64; XrcoreError, naming it, unless it is a rotation and a translation."""
    try:
        matrix = torch.as_tensor(value, dtype=torch.float64)
        good = matrix.shape == (4, 4) and bool(torch.isfinite(matrix).all()) and has_last_row(matrix) and is_rotation(matrix[:3, :3])
    except (TypeError, ValueError, RuntimeError):
        good = False
    if not good:
        raise XrcoreError(f"{owner}: {name} must be a rigid 4x4 matrix, rotation and translation in mm")
    return matrix
