"""Several processes under torchrun: who am I, and a network whose gradients are shared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Team:
    """rank of size processes. Rank 0 validates, logs and writes."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as trained by the team: batch statistics are each process's own, and rank 0's are kept."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=False)

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """The processes that torchrun started (gloo on the CPU, NCCL on GPUs), or this one alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    mine = not dist.is_initialized()
    if mine:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), size)
    finally:
        if mine:
            dist.destroy_process_group()
