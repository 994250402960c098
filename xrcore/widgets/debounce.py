"""Draw drafts while the input changes, and the full picture once it rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BUDGET = 0.05  # [s] a frame may take and still follow the pointer at more than ten frames a second
_REST = 0.2  # [s] without a change before the full picture is drawn


class DebouncedDrawing:
    """Draw at each call within BUDGET: a draft where the full picture was too slow, and then the full one when calls cease.

    Without a running event loop, as in a script, every picture is full.

    Parameters
    ----------
    draw : callable
        Called with whether to draw a draft.
    """

    def __init__(self, draw: Callable[[bool], None]) -> None:
        self._draw = draw
        self._full_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Draw now, and again later if this was a draft."""
        self.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None or self._full_seconds < BUDGET:
            self._draw_full()
        else:
            self._draw(True)
            self._timer = loop.call_later(_REST, self._draw_full)

    def cancel(self) -> None:
        """Drop the full picture that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _draw_full(self) -> None:
        self._timer = None
        began = time.perf_counter()
        self._draw(False)
        seconds = time.perf_counter() - began
        # a first frame that compiled or packed says nothing about the next: trust the faster of it and the running mean
        self._full_seconds = min(seconds, 0.5 * (self._full_seconds + seconds))
