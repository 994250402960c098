"""Time spent on a device."""

from __future__ import annotations

import pytest
import torch

from xrcore._util import stopwatch
from xrcore._util.stopwatch import Stopwatch


def test_a_stopwatch_adds_up(monkeypatch):
    now = iter([1.0, 3.0, 10.0, 14.5])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(now))
    watch = Stopwatch(torch.device("cpu"))
    with watch:
        pass
    with watch:
        pass
    assert watch.seconds == 6.5


def test_a_stopwatch_of_a_gpu_reads_its_queue(monkeypatch):
    clock = iter([10.0, 25.0, 100.0, 130.0])  # [ms]

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.waited = False

        def record(self) -> None:
            self.at = next(clock)

        def synchronize(self) -> None:
            self.waited = True

        def elapsed_time(self, other: Event) -> float:
            assert other.waited
            return other.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    watch = Stopwatch(torch.device("cuda"))
    for _ in range(2):
        with watch:
            pass
    assert watch.seconds == pytest.approx(0.045)
    assert watch.seconds == pytest.approx(0.045)
