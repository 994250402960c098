"""Time work on a device without waiting for it."""

from __future__ import annotations

import time
from typing import Any

import torch

_MARKS = 64  # pairs of events that a stopwatch keeps before it reads them


class Stopwatch:
    """Seconds spent inside `with stopwatch:`, on a GPU the time of its own queue, without synchronisation."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = 0.0
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._began: Any = None

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        mark = torch.cuda.Event(enable_timing=True)
        mark.record()
        return mark

    def __enter__(self) -> None:
        self._began = self._now()

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self._marks.append((self._began, self._now()))
            if len(self._marks) > _MARKS:
                self._read()
        else:
            self._seconds += self._now() - self._began

    @property
    def seconds(self) -> float:
        """So far; waits for what is under way."""
        self._read()
        return self._seconds

    def _read(self) -> None:
        for began, ended in self._marks:
            ended.synchronize()
            self._seconds += began.elapsed_time(ended) / 1e3
        self._marks.clear()
