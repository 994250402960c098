"""Repeats of tasks are interleaved."""

from __future__ import annotations

from common.timing import interleaved


def test_repeats_are_interleaved():
    calls = []
    timings = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, 3)
    # a warm-up, and three rounds in which what takes no time is done five times
    assert "".join(calls) == "abc" + 3 * ("a" * 5 + "b" * 5 + "c" * 5)
    assert [len(t.seconds) for t in timings.values()] == [15, 15, 15]
    interleaved({"d": lambda: calls.append("d")}, 1, warm=False)
    assert calls[48:] == ["d"] * 5
