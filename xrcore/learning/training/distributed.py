"""Distributed training under torchrun: the rank of this process, and a network whose gradients are averaged."""

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
    """One of the processes that share a training. The main one validates, logs and writes.

    Parameters
    ----------
    rank : int
        Of this process, from 0.
    size : int
        Processes in all.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process of rank 0."""
        return self.rank == 0

    def share(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network as trained by the team: batch statistics are each process's own, and the main one's are kept.

        Parameters
        ----------
        network : nn.Module
            With the same weights in all processes.
        device : torch.device
            Where its weights are.

        Returns
        -------
        nn.Module
            The network itself where there is one process.
        """
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=False)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Join the processes that torchrun started (gloo on the CPU, NCCL on GPUs), or be alone.

    Parameters
    ----------
    device : torch.device
        Where this process learns.

    Yields
    ------
    Team
        Which one this is.
    """
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
