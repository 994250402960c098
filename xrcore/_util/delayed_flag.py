"""Poll a device flag without blocking."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor


class DelayedFlag:
    """Poll flags of a device without blocking.

    Each poll answers for the flags of `LAG` polls ago, so that work queued since then is not waited for.
    """

    LAG = 2

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._under_way: deque[tuple[torch.cuda.Event | None, Tensor]] = deque()
        self._spare: list[Tensor] = []

    def all(self, flags: Tensor) -> bool:
        """Whether all flags were set (not zero) `LAG` polls ago; False before. The same shape and type each time."""
        copy = self._spare.pop() if self._spare else torch.empty(flags.shape, dtype=flags.dtype, pin_memory=self._on_gpu)
        copy.copy_(flags, non_blocking=True)
        event = torch.cuda.Event() if self._on_gpu else None
        if event is not None:
            event.record()
        self._under_way.append((event, copy))
        if len(self._under_way) <= self.LAG:
            return False
        event, copy = self._under_way.popleft()
        if event is not None:
            event.synchronize()
        self._spare.append(copy)
        return bool(copy.all())
