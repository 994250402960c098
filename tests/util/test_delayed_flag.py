"""Polling a device flag without blocking."""

from __future__ import annotations

import pytest
import torch

from xrcore._util.delayed_flag import DelayedFlag


@pytest.mark.parametrize("gpu", [False, True])
def test_a_delayed_flag_answers_for_two_polls_ago_and_waits_for_no_later_one(monkeypatch, gpu):
    waited: list[int] = []

    class Event:
        def record(self) -> None:
            self.number = len(asked)

        def synchronize(self) -> None:
            waited.append(self.number)

    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **rest: empty(*size, **rest))
    flag = DelayedFlag(torch.device("cuda" if gpu else "cpu"))
    asked = [torch.tensor([float(n == 1), 1.0]) for n in range(5)]
    polled = list(asked)
    asked.clear()
    heard = []
    for one in polled:
        heard.append(flag.all(one))
        asked.append(one)
    assert heard == [False, False, False, True, False]  # the second question's answer comes with the fourth
    assert waited == ([0, 1, 2] if gpu else [])
    assert len(flag._spare) == 1  # memory is used again
