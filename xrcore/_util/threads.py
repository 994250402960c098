"""Who gets the threads: the renderer, or torch's small tensor algebra around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

_lock = Lock()
_depth = 0
_threads = 0  # torch's number while _depth > 0


def rendering_threads() -> int:
    """Threads of the CPU renderer: torch's number, or what it was when the first `for_rendering` began."""
    with _lock:
        return _threads if _depth else torch.get_num_threads()


@contextmanager
def for_rendering() -> Iterator[None]:
    """Keep all threads for rendering, and torch on one; may nest and overlap.

    A refinement alternates between renders and tiny matrix products. torch's idle workers spin between the latter, and on a
    busy machine each hand-over to them can stall for milliseconds.
    """
    global _depth, _threads
    with _lock:
        if _depth == 0:
            _threads = torch.get_num_threads()
        _depth += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            threads = _threads
            last = _depth == 0
        if last:
            torch.set_num_threads(threads)
