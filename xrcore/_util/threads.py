"""Limit torch to one thread while the CPU renderer runs.

A refinement alternates between renders and tiny matrix products. torch's idle workers spin between the latter, and on a
busy machine each hand-over to them can stall for milliseconds.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from threadpoolctl import LibController, ThreadpoolController

Event = TypeVar("Event")
Result = TypeVar("Result")


class _ThreadState(threading.local):
    depth = 0
    torch_count = 0  # torch's number outside the outermost block
    mkl_count = 0  # likewise MKL's, 0 where it follows OpenMP's


_state = _ThreadState()


def rendering_threads() -> int:
    """Threads of the CPU renderer: torch's number in this thread, inside `single_torch_thread` what it was outside."""
    return _state.torch_count if _state.depth else torch.get_num_threads()


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Run torch's operations of the calling thread without helper threads; blocks may nest, other threads are not concerned.

    Yields
    ------
    None
        The renderer keeps all threads, see `rendering_threads`.
    """
    if _state.depth == 0:
        _state.torch_count = torch.get_num_threads()  # its first call in a thread sets OpenMP's number, so it must come before ours
        _state.mkl_count = _limit(1, 1)
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        if _state.depth == 0:
            _limit(_state.torch_count, _state.mkl_count)


def single_threaded_steps(steps: Generator[Event, None, Result]) -> Generator[Event, None, Result]:
    """Take each step of a generator inside `single_torch_thread`, but hand its events over outside."""
    try:
        while True:
            with single_torch_thread():
                try:
                    event = next(steps)
                except StopIteration as end:
                    return end.value
            yield event
    finally:
        with single_torch_thread():
            steps.close()


def _limit(openmp: int, mkl: int) -> int:
    """Set both libraries' numbers for the calling thread; returns MKL's number from before."""
    # not torch.set_num_threads: threads that start later take over its number, whoever set it
    for library in _openmp_libraries():
        library.set_num_threads(openmp)
    return _set_mkl_threads()(mkl)


@cache
def _openmp_libraries() -> list[LibController]:
    return ThreadpoolController().select(user_api="openmp").lib_controllers


@cache
def _set_mkl_threads() -> Callable[[int], int]:
    """MKL's own function, which torch brings on some processors; it returns the number from before."""
    for library in (Path(torch.__file__).parent / "lib").glob("*torch_cpu.*"):
        with suppress(OSError, AttributeError):
            return ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
    return lambda count: 0
