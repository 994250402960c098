"""When the networks' layers are computed by kernels of this project, and in how many threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from xrcore._util.worker_pools import worker_pool

Result = TypeVar("Result")


def takes_kernels(x: Tensor) -> bool:
    """Return whether features are of the kind that the kernels of this project take.

    Parameters
    ----------
    x : Tensor
        Features.

    Returns
    -------
    bool
        True for float32 on a CPU, where no other precision is asked for.
    """
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def in_parts(count: int, work: Callable[[slice], Result]) -> list[Result]:
    """Run a function that releases the interpreter's lock on parts of `count` rows, one part a thread.

    Parameters
    ----------
    count : int
        Rows, at least 1.
    work : Callable
        Takes the slice of a part.

    Returns
    -------
    list
        The parts' results in their order, whichever thread was the first: their sum is the same each time.
    """
    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        return [work(slice(0, count))]
    ends = [count * i // threads for i in range(threads + 1)]
    return list(worker_pool("network", threads).map(work, map(slice, ends[:-1], ends[1:])))
