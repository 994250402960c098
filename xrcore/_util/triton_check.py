# mypy: ignore-errors
"""Check that a Triton kernel can be compiled and launched."""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton


@triton.jit
def _increment(number):
    triton.language.store(number, triton.language.load(number) + 1.0)


def launch(device: torch.device) -> None:
    """Launch a kernel that does next to nothing; raises whatever Triton or the driver raises where that does not work."""
    number = torch.ones(1, device=device)
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        _increment[(1,)](number)
    if float(number) != 2.0:
        raise RuntimeError("a kernel computed something else")
