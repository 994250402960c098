"""Time GPU work: kernels by CUDA events, everything else by wall-clock time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, pairwise
from typing import Any

import torch
from common.timing import Timing, interleaved

from xrcore import XrcoreError

Call = Callable[[], Any]

KERNEL = "kernel, by CUDA events"
WALL = "wall clock"

_SCRATCH = 1 << 28  # bytes: more than any GPU's cache
_SWEEPS, _MOST_SWEEPS = 50, 800


class Clock:
    """Clock of the CPU, for a dry run: every line of the benchmark runs, and the figures mean nothing.

    Marks are places in the queue of work.
    """

    dry = True
    device = torch.device("cpu")

    def mark(self) -> Any:
        """Place a mark after all work queued so far."""
        return time.perf_counter()

    def seconds(self, first: Any, last: Any) -> float:
        """Seconds between two marks that were reached."""
        return last - first

    def reached(self, mark: Any) -> bool:
        """Whether the queue has come to the mark yet."""
        return False

    def keep_busy(self, sweeps: int) -> None:
        """Queue work that overwrites the caches and keeps the GPU busy until the CPU has queued what is measured."""

    def wait(self) -> None:
        """Wait until the queue is empty."""

    def forget_peak(self) -> None:
        """Restart the measurement of peak memory."""

    def peak_mb(self) -> float:
        """Most memory [MB] that torch had allocated at once since `forget_peak`."""
        return 0.0

    def free(self) -> None:
        """Release unused memory."""
        gc.collect()


class CudaClock(Clock):
    """Clock of the current CUDA device, by CUDA events."""

    dry = False
    device = torch.device("cuda")

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, first: torch.cuda.Event, last: torch.cuda.Event) -> float:
        return first.elapsed_time(last) / 1e3

    def reached(self, mark: torch.cuda.Event) -> bool:
        return mark.query()

    def keep_busy(self, sweeps: int) -> None:
        scratch = torch.empty(_SCRATCH, dtype=torch.uint8, device=self.device)
        for _ in range(sweeps):
            scratch.zero_()

    def wait(self) -> None:
        torch.cuda.synchronize()

    def forget_peak(self) -> None:
        self.free()
        torch.cuda.reset_peak_memory_stats()

    def peak_mb(self) -> float:
        return torch.cuda.max_memory_allocated() / 1e6

    def free(self) -> None:
        super().free()
        torch.cuda.empty_cache()


def kernel_times(clock: Clock, tasks: Mapping[str, Sequence[Call]], rounds: int) -> dict[str, Timing]:
    """GPU time of each call of each task, tasks interleaved; calls only launch kernels, with the same work from several poses.

    A task's calls follow each other without a gap. Its first finds the cache cold, the others as another view left it.
    """
    for calls in tasks.values():
        for call in calls:
            call()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, calls in tasks.items():
            seconds[name] += _in_line(clock, calls)
    return {name: Timing(seconds=tuple(values)) for name, values in seconds.items()}


def _in_line(clock: Clock, calls: Sequence[Call]) -> list[float]:
    """Seconds of each call; repeated behind more queued work where the GPU began before the CPU had queued all calls."""
    sweeps = _SWEEPS
    while True:
        clock.wait()
        clock.keep_busy(sweeps)
        marks = [clock.mark()]
        for call in calls:
            call()
            marks.append(clock.mark())
        late = clock.reached(marks[0])
        clock.wait()
        if not late:
            return [clock.seconds(first, last) for first, last in pairwise(marks)]
        if sweeps >= _MOST_SWEEPS:
            raise XrcoreError("benchmark: the CPU queues kernels more slowly than the GPU runs them; try again when it is idle")
        sweeps *= 2


def wall_times(clock: Clock, tasks: Mapping[str, Sequence[Call]], rounds: int) -> dict[str, Timing]:
    """Wall-clock time of each task's calls in rotation, until the GPU has finished; tasks interleaved, after a warm-up."""

    def waited(calls: Sequence[Call]) -> Call:
        turn = cycle(calls)

        def task() -> None:
            next(turn)()
            clock.wait()

        return task

    for calls in tasks.values():
        for call in calls:
            call()
    clock.wait()
    return interleaved({name: waited(calls) for name, calls in tasks.items()}, rounds, warm=False)


def wall_seconds(clock: Clock, call: Call) -> float:
    """Wall-clock seconds of one call, until the GPU has finished."""
    clock.wait()
    began = time.perf_counter()
    call()
    clock.wait()
    return time.perf_counter() - began
