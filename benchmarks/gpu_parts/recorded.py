"""Record Triton launches so that they can be repeated without their preparation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

from xrcore import XrcoreError

Launch = Callable[[], Any]


class _Recorder:
    """Replaces a Triton function: `function[grid](...)` launches it and records the launch."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.launches: list[Launch] = []

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        def launch(*arguments: Any, **options: Any) -> Any:
            again = partial(self.function[grid], *arguments, **options)
            self.launches.append(again)
            return again()

        return launch


@contextmanager
def record_launches(module: ModuleType, function: str) -> Iterator[list[Launch]]:
    """Record the launches of `module.function` within the block; calling one repeats it into the same tensors."""
    recorder = _Recorder(getattr(module, function))
    with patch.object(module, function, recorder):
        yield recorder.launches


def launches_of(module: ModuleType, function: str, call: Callable[[], Any], count: int) -> list[Launch]:
    """Record the launches of a call; raises XrcoreError unless there are `count`."""
    with record_launches(module, function) as launches:
        call()
    if len(launches) != count:
        raise XrcoreError(f"benchmark: {module.__name__}.{function} was launched {len(launches)} times, not {count}")
    return launches


def together(launches: list[Launch]) -> Launch:
    """Return one call that repeats all launches in order."""

    def call() -> None:
        for launch in launches:
            launch()

    return call
