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

    def to_dict(self) -> dict[str, Any]:
        """Median, fastest, slowest [ms] and the number of repeats."""
        low, high = min(self.seconds), max(self.seconds)
        return {"median_ms": self.median * 1e3, "min_ms": low * 1e3, "max_ms": high * 1e3, "repeats": len(self.seconds)}


def interleaved(tasks: Mapping[str, Callable[[], Any]], repeats: int, *, warm: bool = True) -> dict[str, Timing]:
    """Time each task `repeats` times, in rounds of all of them, so that a busy spell of the machine meets all alike.

    warm: run each once before, unmeasured, which pays for compilation, packing and memory.
    """
    for task in tasks.values() if warm else ():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(repeats):
            for name, task in tasks.items():
                began = time.perf_counter()
                task()
                seconds[name].append(time.perf_counter() - began)
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(seconds=tuple(values)) for name, values in seconds.items()}
