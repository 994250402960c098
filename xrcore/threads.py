"""Who gets the threads: the renderer, or torch's small tensor algebra around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_rendering: ContextVar[int | None] = ContextVar("rendering threads", default=None)


def rendering_threads() -> int:
    """Threads of the CPU renderer: torch's number, or what it was when `for_rendering` began."""
    return _rendering.get() or torch.get_num_threads()


@contextmanager
def for_rendering() -> Iterator[None]:
    """Keep all threads for rendering, and torch on one.

    A refinement alternates between renders and tiny matrix products. torch's idle workers spin between the latter, and on a
    busy machine each hand-over to them can stall for milliseconds.
    """
    threads = torch.get_num_threads()
    token = _rendering.set(rendering_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _rendering.reset(token)
