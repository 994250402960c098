"""Medians of interleaved repeats."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of each repeat of one task."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


_BURST = 0.2  # [s]
_MOST = 5


def interleaved(tasks: Mapping[str, Callable[[], Any]], rounds: int, *, warm: bool = True) -> dict[str, Timing]:
    """Time the tasks in rounds of all of them, so that a busy spell of the machine meets all alike.

    In a round a short task is repeated, up to 5 times in 0.2 s, so that its median is not that of the cold caches that a
    large task leaves behind. warm: run each once before, unmeasured, which pays for compilation, packing and memory.
    """
    for task in tasks.values() if warm else ():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, task in tasks.items():
                seconds[name] += _burst(task)
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(seconds=tuple(values)) for name, values in seconds.items()}


def _burst(task: Callable[[], Any]) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < _MOST and sum(seconds) < _BURST:
        began = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - began)
    return seconds
