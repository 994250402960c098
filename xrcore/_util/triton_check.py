# mypy: ignore-errors
"""A kernel that does next to nothing, to see whether any can be compiled and launched."""

from __future__ import annotations

import torch
import triton

from xrcore._util.devices import on


@triton.jit
def _increment(number):
    triton.language.store(number, triton.language.load(number) + 1.0)


def launch(device: torch.device) -> None:
    """Raises whatever Triton or the driver raises where it does not work."""
    number = torch.ones(1, device=device)
    with on(device):
        _increment[(1,)](number)
    if float(number) != 2.0:
        raise RuntimeError("a kernel computed something else")
