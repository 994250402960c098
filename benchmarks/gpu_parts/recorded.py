"""Triton launches, remembered so that they can be repeated without what prepared them."""

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
    """In a Triton function's place: `function[grid](...)` launches it, and keeps the launch."""

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
def recorded(module: ModuleType, function: str) -> Iterator[list[Launch]]:
    """What is launched of `module.function` meanwhile; each launch repeats itself into the same tensors."""
    recorder = _Recorder(getattr(module, function))
    with patch.object(module, function, recorder):
        yield recorder.launches


def launches_of(module: ModuleType, function: str, call: Callable[[], Any], count: int) -> list[Launch]:
    """The `count` launches that a call makes; raises XrcoreError if it makes another number of them."""
    with recorded(module, function) as launches:
        call()
    if len(launches) != count:
        raise XrcoreError(f"benchmark: {module.__name__}.{function} was launched {len(launches)} times, not {count}")
    return launches


def together(launches: list[Launch]) -> Launch:
    """All of them, one after the other, as one call."""

    def call() -> None:
        for launch in launches:
            launch()

    return call
