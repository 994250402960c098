"""The optimiser, the averaged weights, and the precision of the arithmetic."""

from __future__ import annotations

import torch
from torch import nn

from xrcore.learning.settings import TrainingSettings


def half_precision(precision: str, device: torch.device) -> bool:
    """Return whether the network computes in bfloat16: if set, or under "auto" on a CPU that multiplies in it.

    Not on a GPU: with these small networks its time goes into starting kernels, and 30 % of them would convert numbers.

    Parameters
    ----------
    precision : str
        As in `TrainingSettings`.
    device : torch.device
        Where it computes.

    Returns
    -------
    bool
        False: float32.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type != "cpu":
        return False
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(supported is not None and supported())


def optimiser_for(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Make the optimiser; norms and biases are not decayed.

    Parameters
    ----------
    network : nn.Module
        To be trained.
    settings : TrainingSettings
        Of the training.

    Returns
    -------
    torch.optim.Optimizer
        For the parameters that ask for gradients.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True, foreach=True)
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.learning_rate, fused=True)


@torch.no_grad()
def average(network: nn.Module, averaged: nn.Module, decay: float) -> None:
    """Average weights over steps: parameters exponentially; buffers, themselves averages, are copied.

    Parameters
    ----------
    network : nn.Module
        After a step.
    averaged : nn.Module
        Changed in place.
    decay : float
        Share of the average that stays.
    """
    torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), 1 - decay)
    kinds: dict[torch.dtype, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for mine, new in zip(averaged.buffers(), network.buffers(), strict=True):
        for some, one in zip(kinds.setdefault(mine.dtype, ([], [])), (mine, new), strict=True):
            some.append(one)
    for targets, sources in kinds.values():  # one launch for each kind
        torch._foreach_copy_(targets, sources)
