"""Small tables from the host to the device, without waiting."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def on_device(table: NDArray, device: torch.device) -> Tensor:
    """The table as a tensor there.

    `torch.tensor(..., device=...)` and a plain `.to` wait until all work under way on a GPU is done, and a copy from ordinary memory may.
    From pinned memory it is put in the queue; torch keeps that memory until it was read.
    """
    here = torch.from_numpy(np.ascontiguousarray(table))
    return (_pinned(here) if device.type == "cuda" else here).to(device, non_blocking=True)


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory()
