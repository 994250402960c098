"""Normal equations on the GPU in the layout of the step kernel: one tile per pose, or several to be summed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

from xrcore._util.devices import on
from xrcore.registration.similarities.base import Fitted, flat_tolerance
from xrcore.registration.similarities.standardised import StandardisedFit

LANES = 64  # pixels that a program adds up side by side
ROUNDS = 8  # and how often, at most
WARPS = 4
FEW = 16  # tiles that the step's one warp adds up itself
GROUPS = 8  # of pixels whose normal equations a program adds up


def normal_tiles(
    fitted: Fitted, moving: Float[Tensor, "B H W"], jacobian: Float[Tensor, "B H W 6"]
) -> tuple[Float64[Tensor, "B n 8 8"], float]:
    """`fitted.normal_equations` without waiting, and its effective count.

    The sum over n has the Hessian in its first six rows and columns, the gradient in row six, and the value in the last corner.

    Standardised pixels, which most built-in similarities compare, go through two kernels; torch would need some 100 tiny
    operations for the same, and each costs a launch (benchmarks/gpu_launches.py). Other similarities do as they do.
    """
    if isinstance(fitted, StandardisedFit):
        return _standardised(fitted, moving, jacobian), fitted.effective_count
    value, gradient, hessian, count = fitted.normal_equations(moving, jacobian)
    tile = F.pad(torch.cat([hessian, gradient.unsqueeze(1)], 1).double(), (0, 2, 0, 1))
    tile[:, 7, 7] = value
    return tile.unsqueeze(1), count


def _standardised(fitted: StandardisedFit, moving: Tensor, jacobian: Tensor) -> Tensor:
    from xrcore.registration.solvers.cuda import normal_kernel as kernel

    pixels, columns = fitted.layout.arrange(moving), fitted.layout.arrange(jacobian)  # (B, C, P) and (B, C, P, 6)
    batch, cells, count = pixels.shape
    rounds = min(ROUNDS, -(-count // LANES))
    splits = -(-count // (rounds * LANES))
    device = moving.device
    sums = torch.empty(batch, cells, splits, kernel.ROWS, 8, dtype=torch.float64, device=device)
    inside = fitted.inside
    with on(device):
        kernel.sums[(batch * cells * splits,)](
            pixels,
            columns,
            fitted.fixed,
            fitted.fixed if inside is None else inside,
            sums,
            count,
            cells,
            splits,
            rounds,
            *pixels.stride(),
            *columns.stride(),
            MASKED=inside is not None,
            LANES=LANES,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )
        per_cell = sums.sum(2) if splits > 1 else sums.squeeze(2)
        per_group = fitted.layout.pool(per_cell)
        groups = per_group.shape[1]
        blocks = -(-groups // GROUPS)
        floored = fitted.variance_floor > 0
        tiles = torch.empty(batch, blocks, 8, 8, dtype=torch.float64, device=device)
        kernel.standardised[(batch * blocks,)](
            per_group.contiguous(),
            per_cell.sum(1) if floored else per_group,
            fitted.weight,
            fitted.fixed_scale,
            fitted.fixed_extra,
            tiles,
            groups,
            fitted.variance_floor,
            flat_tolerance(moving.dtype),
            fitted.tolerance,
            FLOORED=floored,
            ROBUST=math.isfinite(fitted.tolerance),
            GROUPS=GROUPS,
            num_warps=1,
            enable_fp_fusion=True,
        )
    return tiles if blocks <= FEW else tiles.sum(1, keepdim=True)
