"""Turn what callers give into tensors and numbers, or say by name what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_number, shown


def as_tensor(owner: str, name: str, value: Any, what: str, *, dtype: torch.dtype | None = torch.float64) -> Tensor:
    """The value as a tensor; XrcoreError naming it as `what` it must be where it cannot be one."""
    try:
        return torch.as_tensor(np.require(value, requirements=["C", "W"]) if isinstance(value, np.ndarray) else value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise XrcoreError(f"{owner}: {name} must be {what}, got {shown(value)}") from None


def as_numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers of a sequence, array or tensor; None where it is not that."""
    items = value.tolist() if isinstance(value, (Tensor, np.ndarray)) else value
    if not isinstance(items, (list, tuple)) or len(items) != count or not all(map(is_number, items)):
        return None
    return tuple(map(float, items))
